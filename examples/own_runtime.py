"""A runtime of your own: the network as TorchScript, frozen and optimised for inference."""

import torch

import labkit as lk
from labkit.runtimes import Runtime


@lk.register_runtime
class TorchScript(Runtime):
    name = "torchscript"

    def prepare(self, network, example, how):
        traced = torch.jit.trace(network.eval(), example)
        frozen = torch.jit.optimize_for_inference(torch.jit.freeze(traced))

        @torch.inference_mode()
        def run(images):
            return frozen(images.float())

        return run


if __name__ == "__main__":
    lk.checks.check_runtime("torchscript")
    print("torchscript computes what PyTorch computes")
