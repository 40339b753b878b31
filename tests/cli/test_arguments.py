"""What was typed, as the library takes it."""

import argparse

import pytest

import labkit as lk
from labkit.cli import arguments
from labkit.system.device import device_name


def search(*typed):
    """The arguments of a verb with those of all searches."""
    parser = arguments.Parser(prog="labkit")
    arguments.add_search_arguments(parser)
    return parser.parse_args(list(typed))


def test_words_and_numbers():
    assert arguments.words("a, b,,c ,") == ["a", "b", "c"] and arguments.words("") == []
    assert arguments.numbers("0,0.5, 1e-3", "--x") == (0.0, 0.5, 0.001)
    with pytest.raises(lk.InputError, match=r"--x is numbers with commas between, such as 0,0.1,0.4; got '1,,2'"):
        arguments.numbers("1,,2", "--x")


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_seconds_are_finite_and_above_0(seconds):
    arguments.check_seconds(1e-3)
    with pytest.raises(lk.InputError, match="--seconds is a finite number above 0"):
        arguments.check_seconds(seconds)


def test_timing_takes_two_rounds():
    arguments.check_timing(argparse.Namespace(rounds=2, seconds=0.1))
    with pytest.raises(lk.InputError, match="at least 2 rounds; got 1"):
        arguments.check_timing(argparse.Namespace(rounds=1, seconds=0.1))


def test_settings_have_the_types_of_their_fields():
    config = arguments.search_config(search("--set", "joint_steps=7", "--set", "weight_lr=1e-3", "--seed", "3"), seed=3)
    assert config == lk.SearchConfig(joint_steps=7, weight_lr=1e-3, seed=3)
    assert arguments.search_config(search("--set", "latency_weight=none")).latency_weight is None
    assert arguments.search_config(search("--space", "mobile-tiny")) == lk.SearchConfig.preset("mobile-tiny")
    assert arguments.search_config(search("--fast")) == lk.SearchConfig.fast()
    published = arguments.search_config(search("--published", "cifar", "--set", "joint_steps=9"))
    assert published == lk.SearchConfig.published("cifar", joint_steps=9)


def test_an_interrupted_verb_says_what_the_same_command_does():
    kept, lost = argparse.Namespace(out="file.json"), argparse.Namespace(out=None)
    assert arguments.resumes(kept) == "the same command resumes from what is finished in file.json"
    assert arguments.resumes(lost) == "nothing is kept: with --out the same command would resume"
    assert arguments.starts_over(kept) == "the same command starts over"


def test_a_shipped_table_of_another_machine_is_not_taken_silently(capsys, monkeypatch):
    typed = search("--data", "digits", "--fast")
    space, images, table = arguments.space_data_table(typed)
    assert space.name == "five_layer" and len(images.classes) == 10 and table.card.runtime == "torch"
    told = capsys.readouterr().err
    other = "labkit: the latency table is that of {} in torch, not of this machine: --table measure times"
    assert told == "" if table.card.device == device_name() else told.startswith(other.format(table.card.device))
    monkeypatch.setattr("labkit.system.device.device_name", lambda device="cpu": "A Machine of Tomorrow")
    _, _, table = arguments.space_data_table(typed)
    assert capsys.readouterr().err.startswith(other.format(table.card.device))
    arguments.space_data_table(search("--data", "digits", "--fast", "--table", "five_layer-torch-b1"))
    assert capsys.readouterr().err == "", "who names a table knows it"


def test_a_misspelt_choice_is_told_the_nearest(capsys):
    with pytest.raises(SystemExit) as stop:
        search("--published", "cifra")
    assert stop.value.code == 2
    assert "did you mean cifar?" in capsys.readouterr().err
