"""What is drawn of shared weights: losses, ranks, errors and their agreement."""

import numpy as np
import pytest

import labkit as lk
from labkit import plots
from labkit.stats import Agreement


def test_a_short_training_has_a_curve_too_and_unlike_lengths_a_legend():
    ax = plots.losses({"three steps": [2.0, 1.0, 3.0]})
    assert ax.lines[1].get_xydata().tolist() == [[2.0, 2.0]] and ax.get_legend() is None
    legend = plots.losses({"long": [1.0] * 20, "short": [2.0] * 12}).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["long", "short"]


def test_rank_agreement_draws_every_seed_with_its_interval():
    of = lambda tau: Agreement(tau, tau - 0.1, tau + 0.2, 243)
    panel = {"one-hot": [of(0.5), of(0.6)], "relaxed": [of(0.3), of(0.1)]}
    figure = plots.rank_agreement({"all": panel, "top quarter": panel})
    left = figure.axes[0]
    drawn = [x for line in left.lines if line.get_marker() == "o" for x in line.get_xdata()]
    assert drawn == [0.5, 0.6, 0.3, 0.1]
    heights = [y for line in left.lines if line.get_marker() == "o" for y in line.get_ydata()]
    assert heights == pytest.approx([-0.2, 0.2, 0.8, 1.2]), "the first seed above the second, on an axis that falls"
    spans = [segment[:, 0].tolist() for lines in left.collections for segment in lines.get_segments()]
    assert spans[0] == pytest.approx([0.4, 0.7]) and len(spans) == 4
    assert [text.get_text() for text in left.texts] == ["0.55", "0.20"]


def test_a_loss_is_drawn_with_its_mean_of_ten_steps():
    values = [float(v) for v in np.random.default_rng(0).random(25)]
    ax = plots.losses({"one": values}, chance=2.3)
    raw, smooth, chance = ax.lines
    assert raw.get_ydata().tolist() == values
    means = [sum(values[t - 9 : t + 1]) / 10 for t in range(9, 25)]
    assert smooth.get_xdata().tolist() == list(range(9, 25)) and smooth.get_ydata() == pytest.approx(means)
    assert list(chance.get_ydata()) == [2.3, 2.3]
    assert [text.get_text() for text in ax.texts] == ["one", "guessing"]


def test_a_ranking_says_each_marked_rank_and_error(space):
    errors = (0.5, 0.2, 0.9, 0.3)
    points = [lk.Point(a, error, 1.0) for a, error in zip(space, errors)]
    ax = plots.ranking(points, {"best": points[1].architecture, "worst": points[2].architecture})
    assert ax.lines[0].get_xydata().tolist() == [[1, 20], [2, 30], [3, 50], [4, 90]]
    assert [text.get_text() for text in ax.texts] == ["best: 20 %, rank 1", "worst: 90 %, rank 4"]
    assert [line.get_xydata().tolist() for line in ax.lines[1:]] == [[[1, 20]], [[4, 90]]]
    assert ax.get_xlabel() == "rank among 4"


def test_two_errors_are_joined_row_by_row():
    ax = plots.two_errors({"a": (0.5, 0.25), "b": (0.1, 0.4)}, ("kept", "re-estimated"))
    first, second = ax.lines
    assert first.get_xydata().tolist() == [[50, 0], [pytest.approx(10), 1]]
    assert second.get_xydata().tolist() == [[25, 0], [40, 1]]
    joined = [segment.tolist() for segment in ax.collections[0].get_segments()]
    assert joined == [[[25, 0], [50, 0]], [[pytest.approx(10), 1], [40, 1]]]
    assert [text.get_text() for text in ax.figure.legends[0].get_texts()] == ["kept", "re-estimated"]
