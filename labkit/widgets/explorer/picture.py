"""The static picture of the explorer, where there is no JavaScript."""

import base64

from labkit.widgets.explorer.axes import axes_of
from labkit.widgets.explorer.choosing import choose, default_weight, describe, frontier, ms_text, reachable
from labkit.widgets.explorer.scenes import Scene
from labkit.widgets.explorer.templates import TEMPLATES

WIDTH, HEIGHT = 660, 400  # of the static picture, in its own units
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 34, 62  # margins around the plot


def static_picture(
    scene: Scene, weight: float | None = None, target_ms: float | None = None, selection: int | None = None
) -> str:
    """Draw a choice for places without JavaScript: an HTML figure, its text alternative and a table of layers.

    The picture is an <img> because only its alt text survives both JupyterLab and nbconvert, and white paper because it
    cannot know the theme around it.

    Args:
        scene: the architectures.
        weight: latency weight, in error fraction per ms; by default one that chooses the middle.
        target_ms: target or deadline, in ms.
        selection: index of a point chosen by hand, instead of weight and target.

    Returns:
        The HTML.

    Raises:
        InputError: a weight or a target that is negative or not finite.
    """
    if selection is None:
        weight = default_weight(scene) if weight is None else weight
        chosen = choose(scene, weight, target_ms)
        caption = describe(scene, chosen, weight, target_ms)
    else:
        chosen = selection
        caption = describe(scene, chosen)
    return TEMPLATES.get_template("figure.html.jinja").render(
        width=WIDTH,
        height=HEIGHT,
        alternative=_alternative(scene, caption),
        image=base64.b64encode(_svg(scene, chosen, caption).encode()).decode(),
        provenance=f"Error: {scene.error_from}. Latency: {scene.latency_from}; {scene.card}.",
        rows=_layer_rows(scene, chosen),
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


def _layer_rows(scene: Scene, chosen: int) -> list[tuple[str, str, str]]:
    """Part, operation and milliseconds of each layer, of the overhead and of the whole."""
    point = scene.points[chosen]
    layers = zip(scene.layers, point.ops, point.parts_ms)
    rows = [*layers, ("overhead", "", scene.overhead_ms), ("all", "", point.ms)]
    return [(part, op, ms_text(scene, ms)) for part, op, ms in rows]


def _svg(scene: Scene, chosen: int, caption: str) -> str:
    """The cloud, its frontier and the chosen point. Paths rather than circles keep it to a few kB."""
    axes = axes_of(scene)
    x, y = axes["ms"].between(LEFT, WIDTH - RIGHT), axes["error"].between(HEIGHT - BOTTOM, TOP)
    at = [(round(x(point.ms)), round(y(100 * point.error))) for point in scene.points]
    edge, hull = frontier(scene), set(reachable(scene))
    return TEMPLATES.get_template("picture.svg.jinja").render(
        width=WIDTH,
        height=HEIGHT,
        left=LEFT,
        right=RIGHT,
        top=TOP,
        bottom=BOTTOM,
        caption=caption,
        ms_ticks=[(text, round(x(value), 1)) for text, value in axes["ms"].ticks],
        error_ticks=[(text, round(y(value), 1)) for text, value in axes["error"].ticks],
        edge=[at[i] for i in edge],
        reached=[at[i] for i in edge if i in hull],
        missed=[at[i] for i in edge if i not in hull],
        dominated=[place for i, place in enumerate(at) if i not in edge],
        chosen=at[chosen],
    )
