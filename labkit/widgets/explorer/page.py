"""A scene for the browser: what the ES module draws, and one file that stands alone."""

import json
import re
from html import escape
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

MODULE = Path(__file__).resolve().with_name("explorer.js")  # drawn by notebooks and pages alike


def for_browser(scene: Scene) -> dict[str, Any]:
    """What the ES module draws: the scene, with what Python knows about it that a drag does not change."""
    return scene.to_json() | {
        "stops": list(weight_stops(scene)),
        "frontier": list(frontier(scene)),
        "reachable": list(reachable(scene)),
        "decimals": scene.decimals,
        "axes": {name: {"span": axis.span, "ticks": axis.ticks} for name, axis in axes_of(scene).items()},
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
