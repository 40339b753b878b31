"""The static picture: its marks against the scene, its words against the choice."""

import math
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import pytest

from labkit.widgets import explorer
from labkit.widgets.explorer.picture import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH


def test_the_static_picture_speaks(scene, svg_inside, tags_of):
    html = explorer.static_picture(scene, 1.0)
    tags = tags_of(html)
    assert tags.count["figure"] == tags.count["img"] == tags.count["table"] == 1
    assert tags.count["tr"] == len(scene.layers) + 3
    index = explorer.choose(scene, 1.0)
    assert explorer.describe(scene, index, 1.0) in tags.images[0]["alt"]
    assert "some laptop, batch 1" in html
    root = ElementTree.fromstring(svg_inside(html))
    assert root.tag.endswith("svg") and len(root.findall("{*}circle")) == 1


def test_the_static_picture_follows_weight_target_and_hand(scene):
    slowest = explorer.frontier(scene)[-1]
    pictures = {
        explorer.static_picture(scene, 0.0),
        explorer.static_picture(scene, 1e6),
        explorer.static_picture(scene, 1e6, scene.points[slowest].ms),
        explorer.static_picture(scene, selection=5),
    }
    assert len(pictures) == 4


def marks(path):
    """The places that a path of dots or diamonds begins at."""
    return [(int(x), int(y)) for x, y in re.findall(r"M(-?\d+) (-?\d+)(?=[hl])", path)]


def test_every_point_is_drawn_once_where_its_numbers_are(plain_scene, svg_inside):
    """By hand: the spans are 5 % wider than the values, and a straight line maps them onto the plot."""
    pairs = ((0.9, 1.0), (0.7, 2.0), (0.1, 3.0), (0.8, 3.0))  # the second lies in a dent, the last is dominated
    scene = plain_scene(*pairs)

    def place(error, ms):
        x = LEFT + (ms - 0.9) / (3.1 - 0.9) * (WIDTH - RIGHT - LEFT)
        y = HEIGHT - BOTTOM - (100 * error - 6) / (94 - 6) * (HEIGHT - BOTTOM - TOP)
        return round(x), round(y)

    root = ElementTree.fromstring(svg_inside(explorer.static_picture(scene, 0.0)))
    paths = [path.get("d") for path in root.findall("{*}path")]
    dominated, missed, reached = (marks(d) for d in (paths[1], paths[3], paths[4]))
    assert reached == [place(*pairs[0]), place(*pairs[2])] and dominated == [place(*pairs[3])]
    x, y = place(*pairs[1])
    assert missed == [(x, y - 6)], "a diamond begins at its top"
    (circle,) = root.findall("{*}circle")
    assert (int(circle.get("cx")), int(circle.get("cy"))) == place(*pairs[2]), "weight 0 chooses the most accurate"
    stairs = [place(*pairs[i]) for i in range(3)]
    expected = f"M{stairs[0][0]} {TOP}" + "".join(f"H{x}V{y}" for x, y in stairs) + f"H{WIDTH - RIGHT}"
    assert paths[2] == expected
    legend = [text.text for text in root.findall("{*}text")][-3:]
    assert legend == ["chosen by some weight (2)", "frontier, chosen by no weight (1)", "dominated (1)"]


def test_the_table_of_layers_adds_up(scene):
    html = explorer.static_picture(scene, selection=7)
    rows = re.findall(r'<th scope="row">(.*?)</th><td>(.*?)</td><td>(.*?)</td>', html)
    point = scene.points[7]
    assert [op for _, op, _ in rows[:-2]] == list(point.ops)
    numbers = [float(ms) for *_, ms in rows]
    assert numbers[:-2] == pytest.approx(point.parts_ms, abs=10**-scene.decimals)
    assert [row[0] for row in rows[-2:]] == ["overhead", "all"]
    assert math.fsum(numbers[:-1]) == pytest.approx(numbers[-1], abs=7 * 10**-scene.decimals)


def test_names_are_escaped_in_the_picture(scene, svg_inside):
    nasty = '<script>alert(1)</script> & "'
    scene = replace(scene, title=nasty, layers=(nasty, *scene.layers[1:]), card=nasty)
    html = explorer.static_picture(scene)
    assert "<script>" not in html and html.count("&lt;script&gt;") == 3
    ElementTree.fromstring(svg_inside(html))
