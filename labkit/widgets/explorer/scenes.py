"""Every architecture that a reader may choose from: its operations, its error and its latency."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from labkit.latency.table import LatencyTable
from labkit.pareto import Point
from labkit.system.errors import InputError

SCHEMA = 1


@dataclass(frozen=True)
class ScenePoint:
    """One architecture with its two costs.

    Attributes:
        ops: one operation a layer.
        error: fraction of images, 0 to 1.
        ms: latency of the whole, `overhead_ms` + sum of `parts_ms`.
        parts_ms: one latency a layer, in ms.
    """

    ops: tuple[str, ...]  # one operation a layer
    error: float  # fraction of images, 0 to 1
    ms: float  # overhead_ms + sum(parts_ms)
    parts_ms: tuple[float, ...]  # one latency a layer


@dataclass(frozen=True)
class Scene:
    """Every architecture that a reader may choose from, and the origin of its numbers.

    Attributes:
        title: of the picture.
        layers: names, first to last.
        points: the architectures.
        overhead_ms: what every architecture pays: stem, head, launch.
        error_from: such as "test images, mean of 3 seeds".
        latency_from: such as "sum of per-layer times".
        card: device, runtime, dtype, batch.

    Raises:
        InputError: no layer or no point, points whose lengths differ from `layers`, numbers that are not finite or not
            positive (a part may be 0: skipping a layer takes no time), or latencies that are not the sum of the parts.
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
        if not is_number(self.overhead_ms) or self.overhead_ms < 0:
            raise InputError(f"overhead_ms must be finite, 0 or more, not {self.overhead_ms!r}; pass 0.0 if unknown")
        for i, point in enumerate(self.points):
            self._check(i, point)

    def _check(self, i: int, point: ScenePoint) -> None:
        for name, values in (("ops", point.ops), ("parts_ms", point.parts_ms)):
            if len(values) != len(self.layers):
                raise InputError(f"point {i} has {len(values)} {name} for {len(self.layers)} layers; give one a layer")
        if not is_number(point.error) or not 0 <= point.error <= 1:
            raise InputError(f"point {i} has error {point.error!r}; give a fraction from 0 to 1")
        if not all(is_number(part) and part >= 0 for part in point.parts_ms):
            raise InputError(f"point {i} has parts_ms {point.parts_ms!r}; give finite ms, none negative")
        if not is_number(point.ms) or point.ms <= 0:
            raise InputError(f"point {i} takes {point.ms!r} ms; give a finite, positive latency")
        total = self.overhead_ms + sum(point.parts_ms)
        if not math.isclose(point.ms, total, rel_tol=1e-6):
            raise InputError(f"point {i} takes {point.ms} ms but overhead and parts sum to {total}; make ms their sum")

    @cached_property
    def decimals(self) -> int:
        """Decimals of every latency shown: enough for three digits of the slowest point and two of a middling part."""
        slowest = max(point.ms for point in self.points)
        parts = sorted({part for point in self.points for part in point.parts_ms if part > 0}) or [slowest]
        return max(0, 2 - math.floor(math.log10(slowest)), 1 - math.floor(math.log10(parts[len(parts) // 2])))

    def to_json(self) -> dict[str, Any]:
        """Make a JSON object of the scene.

        Operation names and part latencies repeat in every point, so both are listed once and a point is
        `[error, ms, [index into ops], [index into parts_ms]]`.

        Returns:
            The object, of which `from_json` makes an equal scene.
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
        """Read the object that `to_json` made.

        Args:
            value: the object.

        Returns:
            The scene.

        Raises:
            InputError: it is something else, or damaged.
        """
        if not isinstance(value, dict) or value.get("kind") != "scene" or value.get("schema") != SCHEMA:
            raise InputError(f"expected a scene of schema {SCHEMA} as Scene.to_json makes it; make it again")
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
            raise InputError(f"this scene is damaged ({type(problem).__name__}: {problem}); make it again") from None
        return cls(layers=layers, points=points, **words)


def scene_of(points: Iterable[Point], table: LatencyTable, title: str) -> Scene:
    """Make a scene of evaluated points.

    Args:
        points: architectures with errors.
        table: the table of their latencies, which gives the parts.
        title: of the scene.

    Returns:
        The scene.

    Raises:
        InputError: no points, or an architecture of another space than the table's.
    """
    points = tuple(points)
    drawn = []
    for point in points:
        parts = table.parts_ms(point.architecture)
        ms = math.fsum((table.overhead_ms, *parts))  # the same parts in another order take exactly as long
        drawn.append(ScenePoint(point.architecture.ops, point.error, ms, parts))
    error_from = points[0].error_from if points else ""
    return Scene(title, table.slot_names, tuple(drawn), table.overhead_ms, error_from, "table", str(table.card))


def is_number(value: Any) -> bool:
    """Check that a value is a finite number.

    Args:
        value: anything.

    Returns:
        True for finite numbers of Python and NumPy.
    """
    return isinstance(value, int | float | np.floating | np.integer) and math.isfinite(value)
