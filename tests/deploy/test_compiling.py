"""One call for every runtime and precision, and what "auto" takes."""

import warnings

import pytest
import torch

import labkit as lk
from labkit.data import standardise
from labkit.deploy import compiling, export
from labkit.deploy.precisions import TOLERANCE, TOLERANCES
from labkit.runtimes.quantisation import quantised
from labkit.runtimes.registry import runtime


@pytest.fixture(scope="module", params=["five_layer", "mobile-tiny"])
def trained(request):
    """A network that has learned its task, and the images: eight bits are judged by what they lose."""
    data = lk.data.glyphs(2_500, 100, 1_000, seed=0)
    space = lk.spaces.by_name(request.param)
    network = lk.derive(space, space.sample(1, torch.Generator().manual_seed(4))[0])
    lk.train(network, data, lk.TrainConfig(epochs=6, batch_size=32), validate="at the end")
    assert lk.error(network, data.test) < 0.2, "logits of a network that guesses are small, and any noise is large"
    return network.eval(), data


@pytest.mark.parametrize(
    ("name", "precision"),
    [("onnxruntime", "fp16"), ("onnxruntime", "int8"), ("openvino", "bf16"), ("openvino", "int8"), ("torch", "bf16")],
)
def test_fewer_bits_stay_near_and_lose_less_than_a_point(trained, name, precision):
    network, data = trained
    if not runtime(name).available:
        pytest.skip(runtime(name).reason)
    x = standardise(data.test.pixels)
    run = compiling.compile(network, name, precision, example=x[:2], calibration=data.train)
    assert 0 < export.parity(network, run, data.test) <= TOLERANCES[precision], "near, and not the same"
    right = lambda logits: (logits.argmax(-1) == data.test.labels).float().mean().item()
    with torch.no_grad():
        assert right(run(x)) >= right(network(x)) - 0.01


def test_eight_bits_need_real_images(network, data):
    x = standardise(data.test.pixels[:2])
    with pytest.raises(lk.InputError, match="takes its ranges from real images: pass calibration="):
        compiling.compile(network, "onnxruntime", "int8", example=x)
    with pytest.raises(lk.InputError, match="at least 32 real images; got 5"):
        compiling.compile(network, "onnxruntime", "int8", example=x, calibration=data.train[:5])
    with pytest.raises(lk.InputError, match=r"recipes are u8s8, s8s8, fp8; got 'u4'"):
        quantised(b"", x, "u4")


def test_auto_takes_what_is_here_and_says_once_what_is_not(network, data, monkeypatch):
    monkeypatch.setattr(compiling, "_WARNED", set())
    x = standardise(data.test.pixels[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = compiling.compile(network, example=x)  # ONNX Runtime is always here
    assert export.parity(network, run, data.test) < TOLERANCE
    with pytest.warns(
        UserWarning, match="taking .*: the runtime onnxruntime takes float32, float16, int8; got 'bfloat16'"
    ):
        compiling.compile(network, precision="bf16", example=x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        compiling.compile(network, precision="bf16", example=x)
    with pytest.raises(lk.InputError, match="no runtime here takes float8 on cpu"):
        compiling.compile(network, precision="fp8", example=x)
    with pytest.raises(lk.InputError, match="precisions are fp32, fp16, bf16, int8, fp8; got 'fp4'"):
        compiling.compile(network, precision="fp4", example=x)
    with pytest.raises(lk.InputError, match="the runtime torch takes float32, float16, bfloat16; got 'int8'"):
        compiling.compile(network, "torch", "int8", example=x)


def test_a_network_of_labkit_needs_no_example(network, data):
    run = compiling.compile(network, "torch-channels-last")
    assert export.parity(network, run, data.test) < TOLERANCE
    with pytest.raises(lk.InputError, match=r"needs example=, images \(B, C, H, W\)"):
        compiling.compile(torch.nn.Flatten(), "torch")


def test_a_network_left_in_train_mode_is_exported_in_eval_mode(data):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.5), torch.nn.Linear(3 * 32 * 32, 4)).train()
    x = standardise(data.test.pixels[:4])
    run = compiling.compile(network, "onnxruntime", example=x)
    assert network.training
    with torch.no_grad():
        torch.testing.assert_close(run(x), network.eval()(x), rtol=1e-4, atol=1e-5)
