"""Scenes to choose from, and readers of what is written."""

import base64
import itertools
from html.parser import HTMLParser

import numpy as np
import pytest

from labkit.widgets.explorer import Scene, ScenePoint

OPS = ("conv5x5", "conv3x3", "maxpool3x3")


def _additive_scene(seed: int = 0, layers: int = 5) -> Scene:
    """All 3 ** layers architectures: latencies add up, errors nearly so, 4 to 77 % and 0.1 to 0.4 ms."""
    rng = np.random.default_rng(seed)
    times = [dict(zip(OPS, np.sort(rng.uniform(0.015, 0.07, 3))[::-1])) for _ in range(layers)]
    gains = [dict(zip(OPS, np.sort(rng.uniform(0.0, 1.2, 3))[::-1])) for _ in range(layers)]
    points = []
    for ops in itertools.product(OPS, repeat=layers):
        parts = tuple(float(times[l][op]) for l, op in enumerate(ops))  # noqa: E741
        gain = sum(gains[l][op] for l, op in enumerate(ops))  # noqa: E741
        error = float(0.04 + 0.7 * np.exp(-gain) + rng.uniform(0, 0.03))
        points.append(ScenePoint(ops, error, 0.02 + sum(parts), parts))
    names = tuple(f"layer {i + 1}" for i in range(layers))
    return Scene("Five layers", names, tuple(points), 0.02, "test images", "sum of layers", "some laptop, batch 1")


def _plain_scene(*pairs: tuple[float, float]) -> Scene:
    """One layer, one point for each (error, ms)."""
    points = tuple(ScenePoint(("conv3x3",), error, ms, (ms,)) for error, ms in pairs)
    return Scene("Plain", ("only",), points, 0.0, "made up", "made up", "none")


@pytest.fixture(scope="session")
def additive_scene():
    return _additive_scene


@pytest.fixture(scope="session")
def plain_scene():
    return _plain_scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return _additive_scene()


class Tags(HTMLParser):
    """Counts start tags and keeps the attributes of images."""

    def __init__(self, text: str):
        super().__init__()
        self.count: dict[str, int] = {}
        self.images: list[dict[str, str | None]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag == "img":
            self.images.append(dict(attrs))


@pytest.fixture(scope="session")
def tags_of():
    """Count start tags, and keep the attributes of images."""
    return Tags


@pytest.fixture(scope="session")
def svg_inside():
    """The picture inside the only image of an HTML text."""

    def read(html: str) -> str:
        (image,) = Tags(html).images
        return base64.b64decode(image["src"].removeprefix("data:image/svg+xml;base64,")).decode()

    return read
