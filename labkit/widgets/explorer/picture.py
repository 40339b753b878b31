"""The static twin of the explorer, where there is no JavaScript."""

import base64
from collections.abc import Iterable
from html import escape
from itertools import pairwise

from labkit.widgets.explorer.axes import Axis, Scale, axes_of
from labkit.widgets.explorer.choosing import choose, default_weight, describe, frontier, ms_text, reachable
from labkit.widgets.explorer.scenes import Scene

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
        chosen = choose(scene, weight, target_ms)
        caption = describe(scene, chosen, weight, target_ms)
    else:
        chosen = selection
        caption = describe(scene, chosen)
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
    axes, base, right = axes_of(scene), HEIGHT - BOTTOM, WIDTH - RIGHT
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
