"""`bench`: the options of each bench, and what they refuse."""

import importlib
from pathlib import Path

import pytest

import labkit as lk
from labkit.cli import benches


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["bench", "deadlines", "--tabular", "OUT"], "no tabular benchmark can be read at"),
        (["bench", "supernet", "--tabular", "OUT"], "no tabular benchmark can be read at"),
        (["bench", "deadlines", "--out", ""], "out is empty"),
        (["bench", "deadline"], "did you mean deadlines?"),
        (["bench", "step", "--device", "tpu"], "a device is cpu or cuda"),
        (["bench", "step", "--spaces", "cells-tiny", "--seconds", "0.01"], "is that of a chain; got cells-tiny"),
        (["bench", "deploy", "OUT/none", "--device", "tpu"], "a device is cpu or cuda"),
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
        (["bench", "deploy", "OUT/none"], "no search run can be read"),
        (["bench", "engines", "--flavour", "magic"], "TensorRT comes as tensorrt or tensorrt-rtx"),
        (["bench", "engines", "OUT/none"], "no search run can be read"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(refused, arguments, says):
    assert says in refused(*arguments)


@pytest.mark.parametrize("name", benches.BENCHES)
def test_an_interrupt_says_what_the_same_command_does(interrupted, name):
    """A bench that resumes does so from its file; without one, and in all others, nothing is kept."""
    command, resumes = f"bench {name}" + " RUN" * (name == "deploy"), name in benches.RESUME
    with_out = interrupted("benches.bench", f"{command} --out OUT")
    assert with_out == (
        "the same command resumes from what is finished in OUT" if resumes else "the same command starts over"
    )
    without = interrupted("benches.bench", command)
    lost = "nothing is kept: with --out the same command would resume"
    assert without == (lost if resumes else "the same command starts over")


def test_the_benches_that_resume_are_those_that_say_so():
    from labkit.benches.record import Bench

    for name, (module, attribute, _) in benches.BENCHES.items():
        bench = getattr(importlib.import_module(module), attribute)
        assert issubclass(bench, Bench) and bench.resumes is (name in benches.RESUME), name


def test_options_are_the_fields_of_the_bench_with_their_types():
    from labkit.benches.record import options
    from labkit.benches.step import StepBench

    made = {one.name: one for one in benches._options("step")}
    assert set(made) == {field.name for field in options(StepBench)}
    assert made["batch_sizes"].value("8, 16,") == (8, 16) and made["batch_sizes"].typed == "--batch-sizes"
    with pytest.raises(lk.InputError, match="whole numbers with commas between, such as 1,4; got '8,x'"):
        made["batch_sizes"].value("8,x")


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
