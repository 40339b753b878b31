"""Latency figures: every bar, dot and number against what was given."""

import numpy as np
import pytest

import labkit as lk
from labkit import plots
from labkit.latency.cards import Measurement, Timing
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import card_of
from labkit.latency.reversals import RankReversals, Side


def test_latency_table_writes_every_entry(table):
    texts = [text.get_text() for text in plots.latency_table(table).texts]
    assert sorted(texts) == sorted(f"{ms:.3f}" for ms in table.matrix.flatten().tolist())


def test_layer_latency_bars_are_the_parts(space, table):
    names = {"a": next(iter(space)), "b": list(space)[-1]}
    ax = plots.layer_latency(table, names)
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([*table.parts_ms(names["a"]), *table.parts_ms(names["b"])])


def test_more_rows_than_styles_are_all_drawn():
    many = {f"row {i}": [1.0 + i, 2.0 + i] for i in range(7)}
    assert len(plots.estimates(many, 1.0).lines) == 7 + 1  # and the truth
    assert len(plots.calls([1.0, 2.0, 3.0], dict.fromkeys(many, 1.0)).lines) == 7 + 1


def test_calls_draw_every_time_in_order_and_a_line_for_each_mark():
    ax = plots.calls([3.0, 1.0, 2.0], {"best": 1.0, "median": 2.0})
    assert ax.lines[0].get_xydata().tolist() == [[1, 3], [2, 1], [3, 2]]
    assert [line.get_ydata() for line in ax.lines[1:]] == [[1.0, 1.0], [2.0, 2.0]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["best: 1.000 ms", "median: 2.000 ms"]
    assert ax.get_yscale() == "log"


def test_estimates_draw_every_repeat_and_the_undisturbed_time():
    ax = plots.estimates({"best": [1.0, 1.1, 1.2], "mean": [4.0, 5.0]}, 0.9)
    best, mean, undisturbed = ax.lines
    assert best.get_xdata().tolist() == [1.0, 1.1, 1.2] and mean.get_xdata().tolist() == [4.0, 5.0]
    assert abs(best.get_ydata()).max() < 0.5 and abs(mean.get_ydata() - 1).max() < 0.5, "each in its row"
    assert undisturbed.get_xdata() == [0.9, 0.9]


def test_a_defect_is_a_ratio_and_harmless_within_a_tenth():
    ax = plots.defects({"no warm-up": 3.0, "no lock": 1.05, "fewer": 0.5})
    ends = [line.get_xydata().tolist() for line in ax.lines if len(line.get_xdata()) == 1]
    assert ends == [[[3.0, 0]], [[1.05, 1]], [[0.5, 2]]]
    assert [line.get_marker() for line in ax.lines if len(line.get_xdata()) == 1] == ["D", "o", "D"]
    assert [(text.get_text(), text.get_ha()) for text in ax.texts] == [("3", "left"), ("1.1", "left"), ("0.5", "right")]


def test_clocks_say_the_origin_of_their_numbers():
    ax = plots.clocks({"formula": (0.5, "predicted"), "table": (1.0, "recorded"), "here": (2.0, "measured")})
    assert [bar.get_width() for bar in ax.patches] == [0.5, 1.0, 2.0]
    assert [bar.get_hatch() for bar in ax.patches] == ["..", "//", ""]
    assert [text.get_text() for text in ax.texts] == [
        " 0.500 ms, predicted",
        " 1.000 ms, recorded",
        " 2.000 ms, measured",
    ]
    with pytest.raises(KeyError):
        plots.clocks({"formula": (0.5, "guessed")})


def test_a_table_has_each_number_in_the_row_of_its_operation(table):
    ax = plots.latency_table(table)
    names = [label.get_text() for label in ax.get_yticklabels()]
    written = {text.get_position(): text.get_text() for text in ax.texts}
    for s, slot in enumerate(table.slots):
        for op, timing in slot:
            assert written[(s, names.index(op))] == f"{timing.best_ms - table.floor.best_ms:.3f}"


def test_a_table_of_cells_writes_its_edges():
    table = lk.LatencyTable.measure(lk.spaces.cells("tiny"), lk.TimingConditions(seconds=0.001, rounds=2))
    ax = plots.latency_table(table)
    names = [label.get_text() for label in ax.get_yticklabels()]
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert [label.get_text() for label in ax.get_xticklabels()][:2] == ["edge 1", "edge 2"]
    for e, edge in enumerate(table.edges):
        for k, (op, _) in enumerate(edge.ops):
            assert written[(e, names.index(op))] == f"{table.edge_matrix[e, k]:.3f}"


def test_layers_name_their_operations_and_add_up_in_the_legend(space, table):
    first, last = next(iter(space)), list(space)[-1]
    ax = plots.layer_latency(table, {"a": first, "b": last})
    assert [text.get_text() for text in ax.texts] == [*first.ops, *last.ops]
    middles = [bar.get_x() + bar.get_width() / 2 for bar in ax.patches]
    assert middles == pytest.approx([*(np.arange(5) - 0.2), *(np.arange(5) + 0.2)]), "side by side about each layer"
    legend = [text.get_text() for text in ax.get_legend().get_texts()]
    total = lambda a: table.overhead_ms + sum(table.parts_ms(a))
    assert legend == [f"a: {total(first):.3f} ms in all", f"b: {total(last):.3f} ms in all"]


def test_parts_against_the_whole_lie_at_their_numbers_with_whiskers_to_the_median():
    card = card_of(TimingConditions(), (3, 32, 32))
    measured = [Measurement(Timing(best, median, 0.1, 15), card) for best, median in ((1.0, 1.5), (2.0, 2.2))]
    ax = plots.parts_against_whole([0.9, 2.1], measured)
    (dots,) = (line for line in ax.lines if line.get_marker() == "o")
    assert dots.get_xydata().tolist() == [[0.9, m] for m in [measured[0].measured_ms]] + [
        [2.1, measured[1].measured_ms]
    ]
    (whiskers,) = ax.containers[0][2]
    assert [segment[:, 1].tolist() for segment in whiskers.get_segments()] == [
        pytest.approx([m.measured_ms, m.measured_ms + m.timing.median_ms - m.timing.best_ms]) for m in measured
    ]
    assert ax.get_xlim()[1] == ax.lines[0].get_xdata()[1], "the diagonal reaches the end"


def test_rank_correlations_are_scipys():
    from scipy.stats import spearmanr

    draw = np.random.default_rng(0).random((3, 12))
    values = {"cpu, a": draw[0].tolist(), "gpu": draw[1].tolist(), "npu": (-draw[0]).tolist()}
    ax = plots.agreement(values)
    rows = list(values.values())
    for text in ax.texts:
        column, row = text.get_position()
        assert text.get_text() == f"{spearmanr(rows[row], rows[column]).statistic:.2f}"
    assert {text.get_text() for text in ax.texts} >= {"1.00", "-1.00"}
    assert [label.get_text() for label in ax.get_xticklabels()] == ["cpu,\na", "gpu", "npu"]


def test_rank_reversals_join_the_places_under_two_tables():
    made = RankReversals(
        ("w", "x", "y"), (Side("left", "a card", (1.0, 2.0, 3.0)), Side("right", "another", (2.0, 8.0, 1.0)))
    )
    ax = plots.rank_reversals(made, 0, 1, 0, 2)
    every, a, b = ax.lines[:3], *ax.lines[3:]
    assert [line.get_ydata().tolist() for line in every] == [[0, 1], [1, 2], [2, 0]]
    assert (list(a.get_ydata()), list(b.get_ydata())) == ([0, 1], [2, 0])
    written = [(text.get_text(), text.get_position()[1]) for text in ax.texts]
    assert written == [
        ("A w  1.000 ms", 0), ("A w  2.000 ms", 1), ("B y  3.000 ms", 2), ("B y  1.000 ms", 0),
    ]  # fmt: skip
    assert [label.get_text() for label in ax.get_xticklabels()] == ["left", "right"]
    turned = plots.rank_reversals(made, 1, 0, 0, 2)
    assert list(turned.lines[3].get_ydata()) == [1, 0]
