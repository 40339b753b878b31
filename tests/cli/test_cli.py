"""The command line: what it prints, what it refuses, and the main job from nothing to a benchmark."""

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import labkit as lk
from labkit.cli import benches, main
from labkit.deploy import export as deploy_export
from labkit.latency.table import LatencyTable
from labkit.runs import exporting
from labkit.runs import run as runs
from labkit.runtimes.tensorrt_engines import installed
from labkit.system import storage
from labkit.system.errors import InputError
from labkit.system.interrupts import Stopped

KEEPING = ("estimators", "supernet", "sweep", "deadlines", "optimize", "ranking")  # benches that go on


def run(capsys, *arguments):
    code = main(list(arguments))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def refused(capsys, *arguments):
    """One line on stderr, nothing on stdout, exit code 2."""
    try:
        code = main(list(arguments))
    except SystemExit as stop:  # argparse
        code = stop.code
    captured = capsys.readouterr()
    assert code == 2 and captured.out == "" and captured.err.count("\n") == 1, captured.err
    assert captured.err.startswith("labkit: ") and "Traceback" not in captured.err
    return captured.err


def test_doctor(capsys):
    code, text, _ = run(capsys, "doctor")
    assert code == 0 and 5 <= len(text.splitlines()) <= 14
    code, text, _ = run(capsys, "doctor", "--json")
    value = json.loads(text)
    assert code == 0 and value["schema"] == 1 and value["passed"] is True
    assert {finding["level"] for finding in value["findings"]} <= {"ok", "note"}


def test_doctor_fails_when_the_course_cannot_run(capsys, monkeypatch):
    monkeypatch.setattr("labkit.cli.doctor._installed", lambda name: name != "papermill")
    code, text, _ = run(capsys, "doctor")
    assert code == 1 and "missing papermill: python lab.py setup" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["search", "--space", "nope", "--out", "OUT"], "spaces are five_layer, mobile-tiny, mobile-full, cells-tiny"),
        (["search", "--data", "nope", "--out", "OUT"], "image sets are glyphs"),
        (["search", "--data", "folder:/no/such", "--out", "OUT"], "no images at /no/such"),
        (["search", "--estimator", "nope", "--out", "OUT"], "estimators are unas"),
        (["search", "--latency-weight", "-0.1", "--out", "OUT"], "a latency weight is at least 0"),
        (["search", "--latency-weight", "much", "--out", "OUT"], "invalid float value: 'much'"),
        (["search", "--deadline-ms", "-1", "--out", "OUT"], "a deadline is a positive number"),
        (["bench", "deadlines", "--tabular", "OUT"], "no tabular benchmark can be read at"),
        (["bench", "supernet", "--tabular", "OUT"], "no tabular benchmark can be read at"),
        (["search", "--latency-weight", "nan", "--out", "OUT"], "a latency weight is at least 0"),
        (["search", "--table", "OUT/none.json", "--out", "OUT"], "no latency table can be read"),
        (["search", "--table", "CUT", "--out", "OUT"], "damaged or truncated"),
        (["search", "--table", "mobile-tiny-torch-b1", "--fast", "--out", "OUT"], "measure a table for this space"),
        (["search", "--fast", "--out", "FILE/below"], "cannot write to the folder"),
        (["search"], "the following arguments are required: --out"),
        (["search", "--set", "gap", "--out", "OUT"], "--set takes NAME=VALUE of estimator, control_scale"),
        (["search", "--set", "speed=3", "--out", "OUT"], "got 'speed=3'"),
        (["search", "--set", "seed=3", "--seed", "4", "--out", "OUT"], "seed has an option of its own: give --seed"),
        (["search", "--set", "latency_weight=3", "--out", "OUT"], "give --latency-weight in place of --set"),
        (["study", "--set", "seed=3", "--out", "OUT/s.json"], "seed has an option of its own"),
        (["search", "--set", "logit_rl=3", "--out", "OUT"], "did you mean logit_lr?"),
        (["search", "--out", ""], "out is empty: name a file or a folder"),
        (["bench", "deadlines", "--out", ""], "out is empty"),
        (["export", ""], "run is empty"),
        (["search", "--space", "mobil-tiny", "--out", "OUT"], "got 'mobil-tiny'; did you mean mobile-tiny?"),
        (["search", "--data", "glyps", "--out", "OUT"], "did you mean glyphs?"),
        (["search", "--estimator", "una", "--out", "OUT"], "did you mean unas?"),
        (["search", "--table", "five_layer-torch-1", "--out", "OUT"], "did you mean five_layer-torch-b1?"),
        (["export", "RUN", "--runtimes", "onxruntime"], "did you mean onnxruntime?"),
        (["serch"], "did you mean search?"),
        (["bench", "deadline"], "did you mean deadlines?"),
        (["notebooks", "check", "99"], "takes no numbers; got ['99']"),
        (["search", "--set", "gap=mean", "--out", "OUT"], "a gap is batch or paired"),
        (["search", "--set", "joint_steps=many", "--out", "OUT"], "joint_steps is of type int; got 'many'"),
        (["search", "--fast", "--set", "weight_lr=1e30", "--out", "OUT"], "repeat it with a weight_lr below 1e+30"),
        (["search", "--published", "mnist", "--out", "OUT"], "invalid choice: 'mnist'"),
        (["search", "--published", "cifar", "--fast", "--out", "OUT"], "not allowed with argument"),
        (["search", "--device", "tpu", "--out", "OUT"], "a device is cpu or cuda; got 'tpu'"),
        (["tabular", "latency", "five_layer-torch-b1", "--device", "tpu", "--out", "OUT/t.json"], "cpu or cuda"),
        (["bench", "step", "--device", "tpu"], "a device is cpu or cuda"),
        (["bench", "step", "--spaces", "cells-tiny", "--seconds", "0.01"], "is that of a chain; got cells-tiny"),
        (["bench", "deploy", "OUT/none", "--device", "tpu"], "a device is cpu or cuda"),
        (["study", "--latency-weights", "0,x", "--out", "OUT/s.json"], "numbers with commas between"),
        (["study", "--latency-weights", "0,-1", "--out", "OUT/s.json"], "a latency weight is at least 0"),
        (["study", "--task-cost", "money", "--out", "OUT/s.json"], "a task costs cross-entropy or error; got 'money'"),
        (["compare", "--baselines", "magic", "--out", "OUT/s.json"], "baselines are random-selected"),
        (["export", "OUT"], "no search run can be read"),
        (["export", "OUT", "--device", "tpu"], "a device is cpu or cuda"),
        (["export", "OUT", "--verify", "torch-cuda-graph"], "a CUDA graph needs an NVIDIA GPU"),
        (["export", "CUTRUN"], "damaged or truncated"),
        (["export", "OUT", "--runtimes", "torch,magic"], "runtimes are torch"),
        (["latency", "build", "--space", "nope", "--out", "OUT/t.json"], "spaces are"),
        (["latency", "build", "--runtime", "nope", "--out", "OUT/t.json"], "runtimes are torch"),
        (["latency", "build", "--runtime", "tensorrt", "--out", "OUT/t.json"], "tensorrt needs"),
        (["report", "OUT/none"], "no search run can be read"),
        (["verify", "OUT/none.html"], "no report can be read"),
        (["bench", "deploy", "OUT/none", "--threads", "0"], "at least one thread"),
        (["bench", "deploy", "OUT/none", "--batch-sizes", "one"], "--batch-sizes is whole numbers"),
        (["bench", "deploy", "OUT/none", "--batch-sizes", "nan"], "--batch-sizes is whole numbers"),
        (["bench", "step", "--batch-sizes", "2.7"], "--batch-sizes is whole numbers"),
        (["bench", "step", "--batch-sizes", ""], "--batch-sizes is numbers of images"),
        (["bench", "step", "--seconds", "nan"], "--seconds is a finite number above 0"),
        (["bench", "deploy", "OUT/none", "--seconds", "0"], "--seconds is a finite number above 0"),
        (["bench", "deadlines", "--deadlines", "0"], "at least one deadline"),
        (["bench", "deadlines", "--out", "CUTRUN"], "is a folder: name a file in it"),
        (["bench", "deadlines", "--out", "CUT"], "is not a deadline bench: damaged or truncated JSON"),
        (["bench", "optimize", "--methods", ""], "methods are model"),
        (
            ["tabular", "latency", "five_layer-torch-b1", "--seconds", "nan", "--out", "OUT/t.json"],
            "finite number above 0",
        ),
        (["study", "--latency-weights", "0", "--out", "CUTRUN"], "is a folder: name a file in it"),
        (["study", "--latency-weights", "0", "--out", "CUTRUN/manifest.json"], "not a study: name another file"),
        (["study", "--latency-weights", "0", "--out", "OUT/s.json", "--picture", "CUTRUN"], "is a folder"),
        (["search", "--seed", "99999999999999999999999", "--out", "OUT"], "a whole number from 0 to"),
        (["search", "--set", "weight_lr=nan", "--out", "OUT"], "weight_lr is a finite number from 0 up"),
        (["search", "--set", "nats_per_error=0", "--out", "OUT"], "nats_per_error and clip are above 0"),
        (["search", "--set", "evaluation_images=0", "--out", "OUT"], "evaluated on at least one image"),
        (["export", "RUN", "--runtimes", ""], "at least one runtime and one precision"),
        (["export", "RUN", "--batch-size", "0"], "at least one image"),
        (["run", "", "--out", "OUT"], "no notebook ''"),
        (["bench", "deploy", "OUT/none"], "no search run can be read"),
        (["bench", "engines", "--flavour", "magic"], "TensorRT comes as tensorrt or tensorrt-rtx"),
        (["bench", "engines", "OUT/none"], "no search run can be read"),
        (["export", "RUN", "--engine", "magic"], "TensorRT comes as tensorrt or tensorrt-rtx"),
        (["export", "RUN", "--verify", "magic"], "runtimes are torch"),
        (["export", "RUN", "--precisions", "fp4"], "precisions are fp32"),
        (["export", "RUN", "--verify", "--architectures", "2"], "at least 3 architectures"),
        (["latency", "build", "--networks", "3", "--out", "OUT/t.json"], "at least 20 whole networks"),
        (["latency", "build", "--out", "OUT/t.txt"], "is a .json file; got t.txt"),
        (["latency", "build", "--batch-size", "0", "--out", "OUT/t.json"], "at least one image"),
        (["latency", "build", "--out", "FILE/below/t.json"], "cannot write to the folder"),
        (["run", "99", "--out", "OUT"], "no notebook '99'; there are: 00_start_here"),
        (["run", "06", "-p", "SPEED=3", "--out", "OUT"], "SPEED"),
        (["run", "06", "-p", "SPEED", "--out", "OUT"], "a parameter is NAME=VALUE"),
        (["run", "all", "-p", "SEED=1", "--out", "OUT"], "takes no -p"),
        (["run", "06", "--out", "FILE/below"], "cannot write to the folder"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "the following arguments are required: VERB"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(capsys, tmp_path, arguments, says):
    (tmp_path / "file").write_text("")
    (tmp_path / "cut.json").write_text('{"kind": "latency table", "schema"')
    (tmp_path / "cutrun").mkdir()
    (tmp_path / "cutrun" / "manifest.json").write_text('{"kind": "search run"')
    places = {"OUT": "out", "FILE": "file", "CUTRUN": "cutrun", "CUT": "cut.json"}
    for name, place in places.items():
        arguments = [a.replace(name, str(tmp_path / place)) if a.startswith(name) else a for a in arguments]
    assert says in refused(capsys, *arguments)


def test_what_is_printed_suits_the_terminal_and_a_reader_may_go(tmp_path):
    """A name outside ASCII on a terminal that knows no other, and a pipe whose reader has seen enough."""
    path = tmp_path / "é.json"
    path.write_text("{}")
    ascii_only = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "labkit", "doctor", "--json"]
    run = subprocess.run(command, capture_output=True, env=ascii_only, timeout=120)
    assert run.returncode in (0, 1) and json.loads(run.stdout)
    code = f"import labkit.cli as c; c._say({str(path)!r}); c._say('x' * 10**6)"
    one = subprocess.run([sys.executable, "-c", code], capture_output=True, env=ascii_only, timeout=120)
    assert one.returncode == 0 and b"\\xe9.json" in one.stdout
    gone = subprocess.run(
        ["bash", "-c", f'"{sys.executable}" -c "$0" | head -c 1', code], capture_output=True, timeout=120
    )
    assert b"Error" not in gone.stderr, gone.stderr


def test_an_engine_that_cannot_be_built_here_is_refused_before_training(capsys, monkeypatch):
    monkeypatch.setattr("labkit.runtimes.tensorrt_engines.module", lambda flavour: None)
    monkeypatch.setattr("labkit.runtimes.tensorrt_engines._capability", lambda: None)
    assert "tensorrt builds engines on an NVIDIA GPU" in refused(capsys, "export", "RUN", "--engine", "tensorrt")


def test_every_bench_says_the_kind_of_its_files_in_one_place():
    typed = Path(benches.__file__).read_text()
    for name in (
        "estimators",
        "supernet",
        "step",
        "sweep",
        "deploy",
        "engines",
        "deadlines",
        "optimize",
        "ops",
        "ranking",
    ):
        bench = importlib.import_module(f"labkit.benches.{name}")
        assert bench.SCHEMA >= 1 and f'"{bench.KIND}"' not in typed
        assert Path(bench.__file__).read_text().count(f'"{bench.KIND}"') == 1


def test_a_defect_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr("labkit.cli.doctor.examine", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["doctor"])


@pytest.mark.parametrize(
    ("module", "typed", "says"),
    [
        ("course", "doctor", "starts over"),
        ("course", "run all --out OUT", "starts over"),
        ("searching", "search --out OUT", "resumes from what is finished in OUT"),
        ("searching", "study --out OUT", "starts over"),
        ("searching", "compare --seeds 2 --out OUT", "resumes from what is finished in OUT"),
        ("latency", "latency build --out OUT", "resumes from what is finished in OUT"),
        ("tabular", "tabular build --out OUT", "resumes from what is finished in OUT"),
        ("tabular", "tabular build --sample 3", "starts over"),
        ("tabular", "tabular latency TABLE --out OUT", "starts over"),
        ("deploying", "export RUN", "starts over, but trains nothing that RUN has trained"),
        *(("benches.bench", f"bench {act} --out OUT", "resumes from what is finished in OUT") for act in KEEPING),
        *(("benches.bench", f"bench {act}", "would resume") for act in KEEPING),
        *(("benches.bench", f"bench {act} --out OUT", "starts over") for act in ("step",)),
    ],
)
@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_says_what_the_same_command_does(capsys, monkeypatch, by, module, typed, says):
    def stopped(*_):
        if by is signal.SIGTERM:
            signal.raise_signal(by)
        raise Stopped("stopped after step 8; of 12", "of the library's call")

    verb = [word for word in typed.split() if word.islower()][
        : 1 + (typed.split()[0] in ("bench", "latency", "tabular"))
    ]
    function = module if "." in module else f"{module}.{verb[-1]}"
    monkeypatch.setattr(f"labkit.cli.{function}", stopped)
    code, text, said = run(capsys, *typed.split())
    came = "stopped after step 8; of 12" if by is signal.SIGINT else "stopped"
    assert code == 128 + by and text == "" and said.startswith(f"labkit: {came}; ")
    assert said.endswith(f"{says}\n") and "library" not in said


def test_a_second_stage_that_was_stopped_goes_on(capsys, monkeypatch, tmp_path):
    steps = {"mixture_steps": 2, "weight_steps": 2, "joint_steps": 2, "batch_size": 16, "evaluation_images": 50}
    typed = ["search", "--fast", "--select", "--out", str(tmp_path), *(f"--set={k}={v}" for k, v in steps.items())]
    trained = []

    def train(network, *_, **__):
        trained.append(network.architecture)
        if len(trained) == 6:
            raise KeyboardInterrupt

    monkeypatch.setattr("labkit.oneshot.selection.train", train)
    code, _, said = run(capsys, *typed)
    assert code == 130 and said == f"labkit: stopped; the same command resumes from what is finished in {tmp_path}\n"
    code, *_ = run(capsys, *typed)
    assert code == 0 and len(trained) == 4 + 2 + 1, "four, then two, and only the one that was cut short anew"
    assert not (tmp_path / "checkpoints").exists()


def test_a_limit_comes_without_a_hidden_price(capsys, tmp_path):
    steps = {"mixture_steps": 2, "weight_steps": 2, "joint_steps": 20, "batch_size": 16, "evaluation_images": 50}
    typed = ["search", "--fast", *(f"--set={k}={v}" for k, v in steps.items())]
    asked = {"limit": ["--deadline-ms", "0.4"], "target": ["--target-ms", "0.4"], "neither": []}
    asked["dear"] = ["--deadline-ms", "0.4", "--latency-weight", "0.3"]
    weights = {}
    for name, more in asked.items():
        code, *_ = run(capsys, *typed, *more, "--out", str(tmp_path / name))
        assert code == 0
        loaded = lk.runs.load(tmp_path / name)
        weights[name] = loaded.result.config.latency_weight
        if name in ("limit", "target"):
            assert 0.9 * 0.4 <= loaded.result.point.latency_ms <= 0.4
    low, high = loaded.table.range_ms()
    assert weights == {"limit": 0.0, "target": 0.0, "dear": 0.3, "neither": pytest.approx(0.03 / (high - low))}


def test_latency_writes_a_table(capsys, tmp_path):
    code, text, _ = run(
        capsys, "latency", "build", "--seconds", "0.02", "--networks", "20", "--out", str(tmp_path / "t.json"), "--json"
    )
    value = json.loads(text)
    assert code == 0 and value["range_ms"][0] < value["range_ms"][1] and value["card"]["origin"] == "measured"
    assert LatencyTable.load(tmp_path / "t.json").card.origin == "recorded"


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


def test_a_search_on_real_handwriting_is_exported_and_its_loop_closed(capsys, tmp_path):
    out, table = str(tmp_path / "RUN"), "five_layer-onnxruntime-b1"
    code, text, _ = run(capsys, "search", "--data", "digits", "--fast", "--table", table, "--out", out, "--json")
    found = json.loads(text)
    assert code == 0 and not (tmp_path / "RUN" / "checkpoints").exists(), "a finished search needs none"
    options = ["--runtimes", "onnxruntime", "--precisions", "fp32,int8", "--epochs", "1"]
    engine = ["--engine", "tensorrt-rtx"] if "tensorrt-rtx" in installed() else []
    code, text, _ = run(capsys, "export", out, *options, *engine, "--verify", "--architectures", "5", "--json")
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
    capsys, monkeypatch, tmp_path, space, data, table, runtimes, precisions, shown, said
):
    """Without training, and without a clock: every row that was asked for says that it was not timed."""
    config = lk.SearchConfig(mixture_steps=1, weight_steps=1, joint_steps=1, evaluation_images=10, calibration_images=8)
    runs.save(lk.search(lk.Supernet(space), data, table, config), tmp_path, data, table)
    network = lk.derive(space, space[0])
    monkeypatch.setattr(runs.Run, "image_set", lambda run, download: data)
    monkeypatch.setattr(exporting, "train_chosen", lambda *_, **__: (network, 0.9))
    monkeypatch.setattr(exporting, "to_onnx", lambda network, path: storage.write_text(path, "model"))

    def usable(name, dtype, device):
        raise InputError("not timed")

    monkeypatch.setattr(deploy_export, "usable", usable)
    monkeypatch.setattr(deploy_export, "time_interleaved", lambda *_, **__: [])
    code, text, _ = run(capsys, "export", str(tmp_path), "--runtimes", runtimes, "--precisions", precisions)
    lines = text.splitlines()[3:]
    assert code == 0 and [line[:20].strip() for line in lines[: len(shown)]] == shown
    assert ("compiled eager, torch-compile: not timed" in lines) is said
