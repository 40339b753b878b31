"""The ONNX file, the proof that every runtime computes the same, and the rows of a benchmark."""

import copy
import math
import sys
from dataclasses import replace
from weakref import WeakKeyDictionary

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import labkit as lk
from labkit.data import standardise
from labkit.deploy import compiling, export
from labkit.deploy.export import RuntimeRow
from labkit.deploy.precisions import TOLERANCE
from labkit.runtimes.base import Preparation
from labkit.runtimes.registry import prepare, runtime, runtimes
from labkit.runtimes.torch_runtimes import AheadOfTime, Compiled, CudaGraph

SHORT = lk.TimingConditions(seconds=0.02)


@pytest.fixture(scope="module")
def onnx_file(network, tmp_path_factory):
    return export.to_onnx(network, tmp_path_factory.mktemp("onnx") / "network.onnx")


def test_the_file_computes_what_torch_computes_at_any_batch(network, onnx_file, data):
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    for batch in (1, 2, 5, 17):
        x = standardise(data.test.pixels[:batch])
        with torch.no_grad():
            expected = network(x).numpy()
        np.testing.assert_allclose(session.run(None, {"images": x.numpy()})[0], expected, rtol=1e-4, atol=1e-5)


def test_the_file_is_whole_and_names_no_path(onnx_file):
    onnx.checker.check_model(onnx.load(onnx_file), full_check=True)
    assert [path.name for path in onnx_file.parent.iterdir()] == ["network.onnx"], "weights lie inside"
    content = onnx_file.read_bytes()
    for trace in (b"site-packages", b"labkit/", b".py", b"torch.nn"):
        assert trace not in content


def test_a_compiler_that_ends_its_process_costs_a_row(network, data, monkeypatch):
    lost = lambda: export._lost(network, "torch-aot", "fp32", standardise(data.test.pixels[:5]))

    def fails(*_):
        raise RuntimeError("no ptxas\nand more")

    monkeypatch.setattr(export.processes, "runs_in_subprocess", lambda *_: True)
    assert lost() is None
    monkeypatch.setattr(export.processes, "runs_in_subprocess", lambda *_: False)
    assert "ended a process of its own" in lost() and "another C++ compiler in CXX" in lost()
    monkeypatch.setattr(export.processes, "runs_in_subprocess", fails)
    assert lost() == "compiling it failed: RuntimeError no ptxas"


def test_compilers_are_tried_once_for_a_network(network, data, monkeypatch):
    asked, x = [], standardise(data.test.pixels[:5])
    monkeypatch.setattr(export, "_TRIED", WeakKeyDictionary())  # what is made up here is of no other test
    monkeypatch.setattr(Compiled, "reason", None)
    monkeypatch.setattr(AheadOfTime, "reason", None)
    monkeypatch.setattr(export, "_lost", lambda _, *pair: asked.append(pair[:2]) or ("bad" if "fp16" in pair else None))
    wanted = [(name, p) for name in ("torch", "torch-compile", "torch-aot") for p in ("fp32", "fp16")]
    for _ in range(2):
        assert export._lost_on_gpu(network, wanted, x) == {pair: "bad" if pair[1] == "fp16" else None for pair in asked}
    assert sorted(asked) == sorted(wanted[2:])


def test_a_runtime_of_another_device_is_a_row_that_says_so(network, data, monkeypatch):
    monkeypatch.setattr(CudaGraph, "reason", None)
    eager, elsewhere = export.benchmark(network, data.test, SHORT, runtimes=("torch", "torch-cuda-graph"))
    assert eager.measurement and not elsewhere.available and elsewhere.reason == "runs on cuda, not on cpu"


def test_parity_leaves_the_network_as_it_is(network, data):
    ours = copy.deepcopy(network).train()
    ours.head.eval()
    modes = [module.training for module in ours.modules()]
    assert export.parity(ours, prepare(network, "torch", torch.zeros(1, 3, 32, 32)), data.test) <= TOLERANCE
    assert [module.training for module in ours.modules()] == modes


def test_parity_sees_a_difference_and_a_nan(network, data):
    assert export.parity(network, lambda x: network(x) * 1.01, data.test) > 50 * TOLERANCE
    assert export.parity(network, lambda x: network(x) * math.nan, data.test) == math.inf
    assert export.parity(network, lambda x: network(x) + (len(x) == 5), data.test) > 50 * TOLERANCE, "one size"


def test_benchmark_rows(network, data):
    rows = export.benchmark(network, data.test, lk.TimingConditions(seconds=0.05))
    assert [row.name for row in rows] == ["torch", "torch-channels-last", "onnxruntime", "tensorrt"]
    for row in rows:
        value = row.to_json()
        needed = {"name", "available", "reason", "parity_error", "best_ms", "median_ms", "speedup", "card"}
        assert needed <= set(value)
        if row.available:
            assert row.parity_error <= TOLERANCE and 0 < value["best_ms"] <= value["median_ms"]
            assert value["speedup"] == pytest.approx(rows[0].measurement.measured_ms / row.measurement.measured_ms)
    assert rows[0].speedup == 1
    timed = [(row.name, row.measurement.card) for row in rows if row.measurement is not None]
    assert all(card.runtime == name and card.dtype == "float32" for name, card in timed) and len(timed) >= 3


def test_benchmark_rows_of_several_precisions(network, data):
    rows = export.benchmark(
        network, data.test, SHORT, runtimes=("torch", "onnxruntime"), precisions=("fp32", "int8"),
        preparation=Preparation(calibration=data.train),
    )  # fmt: skip
    assert [row.label for row in rows] == ["torch", "torch int8", "onnxruntime", "onnxruntime int8"]
    assert rows[1].reason == "the runtime torch takes float32, float16, bfloat16; got 'int8'"
    assert rows[3].measurement.card.dtype == "int8" and rows[3].parity_error > rows[2].parity_error
    assert rows[2].computes_the_same and not replace(rows[2], parity_error=math.nan).computes_the_same
    assert not replace(rows[2], parity_error=2e-4).computes_the_same
    assert replace(rows[3], parity_error=2e-4, accuracy_drop=0.01).computes_the_same
    assert [row.accuracy_drop is None for row in rows] == [True, True, True, False]
    with pytest.raises(lk.InputError, match="precisions are fp32, fp16, bf16, int8, fp8; got 'half'"):
        export.benchmark(network, data.test, precisions=("half",))


def test_eight_bits_may_lose_a_point_of_accuracy(data):
    """Counted on the same images: 7 of 500 lost and 2 won are 5 lost."""
    right = torch.nn.functional.one_hot(data.test.labels, len(data.classes)).float()
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 32 * 32, len(data.classes))).train()

    def answers(wrong):
        logits = right.clone()
        logits[list(wrong)] = right[list(wrong)].roll(1, -1)
        batches = iter(logits.split(64))
        return lambda x: next(batches)

    network.forward = answers(range(2))
    assert export.accuracy_drop(network, answers(range(2, 9)), data.test) == 0.01 and network.training
    row = RuntimeRow("onnxruntime", True, None, 1e-3, None, None, "int8")
    for drop, passes in ((None, True), (-0.02, True), (0.01, True), (0.012, False), (math.nan, False)):
        assert replace(row, accuracy_drop=drop).computes_the_same is passes
    timed = lk.Measurement(
        lk.Timing(1.0, 1.0, 0.1, 10), lk.latency.card_of(lk.TimingConditions(runtime="onnxruntime"), (3, 32, 32))
    )
    row = replace(row, accuracy_drop=0.012, measurement=timed, speedup=2.0)
    assert str(row).endswith("parity 1e-03, accuracy -1.2 points")
    assert RuntimeRow.from_json(row.to_json()).accuracy_drop == 0.012


def test_a_missing_onnxruntime_is_a_row_with_the_remedy(network, data, monkeypatch):
    monkeypatch.setattr("labkit.runtimes.onnx_runtimes.version_of", lambda package: None)
    rows = export.benchmark(network, data.test, SHORT, runtimes=("torch", "onnxruntime"))
    assert not rows[1].available and "pip install onnxruntime" in rows[1].reason
    assert all(entry.name.startswith("torch") for entry in runtimes() if entry.available)


@pytest.fixture
def unloadable(monkeypatch, tmp_path):
    """An ONNX Runtime that is installed and does not load, as after an upgrade that was cut short."""
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError('libstdc++ is too old\\nand more')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxruntime"]:
        monkeypatch.delitem(sys.modules, name)


def test_a_runtime_that_does_not_load_costs_its_row(network, data, unloadable, monkeypatch):
    monkeypatch.setattr(compiling, "_WARNED", set())
    assert runtime("onnxruntime").available, "it is looked up, not imported"
    x = standardise(data.test.pixels[:2])
    says = r"onnxruntime is installed and does not load \(libstdc.* is too old\): pip install --force-reinstall"
    with pytest.raises(lk.InputError, match=says):
        compiling.compile(network, "onnxruntime", example=x)
    with pytest.warns(UserWarning, match=f"taking (openvino|torch-channels-last): .*{says}"):
        run = compiling.compile(network, example=x)
    with torch.no_grad():
        torch.testing.assert_close(run(x), network(x), rtol=1e-3, atol=1e-3)
    eager, lost = export.benchmark(network, data.test, SHORT, runtimes=("onnxruntime",))
    assert eager.measurement and not lost.available and "does not load" in lost.reason


def test_what_cannot_be_prepared_costs_its_row(network, data):
    rows = export.benchmark(
        network, data.test, SHORT, runtimes=("onnxruntime",), precisions=("fp32", "int8"),
        preparation=Preparation(calibration=data.train[:5]),
    )  # fmt: skip
    assert [row.available for row in rows] == [True, True, False]
    assert rows[2].reason == "ranges are calibrated on at least 32 real images; got 5"


def test_a_slow_down_is_never_printed_as_a_speed_up(network, data):
    assert export.speedup_text(2.0) == "2.0x faster" and export.speedup_text(0.5) == "2.0x slower"
    row = export.benchmark(network, data.test, SHORT, runtimes=("torch",))[0]
    assert "slower" in str(replace(row, name="other", speedup=0.4))


def test_impossible_batches_and_unknown_runtimes_are_refused(network, data):
    with pytest.raises(lk.InputError, match=r"a batch of 1 to 500 images \(all there are\) can be timed; got 100000"):
        export.benchmark(network, data.test, lk.TimingConditions(batch_size=100_000))
    with pytest.raises(lk.InputError, match="runtimes are torch"):
        export.benchmark(network, data.test, runtimes=("magic",))
