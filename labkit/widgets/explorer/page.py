"""A scene in the browser: the data of the ES module, and a page in one file."""

from pathlib import Path
from typing import Any

from labkit.system import storage
from labkit.widgets.explorer.axes import axes_of
from labkit.widgets.explorer.choosing import (
    check_weight,
    choose,
    default_target,
    default_weight,
    frontier,
    reachable,
    weight_stops,
)
from labkit.widgets.explorer.picture import static_picture
from labkit.widgets.explorer.scenes import Scene
from labkit.widgets.explorer.templates import TEMPLATES

MODULE = Path(__file__).resolve().with_name("explorer.js")  # drawn by notebooks and pages alike


def for_browser(scene: Scene) -> dict[str, Any]:
    """Collect what the ES module draws: the scene, with all that a drag does not change.

    Args:
        scene: the architectures.

    Returns:
        A JSON object.
    """
    return scene.to_json() | {
        "stops": list(weight_stops(scene)),
        "frontier": list(frontier(scene)),
        "reachable": list(reachable(scene)),
        "decimals": scene.decimals,
        "axes": {name: {"span": axis.span, "ticks": axis.ticks} for name, axis in axes_of(scene).items()},
    }


def to_html(scene: Scene, path: str | Path, weight: float | None = None) -> Path:
    """Write the explorer as one HTML file that makes no request.

    Args:
        scene: the architectures.
        path: the file.
        weight: latency weight to begin with, in error fraction per ms; by default one that chooses the middle.

    Returns:
        The path.

    Raises:
        InputError: the weight is negative or not finite, or the file cannot be written.
    """
    weight = default_weight(scene) if weight is None else check_weight(weight)
    state = {
        "data": for_browser(scene),
        "weight": weight,
        "target_ms": default_target(scene),
        "mode": "weight",
        "selection": choose(scene, weight),
    }
    page = TEMPLATES.get_template("page.html.jinja").render(
        title=scene.title,
        static=static_picture(scene, weight),
        state=state,
        module=MODULE.read_text(encoding="utf-8"),
    )
    return storage.write_text(path, page)
