"""`baselines` asks the library for what was typed, and says what it found."""

import json
import signal

import pytest

from labkit.cli import main
from labkit.networks.training import TrainConfig
from labkit.runs import baseline
from labkit.runs.baseline import About, Baselines, Row, Target
from labkit.spaces import Architecture
from labkit.system.interrupts import Stopped


class Loaded:
    folder = "RUN"


@pytest.fixture
def asked(monkeypatch):
    """The requests that were made; the record is of planted errors, in which the choice loses."""
    requests = []
    about = About(Architecture("five_layer", ("conv3x3",) * 5), "d", "t", TrainConfig(), 1, "torch", "cpu")
    chosen = [Row("chosen", "", "conv3x3", seed, 0.4, 0.40 + seed / 100, 1.0) for seed in range(3)]
    random = [Row("random", "own ms", "conv5x5", seed, 0.4, 0.35 + seed / 100, 1.0) for seed in range(3)]
    target = Target("own ms", 0.09, 0.11, 1.0)
    found = Baselines(about, {}, (target,), 2_000, 10.0, rows=(*chosen, *random))

    def baselines(run, request, *, made, download, on_row):
        requests.append((request, made, download))
        on_row(found.rows[0])
        return found

    monkeypatch.setattr("labkit.runs.load", lambda folder: Loaded())
    monkeypatch.setattr("labkit.runs.baselines", baselines)
    return requests


def test_what_was_typed_is_asked(asked, capsys):
    typed = [
        "--seeds",
        "5",
        "--networks",
        "2",
        "--controls",
        "resnet",
        "--equal-cost",
        "--epochs",
        "7",
        "--workers",
        "1",
    ]
    assert main(["baselines", "RUN", *typed, "--runtime", "torch", "--json"]) == 0
    request, made, download = asked[0]
    assert (request.seeds, request.networks, request.controls) == (5, 2, ("resnet",))
    assert request.equal_cost and request.training == TrainConfig(epochs=7) and request.workers == 1
    assert request.runtime == "torch" and not download and {"command", "device", "versions", "date"} <= set(made)
    said = capsys.readouterr()
    value = json.loads(said.out)
    (one,) = value["comparisons"]
    assert one["answer"] == "worse" and one["gain"]["mean"] == pytest.approx(-0.05) and len(value["rows"]) == 6
    assert said.err.startswith("seed 0, chosen: conv3x3, 40.0 % test error, 1 s")


def test_the_loss_is_the_first_line(asked, capsys):
    assert main(["baselines", "RUN"]) == 0
    assert asked[0][0] == baseline.BaselinesRequest(), "the defaults of the library"
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "The choice is worse than 1 of 1 baselines, not shown to differ from 0, better than 0."
    assert second.startswith("The choice is worse than a random network at the choice's own 0.1 ms")


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["--seeds", "2"], "at least 3 seeds"),
        (["--controls", "vgg"], "controls are resnet, mobilenetv2; got 'vgg'"),
        (["--seconds", "nan"], "finite number above 0"),
        (["--device", "tpu"], "a device is cpu or cuda"),
    ],
)
def test_wrong_input_is_one_line(asked, capsys, typed, says):
    assert main(["baselines", "RUN", *typed]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1 and not asked


def test_a_folder_without_a_run_is_refused(capsys, tmp_path):
    assert main(["baselines", str(tmp_path)]) == 2
    assert "no search run can be read" in capsys.readouterr().err


def test_an_interrupt_says_that_the_same_command_goes_on(asked, capsys, monkeypatch):
    def stopped(*_, **__):
        raise Stopped("stopped")

    monkeypatch.setattr("labkit.runs.baselines", stopped)
    assert main(["baselines", "RUN"]) == 128 + signal.SIGINT
    assert "the same command goes on from what is finished in RUN" in capsys.readouterr().err
