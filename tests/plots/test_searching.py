"""The course of a search and its comparison: lines and bars against the records that they draw."""

import numpy as np
import pytest
import torch

import labkit as lk
from labkit import plots
from labkit.estimators.costs import LatencyCost
from labkit.oneshot.replays import Replay


def test_search_figures(space, data, table):
    config = lk.SearchConfig(
        mixture_steps=2, weight_steps=2, joint_steps=3, batch_size=16, evaluation_images=50, calibration_images=32
    )
    history = lk.search(lk.Supernet(space), data, table, config).history
    figure = plots.choices(history, space)
    assert len(figure.axes) == 5 and [len(ax.lines) for ax in figure.axes] == [3] * 5
    assert sum(len(line.get_xdata()) for line in plots.learning(history).lines) == 7
    assert plots.images(data.train, data.classes).axes[0].get_title() in data.classes


def test_a_comparison_draws_every_seed_and_the_band_of_its_mean():
    costs = {"ours": np.array([[1.0, 4.0], [2.0, 5.0], [3.0, 9.0]]), "random": np.array([[2.0, 8.0]] * 3)}
    figure = plots.comparison(costs, (0.1, 0.4), "ours", "cost (points)")
    assert len(figure.axes) == 2 and [ax.get_title("left") for ax in figure.axes] == ["weight 0.1", "weight 0.4"]
    right = figure.axes[1]
    dots = [sorted(line.get_xdata()) for line in right.lines if line.get_marker() == "."]
    means = [line.get_xdata()[0] for line in right.lines if line.get_marker() in "Do"]
    assert dots == [[4, 5, 9], [8, 8, 8]] and means == [6, 8]
    (low, high), (same, again) = (lines.get_segments()[0][:, 0] for lines in right.collections)
    assert 4 <= low < 6 < high <= 9 and same == again == 8
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["ours", "random"]
    told = plots.comparison(costs, (0.1, 0.4), "ours", "cost (points)", ("yes, p = 0.010", "not shown"))
    assert [ax.texts[0].get_text() for ax in told.axes] == ["yes, p = 0.010", "not shown"]
    assert [ax.get_title("left") for ax in told.axes] == ["weight 0.1", "weight 0.4"]


def history(space):
    rows = [{"phase": "mixture", "step": 0, "loss": 3.0}, {"phase": "uniform", "step": 1, "loss": 2.5}]
    for t in range(3):
        probs = torch.full(space.mask.shape, (1 + t) / 10).flatten().tolist()
        rows.append({"phase": "joint", "step": 2 + t, "loss": 2.0 - t, "probs": probs})
    return rows


def test_learning_draws_each_phase_at_its_steps(space):
    lines = {line.get_label(): line.get_xydata().tolist() for line in plots.learning(history(space)).lines}
    assert lines == {"mixture": [[0, 3.0]], "uniform": [[1, 2.5]], "joint": [[2, 2.0], [3, 1.0], [4, 0.0]]}


def test_choices_draw_the_joint_steps_of_every_candidate(space):
    made = history(space)
    wanted = torch.linspace(0, 1, 3 * space.mask.numel()).reshape(3, -1)
    for row, probs in zip(made[2:], wanted):
        row["probs"] = probs.tolist()
    figure = plots.choices(made, space)
    for s, (ax, slot) in enumerate(zip(figure.axes, space.slots)):
        assert ax.get_title("left") == space.slot_names[s]
        for k, (line, op) in enumerate(zip(ax.lines, slot, strict=True)):
            assert line.get_label() == op
            expected = wanted.reshape(3, *space.mask.shape)[:, s, k]
            assert line.get_ydata() == pytest.approx(expected.numpy())


def test_a_replay_draws_the_probabilities_of_its_step_and_marks_the_sample():
    slots = (("a", "b"), ("b", "a"))
    rows = tuple(
        {"phase": "joint", "loss": 2.0 - t, "expected_ms": 0.1, "sampled": [0, 1], "probs": [1 - t, t, 0.5, 0.25]}
        for t in (0.0, 0.25)
    )
    first, second, below = plots.replay(Replay(slots, ("one", "two"), rows), 1).axes
    assert [(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in first.patches] == [(0, 0.75), (1, 0.25)]
    assert [(bar.get_y() + bar.get_height() / 2, bar.get_width()) for bar in second.patches] == [(1, 0.5), (0, 0.25)]
    assert [bar.get_linewidth() == 2 for bar in first.patches] == [True, False]
    assert [bar.get_linewidth() == 2 for bar in second.patches] == [False, True], "sampled: a and a"
    loss, here = below.lines
    assert loss.get_ydata().tolist() == [2.0, 1.75] and list(here.get_xdata()) == [1, 1]
    assert [ax.get_title("left") for ax in (first, second)] == ["one", "two"]


def test_latency_costs_are_points_of_error():
    """By hand: linearly 0.1 a ms; with a target of 2 ms nothing before it."""
    ax = plots.latency_costs({"linear": LatencyCost(0.1), "hinge": LatencyCost(0.1, 2.0)}, (1.0, 3.0))
    linear, hinge = ax.lines
    assert linear.get_xdata()[[0, -1]].tolist() == [1, 3]
    assert linear.get_ydata()[[0, -1]].tolist() == pytest.approx([10, 30])
    ms = np.asarray(hinge.get_xdata())
    assert np.asarray(hinge.get_ydata()) == pytest.approx(10 * np.maximum(0, ms - 2))


def test_luck_draws_the_expected_best_and_the_pick_in_points():
    expected = [0.5, 0.4, 0.35]
    ax = plots.luck(expected, 0.38, 2)
    best, pick, budget = ax.lines
    assert best.get_xydata().tolist() == [[1, pytest.approx(50)], [2, pytest.approx(40)], [3, pytest.approx(35)]]
    assert list(pick.get_ydata()) == pytest.approx([38, 38]) and list(budget.get_xdata()) == [2, 2]
    assert budget.get_label() == "for the image passes of the search"
    beyond = plots.luck(expected, 0.38, 40).lines[2]
    assert list(beyond.get_xdata()) == [3, 3] and beyond.get_label().endswith("search: 40"), "it says what is beyond"


def test_regrets_leave_room_left_of_zero():
    costs = {"ours": np.array([[0.0], [1.0]])}
    assert plots.comparison(costs, (0.1,), "ours", "regret (points)").axes[0].get_xlim()[0] < 0


def test_baselines_draws_every_training_and_ours_in_front():
    groups = {"random networks": [(0.1, 0.4), (0.2, 0.3)], "ResNet": [(0.15, 0.35)], "chosen": [(0.15, 0.32)]}
    ax = plots.baselines(groups, "chosen", "onnxruntime")
    drawn = {line.get_label(): line for line in ax.lines}
    for name, points in groups.items():
        found = list(zip(drawn[name].get_xdata(), drawn[name].get_ydata()))
        assert np.array(found) == pytest.approx(np.array(points) * [1, 100]), name
    front = {name: line.get_zorder() for name, line in drawn.items()}
    assert max(front, key=front.get) == "chosen" and drawn["chosen"].get_marker() == "D"
    assert len({line.get_marker() for line in drawn.values()}) == 3, "colour never stands alone"
    assert ax.get_xlabel() == "latency (ms, measured in onnxruntime)" and ax.get_ylabel() == "test error (%)"
