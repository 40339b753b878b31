"""The race of runtimes, what they fuse, and the closed loop: drawn from the numbers that were given."""

from dataclasses import replace

import pytest

import labkit as lk
from labkit import plots
from labkit.deploy.closed_loop import ClosedLoop
from labkit.deploy.export import RuntimeRow
from labkit.latency.cards import Measurement, Timing
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import card_of
from labkit.plots.canvas import BLUE, ORANGE
from labkit.runtimes.fusion import Fused


def test_race_says_why_a_runtime_is_missing():
    measured = Measurement(Timing(1.0, 1.2, 0.1, 15), card_of(TimingConditions(), (3, 32, 32)))
    rows = [
        RuntimeRow("torch", True, None, 0.0, measured, 1.0),
        RuntimeRow("slow", True, None, 0.0, measured, 0.5),
        RuntimeRow("tensorrt", False, "TensorRT needs a GPU"),
    ]
    texts = " ".join(text.get_text() for text in plots.race(rows).texts)
    assert "2.0x slower" in texts and "TensorRT needs a GPU" in texts


def test_a_bar_of_the_race_is_as_long_as_what_was_measured():
    card = card_of(TimingConditions(), (3, 32, 32))
    taken = {"torch": Timing(1.0, 1.2, 0.1, 15), "fast": Timing(0.25, 0.4, 0.1, 15)}
    measured = {name: Measurement(timing, card) for name, timing in taken.items()}
    rows = [RuntimeRow(name, True, None, 0.0, measured[name], 1.0 / taken[name].best_ms) for name in taken]
    ax = plots.race(rows)
    assert [bar.get_width() for bar in ax.patches] == [measured[name].measured_ms for name in taken]
    assert [list(line.get_xdata()) for line in ax.lines] == [[1.0, 1.2], [0.25, 0.4]], "from the best to the median"


def test_a_slower_runtime_has_another_colour_and_every_bar_its_numbers():
    card = card_of(TimingConditions(), (3, 32, 32))
    of = lambda ms: Measurement(Timing(ms, 1.1 * ms, 0.01, 15), card)
    rows = [
        RuntimeRow("torch", True, None, 0.0, of(1.0), 1.0),
        RuntimeRow("fast", True, None, 0.0, of(0.25), 4.0),
        RuntimeRow("slow", True, None, 0.0, of(2.0), 0.5),
    ]
    ax = plots.race(rows)
    written = [text.get_text().strip() for text in ax.texts]
    assert written == ["1.000 ms", "0.250 ms, 4.0x faster", "2.000 ms, 2.0x slower"]
    colours = [plots.canvas.mpl.colors.to_hex(bar.get_facecolor()).upper() for bar in ax.patches]
    assert colours == [BLUE, BLUE, ORANGE]
    assert [label.get_text() for label in ax.get_yticklabels()] == [row.label for row in rows]
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the baseline is at the top"
    assert "batch 1" in ax.get_xlabel() and card.device in ax.get_xlabel()


def test_fusion_joins_each_layer_to_the_node_that_does_its_work():
    rows = [
        Fused("stem.0", "Conv2d", "Conv", "n1", "Conv + Relu"),
        Fused("stem.1", "BatchNorm2d", "Conv", "n1", "Conv + Relu"),
        Fused("stem.2", "ReLU", "Relu", "n1", "Conv + Relu"),
        Fused("head", "Linear", "Gemm", "n2", "Gemm"),
    ]
    ax = plots.fusion(rows)
    joined = [line.get_xydata().tolist() for line in ax.lines if len(line.get_xdata()) == 2]
    assert joined == [[[0, y], [1, 1.0]] for y in (0, 1, 2)] + [[[0, 3], [1, 3.0]]], "a node lies amid its layers"
    nodes = [line.get_xydata().tolist() for line in ax.lines if len(line.get_xdata()) == 1]
    assert nodes == [[[1, 1.0]], [[1, 3.0]]]
    written = {text.get_text(): text.get_position() for text in ax.texts}
    assert written["stem.1  BatchNorm2d"][1] == 1 and written["Conv + Relu"][1] == 1 and written["Gemm"][1] == 3


@pytest.fixture
def loop(space, table):
    """Four points that do not dominate each other by the table; compiled, the second beats the third."""
    card = card_of(TimingConditions(), (3, 32, 32))
    of = lambda ms: Measurement(Timing(ms, ms, 0.0, 15), card)
    errors, believed, compiled = (0.4, 0.3, 0.31, 0.1), (1.0, 2.0, 1.5, 4.0), (0.5, 0.8, 0.9, 2.0)
    points = tuple(lk.Point(a, error, ms) for a, error, ms in zip(space, errors, believed))
    return ClosedLoop(points, tuple(map(of, believed)), tuple(map(of, compiled)), table.card)


def test_the_closed_loop_draws_both_clocks_and_the_frontier_by_each(loop):
    left, right = plots.closed_loop(loop).axes
    cloud, diagonal = left.lines
    assert cloud.get_xydata().tolist() == [[1.0, 0.5], [2.0, 0.8], [1.5, 0.9], [4.0, 2.0]]
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()), "the diagonal: as believed"
    by_name = {line.get_label(): line.get_xydata() for line in right.lines}
    assert by_name["by the table"].tolist() == [[1, 40], [1.5, 31], [2, 30], [4, 10]]
    assert by_name["in torch"].tolist() == [[0.5, 40], [0.8, 30], [2, 10]]
    everything = [line for line in right.lines if line.get_linestyle() == "None"]
    assert [line.get_xdata().tolist() for line in everything] == [[1.0, 2.0, 1.5, 4.0], [0.5, 0.8, 0.9, 2.0]]


def test_the_title_of_the_closed_loop_is_the_agreement_of_the_clocks(loop):
    """Of six pairs of points one is in another order: tau is (5 - 1) / 6."""
    assert plots.closed_loop(loop).axes[0].get_title("left").startswith("Kendall tau 0.67")
    same = replace(loop, compiled=loop.eager)
    assert plots.closed_loop(same).axes[0].get_title("left").startswith("Kendall tau 1.00")
