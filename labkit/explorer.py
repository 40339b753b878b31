"""What a latency weight or a target chooses among known architectures, and the picture of it.

Python is the oracle: `choose`, `frontier` and `reachable` say what must be drawn. The browser twin,
`static/explorer.js`, repeats only `choose`, because a key press has no time to ask a kernel.
Everywhere: error is a fraction of images, latency is in ms, a weight is error fraction per ms.
"""

import base64
import json
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from labkit import storage
from labkit.errors import InputError
from labkit.latency import LatencyTable
from labkit.pareto import Point

MODULE = Path(__file__).resolve().parent / "static" / "explorer.js"  # drawn by notebooks and pages alike
SCHEMA = 1


@dataclass(frozen=True)
class ScenePoint:
    """One architecture: what it is made of, how often it errs, how long it takes and where."""

    ops: tuple[str, ...]  # one operation a layer
    error: float  # fraction of images, 0 to 1
    ms: float  # overhead_ms + sum(parts_ms)
    parts_ms: tuple[float, ...]  # one latency a layer


@dataclass(frozen=True)
class Scene:
    """Every architecture a reader may choose from, and where its numbers come from.

    Refuses (InputError) an empty scene, points whose lengths differ from `layers`, numbers that are not
    finite or not positive (a part may be 0: skipping a layer takes no time), and latencies that are not
    the sum of their parts.
    """

    title: str
    layers: tuple[str, ...]  # names, first to last
    points: tuple[ScenePoint, ...]
    overhead_ms: float  # what every architecture pays: stem, head, launch
    error_from: str  # such as "test images, mean of 3 seeds"
    latency_from: str  # such as "sum of per-layer times"
    card: str  # device, runtime, dtype, batch

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("a scene needs at least one layer name, and `layers` is empty; name the layers")
        if not self.points:
            raise InputError("a scene needs at least one point, and `points` is empty; pass the architectures")
        if not _is_number(self.overhead_ms) or self.overhead_ms < 0:
            raise InputError(f"overhead_ms must be finite, 0 or more, not {self.overhead_ms!r}; pass 0.0 if unknown")
        for i, point in enumerate(self.points):
            self._check(i, point)

    def _check(self, i: int, point: ScenePoint) -> None:
        for name, values in (("ops", point.ops), ("parts_ms", point.parts_ms)):
            if len(values) != len(self.layers):
                raise InputError(f"point {i} has {len(values)} {name} for {len(self.layers)} layers; give one a layer")
        if not _is_number(point.error) or not 0 <= point.error <= 1:
            raise InputError(f"point {i} has error {point.error!r}; give a fraction from 0 to 1")
        if not all(_is_number(part) and part >= 0 for part in point.parts_ms):
            raise InputError(f"point {i} has parts_ms {point.parts_ms!r}; give finite ms, none negative")
        if not _is_number(point.ms) or point.ms <= 0:
            raise InputError(f"point {i} takes {point.ms!r} ms; give a finite, positive latency")
        total = self.overhead_ms + sum(point.parts_ms)
        if not math.isclose(point.ms, total, rel_tol=1e-6):
            raise InputError(f"point {i} takes {point.ms} ms but overhead and parts sum to {total}; make ms their sum")

    @cached_property
    def decimals(self) -> int:
        """Of every latency shown: enough for three digits of the slowest point and two of a middling part."""
        slowest = max(point.ms for point in self.points)
        parts = sorted({part for point in self.points for part in point.parts_ms if part > 0}) or [slowest]
        return max(0, 2 - math.floor(math.log10(slowest)), 1 - math.floor(math.log10(parts[len(parts) // 2])))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns into an equal scene.

        Operation names and part latencies repeat in every point, so both are listed once and a point is
        `[error, ms, [index into ops], [index into parts_ms]]`.
        """
        ops = list(dict.fromkeys(op for point in self.points for op in point.ops))
        parts = list(dict.fromkeys(float(part) for point in self.points for part in point.parts_ms))
        op_at = {op: i for i, op in enumerate(ops)}
        part_at = {part: i for i, part in enumerate(parts)}
        return {
            "kind": "scene",
            "schema": SCHEMA,
            "title": self.title,
            "layers": list(self.layers),
            "overhead_ms": float(self.overhead_ms),
            "error_from": self.error_from,
            "latency_from": self.latency_from,
            "card": self.card,
            "ops": ops,
            "parts_ms": parts,
            "points": [
                [float(p.error), float(p.ms), [op_at[op] for op in p.ops], [part_at[ms] for ms in p.parts_ms]]
                for p in self.points
            ],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Scene":
        """The scene that `to_json` wrote. InputError when it is something else, or damaged."""
        if not isinstance(value, dict) or value.get("kind") != "scene" or value.get("schema") != SCHEMA:
            raise InputError(f"expected a scene of schema {SCHEMA} as Scene.to_json makes it; make it anew")
        try:
            points = tuple(
                ScenePoint(
                    ops=tuple(value["ops"][i] for i in ops),
                    error=error,
                    ms=ms,
                    parts_ms=tuple(value["parts_ms"][i] for i in parts),
                )
                for error, ms, ops, parts in value["points"]
            )
            words = {name: value[name] for name in ("title", "overhead_ms", "error_from", "latency_from", "card")}
            layers = tuple(value["layers"])
        except (KeyError, IndexError, TypeError, ValueError) as problem:
            raise InputError(f"this scene is damaged ({type(problem).__name__}: {problem}); make it anew") from None
        return cls(layers=layers, points=points, **words)


# ---- choosing ------------------------------------------------------------------------------------------


def scene_of(points: Iterable[Point], table: LatencyTable, title: str) -> Scene:
    """A scene of judged `points`, with the parts of their latency from the `table` that they were judged with."""
    points = tuple(points)
    drawn = []
    for point in points:
        parts = table.parts_ms(point.architecture)
        ms = math.fsum((table.overhead_ms, *parts))  # the same parts in another order take exactly as long
        drawn.append(ScenePoint(point.architecture.ops, point.error, ms, parts))
    error_from = points[0].error_from if points else ""
    return Scene(title, table.slot_names, tuple(drawn), table.overhead_ms, error_from, "table", str(table.card))


def choose(scene: Scene, weight: float, target_ms: float | None = None) -> int:
    """Index of the point with the least error + weight * ms.

    With a target only the ms above it count: error + weight * max(0, ms - target_ms). An infinite weight makes the
    target a deadline: the most accurate point in time, or the fastest where none is. Equal costs go to the faster
    point, then to the earlier one.
    """
    if not (weight == math.inf and target_ms is not None):
        check_weight(weight)
    check_target(target_ms)

    def cost(i: int) -> tuple[float, float, int]:
        point = scene.points[i]
        late = point.ms if target_ms is None else max(0.0, point.ms - target_ms)
        return point.error + (weight * late if late else 0.0), point.ms, i

    return min(range(len(scene.points)), key=cost)


def check_weight(weight: float) -> float:
    if not _is_number(weight) or weight < 0:
        raise InputError(f"a latency weight is a finite number, 0 or more (error per ms), not {weight!r}; pass 0.1")
    return weight


def check_target(target_ms: float | None) -> float | None:
    if target_ms is not None and (not _is_number(target_ms) or target_ms < 0):
        raise InputError(f"a target is a finite number of ms, 0 or more, not {target_ms!r}; None for no target")
    return target_ms


def frontier(scene: Scene) -> tuple[int, ...]:
    """Indices that no other point beats in both error and latency, fastest first (so error falls).

    Of points equal in both, the first stands for all.
    """
    found: list[int] = []
    for i in sorted(range(len(scene.points)), key=lambda i: (scene.points[i].ms, scene.points[i].error, i)):
        if not found or scene.points[i].error < scene.points[found[-1]].error:
            found.append(i)
    return tuple(found)


def reachable(scene: Scene) -> tuple[int, ...]:
    """The part of the frontier that some weight >= 0 chooses, fastest first.

    These are the corners of the cloud's lower-left convex hull. A frontier point inside a dent of the hull
    is chosen by no weight, however finely the weight is turned: only a target finds it.
    """
    hull: list[int] = []
    for i in frontier(scene):
        while len(hull) > 1 and _slope(scene, hull[-2], hull[-1]) <= _slope(scene, hull[-1], i):
            hull.pop()
        hull.append(i)
    return tuple(hull)


def weight_stops(scene: Scene, n: int = 61) -> tuple[float, ...]:
    """About `n` weights for a slider, rising: 0, then equal ratios over the range in which they matter.

    Below the range the most accurate point is chosen, above it the fastest. The top is also enough, where
    that costs at most two doublings of the range, for a target to choose every frontier point. Stops are
    rounded to two digits (few merge), and every reachable point is chosen by at least one of them.
    """
    if n < 2:
        raise InputError(f"a slider needs at least 2 weights, not {n!r}; 61 is usual")
    points = reachable(scene)
    turns = [_slope(scene, fast, slow) for fast, slow in pairwise(points)]  # falling
    if not turns:  # one point beats all the others, so every weight chooses it: any range will do
        turns = [max(scene.points[points[0]].error, 0.01) / scene.points[points[0]].ms]
    top = min(max(4 * turns[0], 1.1 * filling_weight(scene)), 16 * turns[0])
    stops = {0.0} | {_rounded(weight, 2) for weight in np.geomspace(turns[-1] / 4, top, n - 1)}
    chosen = {choose(scene, weight) for weight in stops}
    for k, index in enumerate(points):
        if index not in chosen:  # its interval of weights, turns[k] down to turns[k - 1], fell between two stops
            stops.add(_stop_between(scene, index, turns[min(k, len(turns) - 1)], turns[max(k - 1, 0)]))
    return tuple(sorted(stops))


def filling_weight(scene: Scene) -> float:
    """The weight from which on a target chooses every frontier point, at the target equal to its latency.

    It is the steepest step of the frontier's staircase: with less, overrunning the target is worth its price.
    """
    points = frontier(scene)
    return max((_slope(scene, fast, slow) for fast, slow in pairwise(points)), default=0.0)


def default_weight(scene: Scene) -> float:
    """A stop that chooses the middle one of the reachable points: where a reader's drag begins."""
    points = reachable(scene)
    middle = points[len(points) // 2]
    stops = [weight for weight in weight_stops(scene) if choose(scene, weight) == middle]
    return stops[len(stops) // 2] if stops else 0.0


def default_target(scene: Scene) -> float:
    """The latency of the middle one of the frontier, in ms."""
    points = frontier(scene)
    return scene.points[points[len(points) // 2]].ms


def _slope(scene: Scene, fast: int, slow: int) -> float:
    """Error saved per ms spent, going from one frontier point to a slower one. Positive."""
    a, b = scene.points[fast], scene.points[slow]
    return (a.error - b.error) / (b.ms - a.ms)


def _stop_between(scene: Scene, index: int, low: float, high: float) -> float:
    """The roundest weight between two turns that chooses `index`."""
    middle = math.sqrt(low * high)
    rounded = (_rounded(middle, digits) for digits in (2, 3, 4, 6, 9))
    return next((weight for weight in rounded if choose(scene, weight) == index), middle)


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.floating | np.integer) and math.isfinite(value)


# ---- in words ------------------------------------------------------------------------------------------


def describe(scene: Scene, index: int, weight: float | None = None, target_ms: float | None = None) -> str:
    """Such as "weight 0.10: 0.231 ms, error 8.3 %". No weight: chosen by hand; an infinite one: by a deadline."""
    point = scene.points[index]
    if weight == math.inf:
        asked = [f"deadline {ms_text(scene, target_ms)} ms"] + ["which none meets"] * (point.ms > target_ms)
    else:
        asked = [] if weight is None else [f"weight {weight_text(weight)}"]
        asked += [] if target_ms is None else [f"target {ms_text(scene, target_ms)} ms"]
    return f"{', '.join(asked) or 'by hand'}: {ms_text(scene, point.ms)} ms, error {100 * point.error:.1f} %"


def weight_text(weight: float) -> str:
    """Two digits, or as many up to four as the weight has: 0.0, 0.10, 0.032, 12."""
    digits = next((d for d in (2, 3) if _rounded(weight, d) == weight), 4)
    return f"{weight:.{max(0, digits - 1 - math.floor(math.log10(weight or 1)))}f}"


def ms_text(scene: Scene, ms: float) -> str:
    return f"{ms:.{scene.decimals}f}"


# ---- axes, for both pictures ---------------------------------------------------------------------------

Scale = Callable[[float], float]  # value -> position


@dataclass(frozen=True)
class Axis:
    """The span and the ticks, (text, value), that show some values with a little room."""

    span: tuple[float, float]
    ticks: tuple[tuple[str, float], ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> "Axis":
        low, high = float(min(values)), float(max(values))
        room = 0.05 * (high - low) or 0.05 * high or 1.0
        low, high = max(0.0, low - room), high + room
        power = 10.0 ** math.floor(math.log10((high - low) / 6))
        step = next(m * power for m in (1, 2, 5, 10) if m * power * 6 >= high - low)
        decimals = max(0, -math.floor(math.log10(step) + 1e-9))
        ticks = (k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1))
        return cls((low, high), tuple((f"{tick:.{decimals}f}", _rounded(tick, 9)) for tick in ticks))

    def between(self, start: float, end: float) -> Scale:
        low, high = self.span
        return lambda value: start + (value - low) / (high - low) * (end - start)


def _axes(scene: Scene) -> dict[str, Axis]:
    """Latency in ms, error in percent."""
    return {
        "ms": Axis.of([point.ms for point in scene.points]),
        "error": Axis.of([100 * point.error for point in scene.points]),
    }


# ---- in the browser ------------------------------------------------------------------------------------


def for_browser(scene: Scene) -> dict[str, Any]:
    """What the ES module draws: the scene, with what Python knows about it that a drag does not change."""
    return scene.to_json() | {
        "stops": list(weight_stops(scene)),
        "frontier": list(frontier(scene)),
        "reachable": list(reachable(scene)),
        "decimals": scene.decimals,
        "axes": {name: {"span": axis.span, "ticks": axis.ticks} for name, axis in _axes(scene).items()},
    }


def to_html(scene: Scene, path: str | Path, weight: float | None = None) -> Path:
    """One file that needs no kernel, no network and no other file; without JavaScript it shows a picture."""
    weight = default_weight(scene) if weight is None else check_weight(weight)
    state = {
        "data": for_browser(scene),
        "weight": weight,
        "target_ms": default_target(scene),
        "mode": "weight",
        "selection": choose(scene, weight),
    }
    parts = {
        "title": escape(scene.title),
        "static": static_picture(scene, weight),
        "state": _script_json(state),
        "module": MODULE.read_text(encoding="utf-8"),
    }
    # in one pass, so that a title may hold the name of a part
    return storage.write_text(path, re.sub(r"\{(title|static|state|module)\}", lambda hole: parts[hole[1]], _PAGE))


def _script_json(value: Any) -> str:
    """JSON that cannot end the <script> it stands in, whatever a title or an operation is called."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


# The policy refuses every request, so a page that works here works on a plane.
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:">
<title>{title}</title>
<style>
:root { color-scheme: light dark }
body { margin: 0; background: #fff }
main { max-width: 1100px; margin: 0 auto; padding: 12px 16px }
@media (prefers-color-scheme: dark) { body { background: #111 } }
</style>
<main id="explorer"><noscript>{static}</noscript></main>
<script type="application/json" id="state">{state}</script>
<script type="module">
{module}
const state = JSON.parse(document.getElementById("state").textContent);
const nothing = () => {};
const model = { get: (k) => state[k], set: nothing, save_changes: nothing, on: nothing, off: nothing };
render({ model, el: document.getElementById("explorer") });
</script>
</html>
"""


# ---- where there is no JavaScript ----------------------------------------------------------------------

WIDTH, HEIGHT = 660, 400  # of the static picture, in its own units
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 62  # margins around the plot
INK, SOFT = "#1b1b1b", "#5c5c5c"
REACHED = 'stroke="#0072B2" stroke-width="10"'  # with the diamonds' #D55E00, two of Okabe and Ito's colours
BEATEN = f'stroke="{SOFT}" stroke-opacity=".4" stroke-width="6"'


def static_picture(
    scene: Scene, weight: float | None = None, target_ms: float | None = None, selection: int | None = None
) -> str:
    """The twin for places without JavaScript: an HTML figure, its text alternative and a table of layers.

    The picture is an <img> because only its alt text survives both JupyterLab and nbconvert, and white
    paper because it cannot know the theme around it. `selection` shows a point picked by hand instead.
    """
    if selection is None:
        weight = default_weight(scene) if weight is None else weight
        chosen, words = choose(scene, weight, target_ms), (weight, target_ms)
    else:
        chosen, words = selection, (None, None)
    caption = describe(scene, chosen, *words)
    image = base64.b64encode(_svg(scene, chosen, caption).encode()).decode()
    return (
        f'<figure style="margin:0"><img width="{WIDTH}" height="{HEIGHT}" style="max-width:100%;height:auto"'
        f' alt="{escape(_alternative(scene, caption))}" src="data:image/svg+xml;base64,{image}">'
        f"<figcaption>{escape(_provenance(scene))}</figcaption>{_layer_table(scene, chosen)}</figure>"
    )


def _alternative(scene: Scene, caption: str) -> str:
    """What the picture says, for those who do not see it."""
    times = [point.ms for point in scene.points]
    errors = [100 * point.error for point in scene.points]
    return (
        f"{scene.title}: latency against error of {len(scene.points)} architectures, "
        f"{ms_text(scene, min(times))} to {ms_text(scene, max(times))} ms and "
        f"{min(errors):.1f} to {max(errors):.1f} %. {len(frontier(scene))} are on the frontier, "
        f"{len(reachable(scene))} of them chosen by some weight. Marked, {caption}."
    )


def _provenance(scene: Scene) -> str:
    return f"Error: {scene.error_from}. Latency: {scene.latency_from}; {scene.card}."


def _layer_table(scene: Scene, chosen: int) -> str:
    point = scene.points[chosen]
    rows = [
        *zip(scene.layers, point.ops, point.parts_ms),
        ("overhead", "", scene.overhead_ms),
        ("all", "", point.ms),
    ]
    cells = "".join(
        f'<tr><th scope="row">{escape(layer)}</th><td>{escape(op)}</td><td>{ms_text(scene, ms)}</td></tr>'
        for layer, op, ms in rows
    )
    head = '<tr><th scope="col">part</th><th scope="col">operation</th><th scope="col">ms</th></tr>'
    return f"<table><thead>{head}</thead><tbody>{cells}</tbody></table>"


def _svg(scene: Scene, chosen: int, caption: str) -> str:
    """The cloud, its frontier and the chosen point. Paths rather than circles keep it to a few kB."""
    axes, base, right = _axes(scene), HEIGHT - BOTTOM, WIDTH - RIGHT
    x, y = axes["ms"].between(LEFT, right), axes["error"].between(base, TOP)
    at = [(x(point.ms), y(100 * point.error)) for point in scene.points]
    edge, hull = frontier(scene), set(reachable(scene))
    stairs = "".join(f"V{at[i][1]:.0f}H{at[j][0]:.0f}" for i, j in pairwise(edge))
    stairs = f"M{at[edge[0]][0]:.0f} {TOP}{stairs}V{at[edge[-1]][1]:.0f}H{right}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12" fill="{INK}"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>'
        f'<text x="{LEFT}" y="18" font-size="14" font-weight="bold">{escape(caption)}</text>'
        + _grid(axes, x, y)
        + _dots((at[i] for i in range(len(at)) if i not in edge), BEATEN)
        + f'<path d="{stairs}" fill="none" stroke="{INK}"/>'
        + _diamonds(at[i] for i in edge if i not in hull)
        + _dots((at[i] for i in edge if i in hull), REACHED)
        + f'<circle cx="{at[chosen][0]:.0f}" cy="{at[chosen][1]:.0f}" r="11" fill="none" stroke="{INK}" '
        + f'stroke-width="3"/>{_legend(len(edge) - len(hull), len(hull), len(at) - len(edge))}</svg>'
    )


def _grid(axes: dict[str, Axis], x: Scale, y: Scale) -> str:
    base, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    lines = [f"M{LEFT} {y(v):.1f}H{right}" for _, v in axes["error"].ticks]
    lines += [f"M{x(v):.1f} {TOP}V{base}" for _, v in axes["ms"].ticks]
    texts = [f'<text x="{x(v):.1f}" y="{base + 16}" text-anchor="middle">{t}</text>' for t, v in axes["ms"].ticks]
    texts += [f'<text x="{LEFT - 8}" y="{y(v) + 4:.1f}" text-anchor="end">{t}</text>' for t, v in axes["error"].ticks]
    texts += [f'<text x="{right}" y="{base + 32}" text-anchor="end" fill="{SOFT}">latency (ms)</text>']
    texts += [f'<text transform="translate(13 {TOP}) rotate(-90)" text-anchor="end" fill="{SOFT}">error (%)</text>']
    return f'<path d="{"".join(lines)}" stroke="#e4e4e4"/>' + "".join(texts)


def _legend(missed: int, reached: int, beaten: int) -> str:
    y = HEIGHT - 8
    entries = (
        (0, _dots, (REACHED,), f"chosen by some weight ({reached})"),
        (190, _diamonds, (), f"frontier, chosen by no weight ({missed})"),
        (430, _dots, (BEATEN,), f"beaten by another ({beaten})"),
    )
    return "".join(
        mark([(LEFT + x + 6, y - 4)], *style) + f'<text x="{LEFT + x + 18}" y="{y}">{text}</text>'
        for x, mark, style, text in entries
    )


def _dots(places: Iterable[tuple[float, float]], style: str) -> str:
    path = "".join(f"M{x:.0f} {y:.0f}h0" for x, y in places)
    return f'<path d="{path}" stroke-linecap="round" {style}/>'


def _diamonds(places: Iterable[tuple[float, float]]) -> str:
    path = "".join(f"M{x:.0f} {y - 6:.0f}l6 6-6 6-6-6z" for x, y in places)
    return f'<path d="{path}" fill="#fff" stroke="#D55E00" stroke-width="2"/>'
