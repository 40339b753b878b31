"""Parts that are brought in from outside the package work everywhere, in other processes too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import labkit as lk

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
LONGEST = 30  # lines of an example


def run(code: str | Path, folder: Path, *more: str, ok: bool = True) -> str:
    """What a fresh Python prints that stands in `folder` and knows the examples."""
    path = os.pathsep.join(filter(None, (str(EXAMPLES), os.environ.get("PYTHONPATH", ""))))
    command = [sys.executable, *([str(code)] if isinstance(code, Path) else ["-c", code]), *more]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert (done.returncode == 0) == ok, done.stdout + done.stderr
    return done.stderr + done.stdout


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("own_*.py")), ids=lambda path: path.stem)
def test_an_example_is_short_and_passes_its_check(example, tmp_path):
    assert len(example.read_text().splitlines()) <= LONGEST
    run(example, tmp_path)


SEARCH = """
import labkit as lk
import own_space, own_estimator

space = lk.spaces.by_name("three-layers")
data = lk.data.glyphs(600, 200, 200, seed=0)
table = lk.LatencyTable.measure(space, lk.TimingConditions(seconds=0.01, rounds=3))
short = dict(mixture_steps=3, weight_steps=2, joint_steps=4, batch_size=32)
short |= dict(evaluation_images=100, calibration_images=64)
config = lk.SearchConfig(estimator="two-draws", architectures=2, latency_weight=0.1, **short)
found = lk.search(lk.Supernet(space), data, table, config, measured_ms=table)
once = lk.TrainConfig(epochs=1, batch_size=64)
stages = lk.SelectionConfig(scan=4, entrants=2, images=128, training=once, finalists=2, final=once, again=0)
(chosen,) = lk.select([found], data, table, stages, workers=2)
lk.runs.save(chosen, "run", data, table)
print(chosen.architecture)
"""
VERIFY = """
import labkit as lk
import own_space, own_estimator

for verdict in lk.runs.verify(lk.runs.read("run/report.html")):
    print(f"claim:{verdict.claim.name} {verdict.outcome.replace(' ', '-')}")
"""
LOAD = """
import labkit as lk

run = lk.runs.load("run")
print(run.result.architecture, run.result.config.estimator, len(run.image_set().train))
"""


def test_own_parts_go_from_a_search_to_a_report_in_other_processes(tmp_path):
    chosen = run(SEARCH, tmp_path).split()[-1]
    assert set(chosen.split("-")) <= {"conv3x3", "se3x3", "maxpool3x3"}
    assert run(LOAD, tmp_path).split()[-3:] == [chosen, "two-draws", "600"]
    verb = lambda *words: run("from labkit.cli import main; import sys; sys.exit(main())", tmp_path, *words)
    short = ("--runtimes", "torch,onnxruntime", "--epochs", "1")
    assert "trained from scratch" in verb("export", "run", *short)
    verb("report", "run")
    checked = lk.runs.verify(lk.runs.read(tmp_path / "run" / "report.html"))
    assert next(v for v in checked if v.claim.name == "space").outcome == "not checked", (
        "its operation is not known here"
    )
    said = run(VERIFY, tmp_path)  # timings are reported, and not asserted
    outcomes = dict(line.split() for line in said.splitlines() if line.startswith("claim:"))
    known = ("images", "space", "complexity", "table", "accuracy", "page")
    assert {name: outcomes[f"claim:{name}"] for name in known} == dict.fromkeys(known, "reproduced")


def test_a_saved_run_says_which_module_it_lacks(tmp_path):
    run(SEARCH, tmp_path)
    lost = "import sys; sys.path = [p for p in sys.path if 'examples' not in p]\n" + LOAD
    said = run(lost, tmp_path, ok=False)
    assert "was registered by module own_op" in said and "No module named 'own_op'" in said


def test_the_command_line_takes_own_parts(tmp_path):
    verb = "from labkit.cli import main; import sys; sys.exit(main())"
    steps = ("mixture_steps=2", "weight_steps=2", "joint_steps=2", "batch_size=16", "evaluation_images=50")
    settings = [word for step in steps for word in ("--set", step)]
    parts = ("--space", "own_space:three_layers", "--data", "own_data:sides", "--table", "measure")
    command = ("search", *parts, "--estimator", "own_estimator:TwoDraws", "--set", "architectures=2", *settings)
    run(verb, tmp_path, *command, "--out", "run")
    said = run(LOAD, tmp_path)
    assert "own_estimator:TwoDraws 200" in said
    refused = run(verb, tmp_path, "search", "--space", "own_space:four_layers", "--out", "other", ok=False)
    assert "own_space has no 'four_layers'" in refused and "Traceback" not in refused
    refused = run(verb, tmp_path, "search", "--op", "nowhere", "--out", "other", ok=False)
    assert "module nowhere cannot be imported" in refused and "Traceback" not in refused


def test_nothing_is_overwritten_in_silence(tmp_path):
    code = "import labkit as lk, own_op\nlk.register_op('conv3x3', own_op.SqueezeExcite)"
    assert "is registered already" in run(code, tmp_path, ok=False)
    twice = "import labkit as lk, own_op\nlk.register_op('se3x3', lambda i, o, s: None)"
    assert "registered already, by own_op" in run(twice, tmp_path, ok=False)
    again = "import labkit as lk, own_op\nlk.register_op('se3x3', own_op.SqueezeExcite); print('fine')"
    assert "fine" in run(again, tmp_path), "the same part under the same name is no other part"


RUNTIME = """
import warnings
warnings.simplefilter("ignore")
from dataclasses import replace

import labkit as lk
import own_runtime

space, data = lk.spaces.five_layer(), lk.data.glyphs(300, 100, 100)
network = lk.derive(space, space[7])
conditions = lk.TimingConditions(runtime="torchscript", seconds=0.02, rounds=3)
(measured,) = lk.measure([network], conditions)
table = lk.LatencyTable.measure(space, replace(conditions, seconds=0.005, rounds=2))
rows = lk.deploy.benchmark(network, data.test, lk.TimingConditions(seconds=0.05), runtimes=("torchscript",))
print(measured.card.runtime, table.card.runtime, rows[-1].name, rows[-1].computes_the_same)
"""


def test_an_own_runtime_is_timed_tabled_and_raced(tmp_path):
    assert run(RUNTIME, tmp_path).split()[-4:] == ["torchscript", "torchscript", "torchscript", "True"]
