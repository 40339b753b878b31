"""Estimates of a gradient: bias, spread and price as drawn against a planted bias and spread."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from labkit import plots
from labkit.benches.estimators import Row
from labkit.plots.canvas import BLUE, ORANGE


def test_estimates_beside_the_exact_gradient_have_their_own_bias_and_spread():
    """Planted: a mean that is off by 0.3 along and 0.4 across a gradient of length 2, and a known spread."""
    exact, across = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
    exact[0, 0], across[1, 1], across[0, 0] = 2.0, 1.0, 5.0  # what lies along the gradient is taken out of `across`
    noise = torch.randn(400, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = (noise - noise.mean(0)) / noise.std(0)
    off = torch.zeros_like(exact)
    off[0, 0], off[1, 1] = 0.6, 0.8
    left, right = plots.against_exact(exact + off + 0.1 * noise, exact, across, most=100).axes
    assert [line.get_xydata().tolist() for line in left.lines][1] == [pytest.approx([1.3, 0.4])]
    spread = 100 * 0.1 * 6**0.5 / 2
    assert [bar.get_width() for bar in right.patches[1:]] == pytest.approx([50, spread, np.hypot(50, spread)])


def test_gradient_bias_marks_the_logits_that_are_off():
    """Planted: the second logit of the first slot is off by 1, with standard errors of 0.1."""
    exact = torch.tensor([[0.5, -0.5], [0.0, 0.25]], dtype=torch.float64)
    noise = torch.randn(100, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = (noise - noise.mean(0)) / noise.std(0)
    off = torch.tensor([[0.0, 1.0], [0.0, 0.0]], dtype=torch.float64)
    fair, biased = plots.gradient_bias({"fair": exact + noise, "biased": exact + off + noise}, exact).axes
    assert (
        fair.get_title("left") == "fair\n0 of 4 logits off" and biased.get_title("left") == "biased\n1 of 4 logits off"
    )
    round_ones, squares = biased.containers
    assert squares[0].get_xydata().tolist() == [pytest.approx([1, 1.0])] and squares[0].get_marker() == "s"
    assert round_ones[0].get_xdata().tolist() == [0, 3, 4], "a gap of one between slots"
    (whiskers,) = squares[2]
    (segment,) = whiskers.get_segments()
    assert segment[:, 1].tolist() == pytest.approx([1 - 0.2, 1 + 0.2]), "two standard errors of 1 / sqrt(100)"
    assert [tick.get_text() for tick in biased.get_xticklabels()] == ["1", "2"]


def test_bias_is_drawn_in_percent_and_set_off_where_noise_does_not_explain_it():
    rows = {
        "fair": {"bias": 0.03, "noise": 0.02, "variance": 4.0},
        "biased": {"bias": 0.16, "noise": 0.02, "variance": 0.5},
    }
    left, right = plots.bias_and_variance(rows).axes
    assert [bar.get_width() for bar in left.patches] == pytest.approx([4, 4]), "twice the noise"
    small, large = left.lines
    assert small.get_xydata().tolist() == [pytest.approx([3, 0])] and small.get_marker() == "o"
    assert large.get_xydata().tolist() == [pytest.approx([16, 1])] and large.get_marker() == "s"
    assert [bar.get_width() for bar in right.patches] == [4.0, 0.5]
    assert [text.get_text().strip() for text in right.texts] == ["4", "0.5"]
    hex_of = lambda bar: plots.canvas.mpl.colors.to_hex(bar.get_facecolor()).upper()
    assert [hex_of(bar) for bar in right.patches] == [BLUE, ORANGE]
    assert [label.get_text() for label in left.get_yticklabels()] == list(rows)


def row(**changes):
    usual = Row("toy", "unas", True, 0.4, 0.0, 100, 0.01, 0.01, 1.0, ((0.0,),), 2.0, 3.0, 1e-3)
    return replace(usual, **changes)


def test_the_bench_draws_variance_times_passes_from_the_last_row_up():
    rows = [
        row(),
        row(estimator="gumbel", unbiased=False, bias=0.253, variance=0.5, passes=2.0),
        row(estimator="enumerated", variance=0.0),
        row(estimator="elsewhere", temperature=1.0),
        row(estimator="softened", softening=0.5),
        row(problem="other", estimator="unas", variance=10.0),
    ]
    toy, other = plots.estimator_bench(rows).axes
    assert (toy.get_title("left"), other.get_title("left")) == ("toy", "other")
    assert [label.get_text() for label in toy.get_yticklabels()] == ["enumerated", "gumbel", "unas"]
    ends = [bar.get_x() + bar.get_width() for bar in toy.patches]
    assert ends == pytest.approx([0.5 * 2, 2 * 3]), "no bar for what has no variance"
    assert [bar.get_hatch() for bar in toy.patches] == ["//", ""]
    assert [text.get_text() for text in toy.texts] == ["no variance", "25 % off", ""]
    assert [bar.get_x() + bar.get_width() for bar in other.patches] == pytest.approx([30])
    hot = plots.estimator_bench(rows, temperature=1.0).axes[0]
    assert [label.get_text() for label in hot.get_yticklabels()] == ["elsewhere"]
