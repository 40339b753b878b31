"""The bench that holds estimators against enumerated gradients, and what every one of them must show there."""

import json
from dataclasses import replace

import pytest
import torch

import labkit as lk
from labkit.benches import estimators
from labkit.benches.tabular import table
from labkit.cli import main
from labkit.estimators.descent import descend
from labkit.estimators.gradient_estimators import GumbelSoftmax, Unas
from labkit.latency.cards import Card, Timing

UNBIASED = [entry for entry in estimators.ENTRIES if entry.unbiased]


def made_up_benchmark():
    """A tabular benchmark of random numbers: latencies nearly additive, errors anything."""
    space, generator = lk.spaces.five_layer(), torch.Generator().manual_seed(0)
    parts = torch.rand(5, 3, generator=generator, dtype=torch.float64)
    z = torch.stack([space.encode(a) for a in space]).double()
    by_table = (z * parts).sum((-1, -2))
    measured = by_table * (1 + 0.05 * torch.randn(243, generator=generator, dtype=torch.float64))
    timings = tuple(Timing(ms, ms, 0.0, 15) for ms in measured.tolist())
    card = Card("none", "onnxruntime", (), "float32", "NCHW", 1, space.image, 1, "best")
    error = torch.rand(243, 3, generator=generator, dtype=torch.float64)
    timed = table.Timed("onnxruntime-b1", card, timings, tuple(by_table.tolist()))
    return table.TabularBenchmark(space, error, error, (), torch.zeros(243, 3), (timed,), {}, {})


@pytest.fixture(scope="module")
def problems():
    every = (*estimators.toy_problems(), *estimators.table_problems(made_up_benchmark()))
    return {problem.name: problem for problem in every}


NAMES = ("toy network", "toy network, residual", "mixture trap",
         "measured latency", "measured latency, hinge", "tabular benchmark")  # fmt: skip


@pytest.mark.parametrize("entry", UNBIASED, ids=lambda entry: entry.name)
@pytest.mark.parametrize("name", NAMES)
def test_unbiased_estimators_are_within_four_standard_errors_on_every_problem(problems, name, entry):
    if not entry.fits(problems[name]):
        pytest.skip("the problem has no such control")
    row = estimators.measure(problems[name], entry)
    assert row.samples >= 400_000 and row.worst_z < 4, row


def test_with_the_cost_as_control_a_fitted_scale_makes_rebar_and_unas_the_same(problems):
    rebar, unas = (
        next(e for e in estimators.ENTRIES if e.name == f"{name}, fitted scale") for name in ("REBAR", "UNAS")
    )
    assert not rebar.fits(problems["measured latency, deadline"]) and unas.fits(problems["measured latency, deadline"])
    rows = [estimators.measure(problems["toy network"], entry, samples=20_000) for entry in (rebar, unas)]
    assert rows[0].z == rows[1].z and rows[0].scale == rows[1].scale != 1


@pytest.mark.parametrize("name", ["Gumbel-Softmax", "UNAS without (ii)", "straight-through"])
def test_negative_controls_fail_by_a_wide_margin(problems, name):
    entry = next(entry for entry in estimators.ENTRIES if entry.name == name)
    row = estimators.measure(problems["toy network"], entry)
    assert row.worst_z > 20 and row.bias > 0.05


def test_skipping_light_candidates_is_a_bias_that_many_samples_show():
    row = estimators.skipped_row()
    assert row.samples >= 4_000_000 and row.worst_z > 8 and 0.003 < row.bias < 0.1


def test_a_closed_form_with_an_exact_table_has_no_variance(problems):
    entry = next(entry for entry in estimators.ENTRIES if entry.multilinear)
    row = estimators.measure(problems["tabular benchmark"], entry, samples=8_000)
    assert row.variance < 1e-20 and row.worst_z == 0 and row.bias < 1e-9


def test_z_is_infinite_in_effect_for_what_is_certainly_wrong(problems):
    """DARTS draws nothing, so it has no standard error to hide behind."""
    entry = next(entry for entry in estimators.ENTRIES if entry.name == "DARTS softmax")
    assert estimators.measure(problems["toy network"], entry, samples=8_000).worst_z > 1e6


def test_the_trap_is_a_trap(problems):
    """Enumerated: one architecture is best, and it is none of the trap; the blend would beat it, could it be had."""
    problem = problems["mixture trap"]
    costs = {a: problem.cost(problem.space.encode(a)[None].double()).item() for a in problem.space}
    ordered = sorted(costs.values())
    best = min(costs, key=costs.get)
    assert ordered[1] - ordered[0] > 0.01, "one optimum, not a tie"
    assert "conv5x5" not in best.ops and "maxpool3x3" not in best.ops, "no candidate of the trap is in it"
    blend = torch.tensor([[[0.0, 0.0, 0.5, 0.5]] * 4], dtype=torch.float64)
    assert problem.cost(blend).item() < ordered[0]


def search(problem, estimator, seed):
    dist = lk.ArchDistribution(problem.space).double()
    generator = torch.Generator().manual_seed(seed)
    return descend(problem.cost, dist, estimator, steps=250, draws=8, lr=0.08, generator=generator)


def test_unas_finds_the_planted_optimum_and_gumbel_softmax_walks_into_the_trap(problems):
    problem = problems["mixture trap"]
    best = min(problem.space, key=lambda a: problem.cost(problem.space.encode(a)[None].double()).item())
    found = [search(problem, Unas(), seed) for seed in range(40)]
    trapped = [search(problem, GumbelSoftmax(), seed) for seed in range(40)]
    assert sum(a == best for a in found) >= 38
    assert best not in trapped, "never the optimum"
    assert all({"conv5x5", "maxpool3x3"} >= set(a.ops[:3]) for a in trapped), "where only the planted one is good"


def test_the_command_prints_and_saves_the_same_rows(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(table, "load", lambda source: made_up_benchmark())
    arguments = ["bench", "estimators", "--samples", "4000", "--temperatures", "0.4", "--softenings", "0"]
    code = main(
        [*arguments, "--problems", "toy network; tabular benchmark", "--out", str(tmp_path / "b.json"), "--json"]
    )
    value = json.loads(capsys.readouterr().out)
    assert code in (0, 1) and value["schema"] == 1
    names = {(row["problem"], row["estimator"]) for row in value["rows"]}
    assert ("tabular benchmark", "closed form") in names and ("toy network", "closed form") not in names
    assert json.loads((tmp_path / "b.json").read_text())["rows"] == value["rows"]
    assert main([*arguments, "--problems", "tabular benchmark"]) == 0
    assert "worst z" in capsys.readouterr().out


def test_a_bench_that_was_stopped_goes_on_from_its_file(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(table, "load", lambda source: made_up_benchmark())
    measured, measure, out = [], estimators.measure, tmp_path / "b.json"

    def stopped(problem, entry, **how):
        measured.append(entry.name)
        if len(measured) == 4:
            raise KeyboardInterrupt
        return measure(problem, entry, **how)

    monkeypatch.setattr(estimators, "measure", stopped)
    arguments = ["bench", "estimators", "--samples", "4000", "--temperatures", "0.4", "--softenings", "0"]
    arguments += ["--out", str(out), "--problems", "tabular benchmark"]
    assert main(arguments) == 130
    first = json.loads(out.read_text())["rows"]
    assert [row["estimator"] for row in first] == measured[:3]
    assert main(arguments) == 0
    value = json.loads(out.read_text())
    assert value["rows"][:3] == first and value["passed"] is True, "seconds and all"
    assert len(measured) == len(estimators.ENTRIES) + 1 and [r.estimator for r in estimators.load(out)] == [
        e.name for e in estimators.ENTRIES
    ]
    capsys.readouterr()
    assert main([*arguments, "--temperatures", "0.4,1"]) == 2
    assert "with another request" in capsys.readouterr().err


@pytest.mark.parametrize(
    "part", [("measured latency", "0.4"), ("toy network", "0.2")], ids=["another problem", "another temperature"]
)
def test_a_part_of_the_bench_is_judged_by_the_bars_that_it_has(capsys, monkeypatch, part):
    monkeypatch.setattr(table, "load", lambda source: made_up_benchmark())
    arguments = ["bench", "estimators", "--samples", "4000", "--softenings", "0"]
    code = main([*arguments, "--problems", part[0], "--temperatures", part[1]])
    text = capsys.readouterr().out
    assert code == 0 and "FAIL" not in text and "ok   unbiased estimators" in text
    assert "no negative control was asked for" in text


def test_a_bar_that_fails_is_named(problems):
    entry = next(entry for entry in estimators.ENTRIES if entry.name == "UNAS")
    unas = replace(estimators.measure(problems["toy network"], entry, samples=8_000), worst_z=2.0)
    gumbel, wrong = (
        replace(unas, estimator=name, unbiased=False, worst_z=20.0) for name in estimators.NEGATIVE[:2][::-1]
    )
    assert estimators.passed([unas, gumbel, wrong]) and "FAIL" not in estimators.to_text([unas, gumbel, wrong])
    tame, biased = replace(gumbel, worst_z=3.0), replace(unas, worst_z=5.0)
    assert not estimators.passed([unas, tame, wrong]) and not estimators.passed([biased, gumbel, wrong])
    assert "FAIL negative control Gumbel-Softmax, toy network: z 3.0, above 10" in estimators.to_text(
        [unas, tame, wrong]
    )
    text = estimators.to_text([biased, gumbel, wrong])
    assert "FAIL unbiased estimators: 1 rows, worst z 5.00 (UNAS, toy network" in text and text.count("FAIL") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--samples", "10"], "at least 4000 samples"),
        (["--temperatures", "0,1"], "temperatures are above 0"),
        (["--temperatures", "warm"], "numbers with commas between"),
        (["--problems", "nope"], "problems are toy network"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(capsys, monkeypatch, arguments, says):
    monkeypatch.setattr(table, "load", lambda source: made_up_benchmark())
    assert main(["bench", "estimators", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1 and says in captured.err
