"""ONNX Runtime and OpenVINO: the models that they read, and those that they refuse."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import onnxruntime
import pytest
import torch

import labkit as lk
from labkit.data import standardise
from labkit.runtimes import onnx_runtimes
from labkit.runtimes.base import Preparation
from labkit.runtimes.quantisation import quantised
from labkit.runtimes.registry import prepare, runtime, usable
from labkit.system.device import threads


def test_a_precision_that_the_model_cannot_have_is_refused(network, data):
    """Rather than handed on in float32 under another name."""
    x = standardise(data.train.pixels[:2])
    for name in ("tensorrt-rtx", "tensorrt-cuda-graph", "onnxruntime"):
        with pytest.raises(lk.InputError, match=f"{name} takes float32, float16, int8.*; got 'bfloat16'"):
            runtime(name).model(network, x, Preparation("bfloat16"))
    assert runtime("openvino").model(network, x, Preparation("bfloat16", onnx_model=b"as it is")) == b"as it is"


@pytest.mark.parametrize("damaged", [b"hello", b""])
def test_what_is_no_onnx_model_is_refused_in_one_line(damaged, data):
    x = standardise(data.train.pixels[:32])
    for name in ("onnxruntime", "openvino"):
        if runtime(name).available:
            with pytest.raises(lk.InputError, match=f"{name} refuses this ONNX model .*: export .* again") as found:
                prepare(torch.nn.Identity(), name, x[:1], Preparation(onnx_model=damaged or b" "))
            assert "\n" not in str(found.value)
    with pytest.raises(lk.InputError, match=r"this ONNX model cannot be quantised .*: export the network again"):
        quantised(damaged, x, "u8s8")


ENGINES = [
    pytest.param(name, dtype, within, id=f"{name}-{dtype}")
    for name, dtype, within in (
        ("onnxruntime", "float32", 1e-5), ("onnxruntime", "float16", 1e-2),
        ("openvino", "float32", 1e-5), ("openvino", "bfloat16", 2e-2),
    )
]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "within"), ENGINES)
def test_an_engine_computes_what_torch_computes_and_keeps_earlier_logits(name, dtype, within):
    if not runtime(name).available:
        pytest.skip(runtime(name).reason)
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 5)
    network, images = torch.nn.Sequential(*layers).eval(), torch.randn(4, 3, 6, 6)
    run = prepare(network, name, images[:2], Preparation(dtype, "torchscript"))
    with torch.no_grad():
        wanted = network(images)
    first = run(images)
    kept = first.clone()
    assert first.dtype == torch.float32 and ((first - wanted).abs().max() / wanted.abs().max()).item() < within
    assert not torch.equal(run(-images), kept) and torch.equal(first, kept), "no buffer is shared between calls"


@pytest.mark.parametrize("name", ["torch", "torch-channels-last", "onnxruntime", "openvino"])
def test_threads_and_empty_batches_get_their_own_logits(space, name):
    """Four threads share one compiled network: each image has the logits that it has alone."""
    if not runtime(name).available:
        pytest.skip(runtime(name).reason)
    images = torch.randn(64, *space.image, generator=torch.Generator().manual_seed(0))
    run = prepare(lk.derive(space, space[100]).eval(), name, images[:1], Preparation(exporter="torchscript"))
    alone = torch.cat([run(image[None]) for image in images])
    for _ in range(3):
        with ThreadPoolExecutor(4) as several:
            together = torch.cat(list(several.map(lambda image: run(image[None]), images)))
        assert torch.allclose(together, alone, atol=1e-6)
    assert (alone[1:] - alone[:-1]).abs().amax(1).min() > 1e-4, "negative control: other images, other logits"
    assert run(images[:0]).shape == (0, 10)


INTERRUPTED = """
import gc, signal
import torch
from labkit.runtimes.base import Preparation
from labkit.runtimes.registry import prepare

network, x = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)).eval(), torch.zeros(1, 3, 2, 2)
kept = [prepare(network, "openvino", x, Preparation(exporter="torchscript")) for _ in range(2)]
while kept:
    kept.pop(0)(x)
    gc.collect()
memory = [bytearray(11_568) for _ in range(1_000)]  # what was freed is used again
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_an_interrupt_after_openvino_is_an_interrupt():
    """Not a segmentation fault on a signal stack that a core has left behind."""
    if not runtime("openvino").available:
        pytest.skip(runtime("openvino").reason)
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "interrupted"), done.stderr


def test_sessions_get_the_threads_of_torch(monkeypatch):
    """Every runtime is timed on as many threads as PyTorch uses."""
    options, real = [], onnxruntime.InferenceSession
    opened = lambda model, chosen, providers: options.append(chosen) or real(model, chosen, providers=providers)
    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    for wanted in (1, 2):
        with threads(wanted):
            prepare(torch.nn.Flatten(), "onnxruntime", torch.zeros(2, 3, 2, 2), Preparation(exporter="torchscript"))
    assert [(one.intra_op_num_threads, one.inter_op_num_threads) for one in options] == [(1, 1), (2, 1)]


def test_a_package_that_is_missing_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setattr(onnx_runtimes, "version_of", lambda package: None)
    assert runtime("openvino").reason == "openvino is not installed: pip install labkit[openvino]"
    with pytest.raises(lk.InputError, match="onnxruntime is not installed: pip install onnxruntime"):
        usable("onnxruntime")
