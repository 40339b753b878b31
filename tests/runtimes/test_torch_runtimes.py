"""PyTorch as runtimes: eager, compiled, in half precision and on a GPU."""

import numpy as np
import pytest
import torch

import labkit as lk
from labkit.data import standardise
from labkit.deploy.precisions import TOLERANCE
from labkit.runtimes import torch_runtimes
from labkit.runtimes.base import Preparation
from labkit.runtimes.registry import prepare, runtime
from labkit.system.device import ieee_float32


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, while it compiles
@pytest.mark.parametrize("name", ["torch-compile", "torch-aot"])
def test_a_compiled_network_agrees(data, name):
    if not runtime(name).available:
        pytest.skip(runtime(name).reason)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU()).eval()
    x = standardise(data.test.pixels[:4])
    run = prepare(network, name, x[:1])
    for batch in (x[:1], x):
        with torch.no_grad():
            np.testing.assert_allclose(run(batch), network(batch), rtol=1e-4, atol=1e-5)


def test_half_precision_is_the_nets_own_and_logits_leave_in_float32(network, data):
    x = standardise(data.test.pixels[:4])
    run = prepare(network, "torch", x, Preparation("bfloat16"))
    with torch.no_grad():
        error = ((run(x) - network(x)).abs().max() / network(x).abs().max()).item()
    assert run(x).dtype == torch.float32 and 1e-5 < error < 3e-2
    with pytest.raises(lk.InputError, match="onnxruntime takes float32, float16, int8; got 'bfloat16'"):
        prepare(network, "onnxruntime", x, Preparation("bfloat16"))


def test_what_only_a_gpu_has_says_so_without_one(network, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(lk.InputError, match="CUDA graph needs an NVIDIA GPU"):
        prepare(network, "torch-cuda-graph", torch.zeros(1))
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert "install g++ or clang++" in runtime("torch-compile").reason
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(lk.InputError, match=r"runs on cuda; got 'cpu', for which: torch, torch-channels-last, .*onnx"):
        prepare(network, "torch-cuda-graph", torch.zeros(1))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["torch", "torch-channels-last", "torch-compile", "torch-aot", "torch-cuda-graph"])
def test_runtimes_agree_on_a_gpu(network, data, name):
    x = standardise(data.test.pixels[:8]).cuda()
    with torch.no_grad():
        expected = network(x.cpu())
    with ieee_float32():
        run = prepare(network, name, x)
        found = torch.cat([run(x[:4]), run(x[4:])]).cpu()
    assert (found - expected).abs().max() <= TOLERANCE * expected.abs().max()
    half = prepare(network, name, x, Preparation("float16"))
    assert (half(x).cpu() - expected).abs().max() <= 1e-2 * expected.abs().max()


def test_compiling_raises_the_limit_of_recompilations_and_never_lowers_it(network, data, monkeypatch):
    """Else a process that compiles many networks would fall back to eager PyTorch in silence."""
    monkeypatch.setattr(torch, "compile", lambda network, **_: network)
    monkeypatch.setattr(torch_runtimes, "_no_compiler", lambda: None)
    x = standardise(data.test.pixels[:2])
    for before, after in ((1, torch_runtimes.MOST_COMPILED), (10**6, 10**6)):
        monkeypatch.setattr(torch._dynamo.config, "recompile_limit", before)
        prepare(network, "torch-compile", x)
        assert torch._dynamo.config.recompile_limit == after
