"""`export`, `report` and `verify`: their output and what they refuse; the main job from nothing to a benchmark."""

import json
import subprocess
import sys

import pytest

import labkit as lk
from labkit.deploy import export as deploy_export
from labkit.runs import exporting
from labkit.runs import run as runs
from labkit.runtimes.tensorrt_engines import installed
from labkit.system import storage
from labkit.system.errors import InputError


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["export", ""], "run is empty"),
        (["export", "RUN", "--runtimes", "onxruntime"], "did you mean onnxruntime?"),
        (["export", "OUT"], "no search run can be read"),
        (["export", "OUT", "--device", "tpu"], "a device is cpu or cuda"),
        (["export", "OUT", "--verify", "torch-cuda-graph"], "a CUDA graph needs an NVIDIA GPU"),
        (["export", "CUTRUN"], "damaged or truncated"),
        (["export", "OUT", "--runtimes", "torch,magic"], "runtimes are torch"),
        (["report", "OUT/none"], "no search run can be read"),
        (["verify", "OUT/none.html"], "no report can be read"),
        (["export", "RUN", "--runtimes", ""], "at least one runtime and one precision"),
        (["export", "RUN", "--batch-size", "0"], "at least one image"),
        (["export", "RUN", "--engine", "magic"], "TensorRT comes as tensorrt or tensorrt-rtx"),
        (["export", "RUN", "--verify", "magic"], "runtimes are torch"),
        (["export", "RUN", "--precisions", "fp4"], "precisions are fp32"),
        (["export", "RUN", "--verify", "--architectures", "2"], "at least 3 architectures"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(refused, arguments, says):
    assert says in refused(*arguments)


@pytest.mark.parametrize(
    ("function", "command", "says"),
    [
        ("deploying.export", "export RUN", "the same command starts over, but trains nothing that RUN has trained"),
    ],
)
def test_an_interrupt_says_what_the_same_command_does(interrupted, function, command, says):
    assert interrupted(function, command) == says


def test_an_engine_that_cannot_be_built_here_is_refused_before_training(refused, monkeypatch):
    monkeypatch.setattr("labkit.runtimes.tensorrt_engines.module", lambda flavour: None)
    monkeypatch.setattr("labkit.runtimes.tensorrt_engines._capability", lambda: None)
    assert "tensorrt builds engines on an NVIDIA GPU" in refused("export", "RUN", "--engine", "tensorrt")


def test_the_main_job(tmp_path):
    """As the README has it, each verb a process of its own: search at full size, then export."""

    def labkit(*arguments):
        command = [sys.executable, "-m", "labkit", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    search = ["search", "--space", "five_layer", "--data", "glyphs", "--estimator", "unas", "--latency-weight", "0.1"]
    found = labkit(*search, "--seed", "0", "--out", "RUN", "--json")
    value = labkit("export", "RUN", "--runtimes", "torch,onnxruntime", "--epochs", "4", "--json")
    assert value["schema"] == 1 and value["passed"] is True
    assert value["architecture"] == found["architecture"] and len(value["architecture"]) == 5
    assert value["test_accuracy"] > 0.9
    assert [row["name"] for row in value["runtimes"]] == ["torch", "torch-channels-last", "onnxruntime"]
    for row in value["runtimes"]:
        assert row["available"] and row["parity_error"] <= 1e-4 and 0 < row["best_ms"] <= row["median_ms"]
        assert row["card"]["batch_size"] == 1 and row["card"]["origin"] == "measured"
    assert value["runtimes"][0]["speedup"] == 1 and value["runtimes"][2]["speedup"] > 0


def test_a_search_on_real_handwriting_is_exported_and_its_loop_closed(run, tmp_path):
    out, table = str(tmp_path / "RUN"), "five_layer-onnxruntime-b1"
    code, text, _ = run("search", "--data", "digits", "--fast", "--table", table, "--out", out, "--json")
    found = json.loads(text)
    assert code == 0 and not (tmp_path / "RUN" / "checkpoints").exists(), "a finished search needs none"
    options = ["--runtimes", "onnxruntime", "--precisions", "fp32,int8", "--epochs", "1"]
    engine = ["--engine", "tensorrt-rtx"] if "tensorrt-rtx" in installed() else []
    code, text, _ = run("export", out, *options, *engine, "--verify", "--architectures", "5", "--json")
    value = json.loads(text)
    assert value["architecture"] == found["architecture"]
    assert [(row["name"], row["precision"]) for row in value["runtimes"]] == [
        ("torch", "fp32"),
        ("torch-channels-last", "fp32"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8"),
    ]
    assert [row["accuracy_drop"] is None for row in value["runtimes"]] == [True, True, True, False]
    assert [row["precision"] for row in value["engines"]] == (["fp32", "int8"] if engine else [])
    loop = json.loads((tmp_path / "RUN" / "closed_loop.json").read_text())
    assert loop == value["closed_loop"] and len(loop["architectures"]) == 5
    assert "-".join(found["architecture"]) in [row["ops"] for row in loop["architectures"]]
    assert (tmp_path / "RUN" / "closed_loop.png").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("runtimes", "precisions", "shown", "said"),
    [
        ("onnxruntime", "int8", ["torch", "torch-channels-last", "onnxruntime int8"], True),
        ("tensorrt,torch-compile", "fp32", ["torch", "torch-channels-last", "tensorrt", "torch-compile"], False),
        ("torch", "bf16", ["torch bf16"], False),
    ],
)
def test_a_compiled_runtime_is_shown_beside_both_layouts(
    run, monkeypatch, tmp_path, space, data, table, runtimes, precisions, shown, said
):
    """Without training: every row that was asked for, apart from eager float32, says that it was not timed."""
    config = lk.SearchConfig(mixture_steps=1, weight_steps=1, joint_steps=1, evaluation_images=10, calibration_images=8)
    runs.save(lk.search(lk.Supernet(space), data, table, config), tmp_path, data, table)
    network = lk.derive(space, space[0])
    monkeypatch.setattr(runs.Run, "image_set", lambda run, download: data)
    monkeypatch.setattr(exporting, "train_chosen", lambda *_, **__: (network, 0.9))
    monkeypatch.setattr(exporting, "to_onnx", lambda network, path: storage.write_text(path, "model"))

    def usable(name, dtype, device):
        if (name, dtype) != ("torch", "float32"):
            raise InputError("not timed")

    monkeypatch.setattr(deploy_export, "usable", usable)
    code, text, _ = run("export", str(tmp_path), "--runtimes", runtimes, "--precisions", precisions)
    lines = text.splitlines()[3:]
    assert code == 0 and [line[:20].strip() for line in lines[: len(shown)]] == shown
    assert ("compiled eager, torch-compile: not timed" in lines) is said
