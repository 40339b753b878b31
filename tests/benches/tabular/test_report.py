"""Is the table good enough? Thresholds, ties and fronts against recomputations, and the command."""

import dataclasses
import json

import torch

import labkit as lk
from labkit.benches.tabular import report
from labkit.cli import main


def test_the_default_latency_rises_from_pooling_to_the_large_convolution(known):
    reports = {front.latency: front for front in report.fronts(known)}
    assert reports[known.latency().name].pooling_first


def test_a_table_of_noise_fails_the_thresholds(known):
    """The negative control of the report: accuracies drawn anew for every seed."""
    noise = torch.rand(243, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bad = dataclasses.replace(known, test_error=noise)
    failed = {bar.name for bar in report.thresholds(bad) if not bar.passed}
    assert any("rank agreement" in name for name in failed) and any("standard deviation" in name for name in failed)


def test_ties_with_the_best_are_named_as_ties(known):
    rows = report.ranked(known)
    assert rows[0].tied_with_best and not rows[-1].tied_with_best
    assert [row.error for row in rows] == sorted(row.error for row in rows)
    certain = dataclasses.replace(known, test_error=known.error[:, None].expand(-1, 3))
    assert sum(row.tied_with_best for row in report.ranked(certain)) <= 1, "without noise nothing is tied"


def test_a_deadline_reaches_the_whole_front_and_a_weight_its_corners(known):
    for front in report.fronts(known):
        assert front.by_deadline == front.size >= front.by_hinge >= front.by_weight >= 2


def test_supported_points_are_those_that_a_sweep_of_weights_finds(known):
    """The hull against brute force over many weights."""
    points = known.points()
    best = lambda w: min(points, key=lambda p: (p.error + w * p.latency_ms, p.latency_ms))
    swept = {best(w.item()) for w in torch.logspace(-4, 4, 4_000, dtype=torch.float64)} | {best(0.0)}
    assert swept <= set(lk.pareto.supported(known.frontier()))
    assert len(lk.pareto.supported(known.frontier())) - len(swept) <= 1, (
        "a weight's interval may lie between two of ours"
    )


def test_report_on_the_command_line(known, capsys):
    code = main(["tabular", "report", "--json"])
    value = json.loads(capsys.readouterr().out)
    assert value["passed"] is (code == 0) is all(bar["passed"] for bar in value["thresholds"])
    assert value["architectures"] == 243 and len(value["fronts"]) == len(known.latencies) >= 1
    assert main(["tabular", "report"]) == code
    assert "tied with it" in capsys.readouterr().out
