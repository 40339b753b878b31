"""What an export of a run writes, and what it refuses before it trains."""

import json

import pytest
import torch

import labkit as lk
from labkit import runs
from labkit.runs import exporting

TINY = lk.SearchConfig(
    mixture_steps=2, weight_steps=1, joint_steps=2, batch_size=16, evaluation_images=50, calibration_images=32
)
ONE = lk.TrainConfig(epochs=1, batch_size=64, seed=7)


@pytest.fixture(scope="module")
def digits():
    return lk.data.digits(seed=0)


@pytest.fixture(scope="module")
def run(space, digits, table, tmp_path_factory):
    return runs.search(tmp_path_factory.mktemp("run"), space, digits, table, TINY)


@pytest.fixture(scope="module")
def exported(run):
    return runs.export(run, runs.ExportRequest(runtimes=("onnxruntime",), training=ONE))


def test_the_network_is_trained_from_scratch_as_asked(run, digits, exported):
    network = lk.derive(run.space, run.result.architecture, seed=ONE.seed)
    lk.train(network, digits, ONE)
    right = (network.eval()(next(digits.test.batches(len(digits.test)))[0]).argmax(-1) == digits.test.labels).float()
    assert exported.test_accuracy == pytest.approx(right.mean().item(), abs=1e-6)
    assert exported.tested == len(digits.test) and exported.data == digits.digest


def test_the_files_hold_what_was_measured(run, exported):
    value = json.loads((run.folder / "export.json").read_text())
    assert value == {"kind": "export", **json.loads(json.dumps(exported.to_json()))}
    assert [row["name"] for row in value["runtimes"]] == ["torch", "torch-channels-last", "onnxruntime"]
    assert value["passed"] is True and exported.onnx.stat().st_size > 1_000
    lines = str(exported).splitlines()
    assert lines[1].startswith(f"test accuracy {100 * exported.test_accuracy:.2f} %")


def test_the_model_computes_what_the_network_computes(exported):
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(exported.onnx))
    images = torch.randn(3, *exported.run.space.image, generator=torch.Generator().manual_seed(0))
    (found,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), exported.network(images), rtol=1e-3, atol=1e-4)


def test_other_images_are_refused(run):
    with pytest.raises(lk.InputError, match="differ from those of the search"):
        runs.export(run, runs.ExportRequest(training=ONE), data=lk.data.digits(seed=1))


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"runtimes": ()}, "at least one runtime and one precision"),
        ({"precisions": ()}, "at least one runtime and one precision"),
        ({"runtimes": ("magic",)}, "runtimes are torch"),
        ({"precisions": ("fp4",)}, "precisions are fp32"),
        ({"batch_size": 0}, "at least one image; got 0"),
        ({"architectures": 2}, "at least 3 architectures; got 2"),
        ({"engine": "magic"}, "tensorrt or tensorrt-rtx"),
    ],
)
def test_a_wrong_request_is_refused_at_once(wrong, says):
    with pytest.raises(lk.InputError, match=says):
        runs.ExportRequest(**wrong)


def test_the_loop_is_closed_in_the_runtime_that_is_asked_for(run, monkeypatch):
    assert runs.ExportRequest(validate_in="onnxruntime").deployed_in == "onnxruntime"
    auto = runs.ExportRequest(validate_in="auto").deployed_in
    assert auto == runs.ExportRequest().deployed_in != "auto"
    asked = {}

    def validate(space, points, table, conditions, *, chosen):
        asked.update(conditions=conditions, chosen=chosen, points=len(list(points)))
        raise KeyboardInterrupt

    monkeypatch.setattr(exporting.closed_loop, "validate", validate)
    with pytest.raises(KeyboardInterrupt):
        runs.close_the_loop(run, runs.ExportRequest(validate_in="torch", architectures=4, batch_size=3))
    assert asked["conditions"] == lk.TimingConditions(runtime="torch", batch_size=3)
    assert asked["points"] == 4 and asked["chosen"] == run.result.architecture
    assert not (run.folder / "closed_loop.json").exists()
