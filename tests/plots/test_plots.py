"""Figures: what is drawn are the numbers that were given."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import labkit as lk
from labkit import plots
from labkit.deploy.export import RuntimeRow
from labkit.latency.cards import Measurement, Timing
from labkit.latency.measuring import card_of
from labkit.stats import Agreement
from labkit.system.errors import InputError


@pytest.fixture
def points(space, table):
    draw = torch.Generator().manual_seed(0)
    return [lk.Point(a, torch.rand((), generator=draw).item(), table.table_ms(a)) for a in list(space)[::6]]


def test_picture_carries_its_alternative(points):
    shown = plots.picture(plots.frontier(points), 'a "frontier" & more')
    html = shown._repr_html_()
    assert 'alt="a &quot;frontier&quot; &amp; more"' in html and "data:image/png;base64," in html
    assert shown.png.startswith(b"\x89PNG") and len(shown.png) < 100_000


def test_frontier_draws_every_point_and_the_staircase(points):
    ax = plots.frontier(points, chosen={"knee": lk.Frontier.of(points).knee()})
    cloud, stairs = ax.lines[:2]
    assert list(cloud.get_xdata()) == [p.latency_ms for p in points]
    front = list(lk.Frontier.of(points))
    assert list(stairs.get_ydata()) == [100 * p.error for p in front]
    assert list(stairs.get_xdata()) == [p.latency_ms for p in front]
    assert stairs.get_drawstyle() == "steps-post", "the best error so far holds until a slower network beats it"
    assert ax.get_xlabel() == "latency (ms, table)" and ax.get_ylabel() == "error (%, supernet)"
    assert [text.get_text() for text in ax.texts] == ["knee"]


def a_result(space, points):
    config, supernet = lk.SearchConfig(), lk.Supernet(space)
    return lk.SearchResult(config, points[0], torch.zeros(5, 3), (), supernet, 1.0, 1.0, tuple(points))


def test_frontier_of_results_draws_random_search_or_says_that_it_is_missing(space, points):
    """A sweep of two weights, and three seeds of a rival that judged what it did, all a tenth worse or better."""
    swept = [a_result(space, points[:20]), a_result(space, points[10:])]
    alone = plots.frontier(swept)
    assert sorted(alone.lines[0].get_ydata()) == sorted(100 * p.error for p in points), "each point once"
    assert alone.get_title("left") == "random search at equal cost is not drawn: random="
    assert plots.frontier(points).get_title("left") == "", "points are nobody's claim"
    off = lambda by: [replace(p, error=p.error + by) for p in points]
    worse = [[a_result(space, off(by))] for by in (0.1, 0.2, 0.3)]
    ax = plots.frontier(swept, random=worse)
    (rival,) = [line for line in ax.lines if line.get_label() == "random search at equal cost"]
    front = list(lk.Frontier.of(points))
    assert list(rival.get_ydata()) == pytest.approx([100 * p.error + 20 for p in front])
    (shade,) = ax.collections
    heights = shade.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(rival.get_ydata().min() - 10)
    assert heights.max() == pytest.approx(rival.get_ydata().max() + 10)
    assert ax.get_title("left").endswith("3 seeds): more") and ax.get_title("left").startswith("dominates ")
    better = plots.frontier(off(0.3), random=[off(0.0), off(0.1)])
    assert better.get_title("left").endswith("2 seeds): less")
    assert plots.frontier(points, random=[points] * 2).get_title("left").endswith("2 seeds): not shown to differ")
    one = plots.frontier(swept, random=[points])
    assert one.get_title("left").endswith("(one seed)") and not one.collections
    again = plots.frontier(swept, random=worse)
    assert (
        again.get_title("left") == ax.get_title("left")
        and (again.collections[0].get_paths()[0].vertices[:, 1] == heights).all()
    )
    with pytest.raises(InputError, match="do not compare"):
        plots.frontier(points, random=[[replace(p, error_from="trained") for p in points]])


def test_the_box_of_a_frontier_is_that_of_all_points(space, points):
    """By hand: two points and one rival, in a box from (0.1, 1) to (0.5, 3)."""
    at = lambda i, error, ms: lk.Point(points[i].architecture, error, ms)
    ax = plots.frontier([at(0, 0.1, 2.0), at(1, 0.5, 1.0)], random=[[at(2, 0.3, 1.0), at(3, 0.2, 3.0)]])
    assert ax.get_title("left") == "dominates 50.0 % of the box, random search at equal cost 50.0 % (one seed)"


def test_latency_table_writes_every_entry(table):
    texts = [text.get_text() for text in plots.latency_table(table).texts]
    assert sorted(texts) == sorted(f"{ms:.3f}" for ms in table.matrix.flatten().tolist())


def test_layer_latency_bars_are_the_parts(space, table):
    names = {"a": next(iter(space)), "b": list(space)[-1]}
    ax = plots.layer_latency(table, names)
    heights = [bar.get_height() for bar in ax.patches]
    assert heights == pytest.approx([*table.parts_ms(names["a"]), *table.parts_ms(names["b"])])


def test_race_says_why_a_runtime_is_missing():
    measured = Measurement(Timing(1.0, 1.2, 0.1, 15), card_of("torch", 1, (3, 32, 32)))
    rows = [
        RuntimeRow("torch", True, None, 0.0, measured, 1.0),
        RuntimeRow("slow", True, None, 0.0, measured, 0.5),
        RuntimeRow("tensorrt", False, "TensorRT needs a GPU"),
    ]
    texts = " ".join(text.get_text() for text in plots.race(rows).texts)
    assert "2.0x slower" in texts and "TensorRT needs a GPU" in texts


def test_a_bar_of_the_race_is_as_long_as_what_was_measured():
    card = card_of("torch", 1, (3, 32, 32))
    taken = {"torch": Timing(1.0, 1.2, 0.1, 15), "fast": Timing(0.25, 0.4, 0.1, 15)}
    measured = {name: Measurement(timing, card) for name, timing in taken.items()}
    rows = [RuntimeRow(name, True, None, 0.0, measured[name], 1.0 / taken[name].best_ms) for name in taken]
    ax = plots.race(rows)
    assert [bar.get_width() for bar in ax.patches] == [measured[name].measured_ms for name in taken]
    assert [list(line.get_xdata()) for line in ax.lines] == [[1.0, 1.2], [0.25, 0.4]], "from the best to the median"


def test_search_figures(space, data, table):
    config = lk.SearchConfig(
        mixture_steps=2, weight_steps=2, joint_steps=3, batch_size=16, evaluation_images=50, calibration_images=32
    )
    history = lk.search(lk.Supernet(space), data, table, config).history
    figure = plots.choices(history, space)
    assert len(figure.axes) == 5 and [len(ax.lines) for ax in figure.axes] == [3] * 5
    assert sum(len(line.get_xdata()) for line in plots.learning(history).lines) == 7
    assert plots.images(data.train, data.classes).axes[0].get_title() in data.classes


def test_a_study_shows_every_point():
    study = lk.benches.study.load_study("five_layer-glyphs")
    figure = plots.study(study)
    assert f"{len(study.points)} architectures" in figure.alt and figure.png.startswith(b"\x89PNG")
    drawn = np.asarray(Image.open(io.BytesIO(figure.png)).convert("L")) < 200
    height, width = drawn.shape
    middle = drawn[height // 10 : height * 8 // 10, width // 10 :]
    assert middle.any(1).mean() > 0.5, "the points fill the axes; they are not crushed against an edge"


def test_a_study_shows_random_search_and_says_who_is_cheaper():
    study = lk.benches.study.load_study("five_layer-glyphs")
    pixels = lambda made: np.asarray(Image.open(io.BytesIO(plots.study(made).png)).convert("RGB"))
    near = lambda made, colour: (abs(pixels(made).astype(int) - colour) < 40).all(-1).sum()
    green = lambda made: near(made, (0x00, 0x9E, 0x73))
    alone = replace(study, random=study.random[:1])
    assert green(study) > green(alone) > 0
    assert "cheaper than random search at 0 of 6 weights, equal at 0" in plots.study(study).alt
    turned = replace(study, picks=study.random, random=study.picks)
    assert "cheaper than random search at 6 of 6 weights" in plots.study(turned).alt
    same = replace(study, random=study.picks)
    assert "cheaper than random search at 0 of 6 weights, equal at 6" in plots.study(same).alt


def test_a_short_training_has_a_curve_too_and_unlike_lengths_a_legend():
    ax = plots.losses({"three steps": [2.0, 1.0, 3.0]})
    assert ax.lines[1].get_xydata().tolist() == [[2.0, 2.0]] and ax.get_legend() is None
    legend = plots.losses({"long": [1.0] * 20, "short": [2.0] * 12}).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["long", "short"]


def test_more_rows_than_styles_are_all_drawn():
    many = {f"row {i}": [1.0 + i, 2.0 + i] for i in range(7)}
    assert len(plots.estimates(many, 1.0).lines) == 7 + 1  # and the truth
    assert len(plots.calls([1.0, 2.0, 3.0], dict.fromkeys(many, 1.0)).lines) == 7 + 1


def test_names_of_near_points_above_the_stairs_lie_in_two_rows():
    spots = ((0.1, 1.0), (0.3, 2.0), (0.31, 2.05))
    points = [lk.Point(a, *spot) for a, spot in zip(lk.spaces.five_layer(), spots)]
    ax = plots.frontier(points, chosen={"one": points[1], "two": points[2]})
    assert len({text.get_position()[1] for text in ax.texts}) == 2


def test_estimates_beside_the_exact_gradient_have_their_own_bias_and_spread():
    """Planted: a mean that is off by 0.3 along and 0.4 across a gradient of length 2, and a known spread."""
    exact, across = torch.zeros(2, 3, dtype=torch.float64), torch.zeros(2, 3, dtype=torch.float64)
    exact[0, 0], across[1, 1], across[0, 0] = 2.0, 1.0, 5.0  # what lies along the gradient is taken out of `across`
    noise = torch.randn(400, 2, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = (noise - noise.mean(0)) / noise.std(0)
    off = torch.zeros_like(exact)
    off[0, 0], off[1, 1] = 0.6, 0.8
    left, right = plots.beside_exact(exact + off + 0.1 * noise, exact, across, most=100).axes
    assert [line.get_xydata().tolist() for line in left.lines][1] == [pytest.approx([1.3, 0.4])]
    spread = 100 * 0.1 * 6**0.5 / 2
    assert [bar.get_width() for bar in right.patches[1:]] == pytest.approx([50, spread, np.hypot(50, spread)])


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


def test_shares_write_every_number_where_it_belongs():
    ax = plots.shares({"a": [0.25, 1.0], "b": [0.0, 0.5]}, ["x", "y"], "what")
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(0, 0): "25", (1, 0): "100", (0, 1): "0", (1, 1): "50"}
    with pytest.raises(InputError, match=r"2 rows and 1 columns; got \(2, 2\)"):
        plots.shares({"a": [0.25, 1.0], "b": [0.0, 0.5]}, ["x"], "what")


def test_rank_agreement_draws_every_seed_with_its_interval():
    of = lambda tau: Agreement(tau, tau - 0.1, tau + 0.2, 243)
    panel = {"one-hot": [of(0.5), of(0.6)], "relaxed": [of(0.3), of(0.1)]}
    figure = plots.rank_agreement({"all": panel, "top quarter": panel})
    left = figure.axes[0]
    drawn = [x for line in left.lines if line.get_marker() == "o" for x in line.get_xdata()]
    assert drawn == [0.5, 0.6, 0.3, 0.1]
    spans = [segment[:, 0].tolist() for lines in left.collections for segment in lines.get_segments()]
    assert spans[0] == pytest.approx([0.4, 0.7]) and len(spans) == 4
    assert [text.get_text() for text in left.texts] == ["0.55", "0.20"]
