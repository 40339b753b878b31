"""`latency build`: its output and what it refuses."""

import json

import pytest

from labkit.latency.table import LatencyTable


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["latency", "build", "--space", "nope", "--out", "OUT/t.json"], "spaces are"),
        (["latency", "build", "--runtime", "nope", "--out", "OUT/t.json"], "runtimes are torch"),
        (["latency", "build", "--runtime", "tensorrt", "--out", "OUT/t.json"], "tensorrt needs"),
        (["latency", "build", "--networks", "3", "--out", "OUT/t.json"], "at least 20 whole networks"),
        (["latency", "build", "--out", "OUT/t.txt"], "is a .json file; got t.txt"),
        (["latency", "build", "--batch-size", "0", "--out", "OUT/t.json"], "at least one image"),
        (["latency", "build", "--out", "FILE/below/t.json"], "cannot write to the folder"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(refused, arguments, says):
    assert says in refused(*arguments)


@pytest.mark.parametrize(
    ("function", "command", "says"),
    [
        ("latency.build", "latency build --out OUT", "the same command resumes from what is finished in OUT"),
    ],
)
def test_an_interrupt_says_what_the_same_command_does(interrupted, function, command, says):
    assert interrupted(function, command) == says


def test_latency_writes_a_table(run, tmp_path):
    code, text, _ = run(
        "latency", "build", "--seconds", "0.02", "--networks", "20", "--out", str(tmp_path / "t.json"), "--json"
    )
    value = json.loads(text)
    assert code == 0 and value["range_ms"][0] < value["range_ms"][1] and value["card"]["origin"] == "measured"
    assert LatencyTable.load(tmp_path / "t.json").card.origin == "recorded"
