"""Error against latency: what is drawn are the numbers that were given."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import labkit as lk
from labkit import plots
from labkit.plots.canvas import BLUE, ORANGE
from labkit.system.errors import InputError


@pytest.fixture
def points(space, table):
    draw = torch.Generator().manual_seed(0)
    return [lk.Point(a, torch.rand((), generator=draw).item(), table.table_ms(a)) for a in list(space)[::6]]


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
    """A sweep of two weights, and three seeds of a baseline that evaluated what it did, all a tenth worse or better."""
    swept = [a_result(space, points[:20]), a_result(space, points[10:])]
    alone = plots.frontier(swept)
    assert sorted(alone.lines[0].get_ydata()) == sorted(100 * p.error for p in points), "each point once"
    assert alone.get_title("left") == "random search at equal cost is not drawn: random="
    assert plots.frontier(points).get_title("left") == "", "points are nobody's claim"
    off = lambda by: [replace(p, error=p.error + by) for p in points]
    worse = [[a_result(space, off(by))] for by in (0.1, 0.2, 0.3)]
    ax = plots.frontier(swept, random=worse)
    (baseline,) = [line for line in ax.lines if line.get_label() == "random search at equal cost"]
    front = list(lk.Frontier.of(points))
    assert list(baseline.get_ydata()) == pytest.approx([100 * p.error + 20 for p in front])
    (shade,) = ax.collections
    heights = shade.get_paths()[0].vertices[:, 1]
    assert heights.min() == pytest.approx(baseline.get_ydata().min() - 10)
    assert heights.max() == pytest.approx(baseline.get_ydata().max() + 10)
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


def test_the_reference_point_of_a_frontier_is_the_worst_of_all_points(space, points):
    """By hand: two points and two of a baseline, from (0.1, 1) to (0.5, 3)."""
    at = lambda i, error, ms: lk.Point(points[i].architecture, error, ms)
    ax = plots.frontier([at(0, 0.1, 2.0), at(1, 0.5, 1.0)], random=[[at(2, 0.3, 1.0), at(3, 0.2, 3.0)]])
    assert ax.get_title("left") == "dominates 50.0 % of the area, random search at equal cost 50.0 % (one seed)"


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


def test_names_of_near_points_above_the_stairs_lie_in_two_rows():
    spots = ((0.1, 1.0), (0.3, 2.0), (0.31, 2.05))
    points = [lk.Point(a, *spot) for a, spot in zip(lk.spaces.five_layer(), spots)]
    ax = plots.frontier(points, chosen={"weight 0.1": points[1], "weight 0.2": points[2]})
    assert len({text.get_position()[1] for text in ax.texts}) == 2


def test_shares_write_every_number_where_it_belongs():
    ax = plots.shares({"a": [0.25, 1.0], "b": [0.0, 0.5]}, ["x", "y"], "what")
    written = {text.get_position(): text.get_text() for text in ax.texts}
    assert written == {(0, 0): "25", (1, 0): "100", (0, 1): "0", (1, 1): "50"}
    with pytest.raises(InputError, match=r"2 rows and 1 columns; got \(2, 2\)"):
        plots.shares({"a": [0.25, 1.0], "b": [0.0, 0.5]}, ["x"], "what")


def test_a_cloud_draws_its_numbers_and_names_the_marked_places_towards_the_middle():
    ax = plots.cloud([0.0, 1.0, 4.0], [5.0, 6.0, 7.0], ("x (ms)", "y (%)"), {"left": (0.0, 5.0), "right": (4.0, 7.0)})
    assert ax.lines[0].get_xydata().tolist() == [[0, 5], [1, 6], [4, 7]]
    assert [line.get_xydata().tolist() for line in ax.lines[1:]] == [[[0, 5]], [[4, 7]]]
    assert [(text.get_text(), text.xy, text.get_ha()) for text in ax.texts] == [
        ("left", (0.0, 5.0), "left"),
        ("right", (4.0, 7.0), "right"),
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("x (ms)", "y (%)")


def test_no_name_covers_another(space):
    """Two above the stairs of which the slower is the lower: rows that only alternate would meet."""
    spots = ((0.9, 0.01), (0.1, 0.05), (0.20, 0.047), (0.16, 0.058))
    points = [lk.Point(a, *spot) for a, spot in zip(space, spots)]
    chosen = {"the search's pick": points[3], "best by scan": points[2], "best of all": points[1]}
    ax = plots.frontier(points, chosen=chosen)
    boxes = [text.get_window_extent() for text in ax.texts]
    assert sorted(text.get_text() for text in ax.texts) == sorted(chosen)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


def area_of(polygon):
    """Of a closed path, by the shoelace formula."""
    x, y = polygon.T
    return abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2


def test_the_dominated_area_has_the_hypervolume_of_the_frontier(space):
    """Steps of 0.2 x 1, 0.5 x 2 and 0.7 x 1 below the reference point; a point beyond it adds nothing."""
    spots = ((0.6, 1.0), (0.3, 2.0), (0.1, 4.0), (0.05, 9.0))
    points = [lk.Point(a, *spot) for a, spot in zip(space, spots)]
    ax = plots.dominated_area(points, (0.8, 5.0))
    (filled,) = ax.collections
    assert area_of(filled.get_paths()[0].vertices) == pytest.approx(100 * (0.2 + 1.0 + 0.7))
    assert 100 * lk.Frontier.of(points).hypervolume((0.8, 5.0)) == pytest.approx(190)
    assert ax.lines[-1].get_xydata().tolist() == [[5.0, pytest.approx(80)]] and ax.texts[-1].get_text() == "worst"


def test_bars_of_what_is_reached_are_shares_in_percent():
    ax = plots.reached({"one weight": 0.25, "a target": 1.0})
    assert [bar.get_width() for bar in ax.patches] == [25, 100]
    assert [text.get_text() for text in ax.texts] == [" 25 %", " 100 %"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["one weight", "a target"]
    assert [bar.get_hatch() for bar in ax.patches] == ["//", ""] and ax.yaxis_inverted()
    colours = [plots.canvas.mpl.colors.to_hex(bar.get_facecolor()).upper() for bar in ax.patches]
    assert colours == [ORANGE, BLUE]


def test_the_tint_of_a_share_is_its_value():
    ax = plots.shares({"a": [0.25, 1.0], "b": [0.0, 0.5]}, ["x", "y"], "what")
    assert ax.images[0].get_array().tolist() == [[0.25, 1.0], [0.0, 0.5]]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b"] and ax.get_title("left") == "what"
