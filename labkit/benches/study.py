"""A sweep of latency weights, compared with everything that was evaluated on one set of shared weights."""

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

from labkit.benches.record import read_with_table
from labkit.data import ImageSet
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Supernet
from labkit.oneshot.baselines import random_search
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.evaluation import evaluate
from labkit.oneshot.searching import sweep
from labkit.pareto import Frontier, Point
from labkit.spaces import SearchSpace, registry
from labkit.system import storage
from labkit.system.device import today, versions
from labkit.system.errors import damaged


@dataclass(frozen=True)
class Study:
    """A sweep of latency weights, compared with everything that was evaluated on one set of shared weights.

    All errors are of the same supernet, trained on uniform samples, so they compare with each other.

    Attributes:
        points: The whole space where it is small enough, else random architectures.
        picks: Latency weight (error fraction per ms) and the point that UNAS chose.
        random: Latency weight and the point that random search chose at equal cost.
        space: The space.
        table: Source of all latencies.
        data: The card of the images.
        made: Config, versions, date, seconds, image passes, command.
    """

    points: tuple[Point, ...]
    picks: tuple[tuple[float, Point], ...]
    random: tuple[tuple[float, Point], ...]
    space: SearchSpace
    table: LatencyTable
    data: dict[str, Any]
    made: dict[str, Any]

    @property
    def frontier(self) -> Frontier:
        """The frontier of all `points`."""
        return Frontier.of(self.points)


def study(
    supernet: Supernet,
    data: ImageSet,
    table: LatencyTable,
    latency_weights: Sequence[float],
    config: SearchConfig,
    *,
    command: str = "",
    progress: bool = False,
) -> Study:
    """Run one sweep and random search at the same cost, and evaluate both on the shared weights of the latter.

    Args:
        supernet: Untrained; it is copied.
        data: The images.
        table: Of the supernet's space.
        latency_weights: Error fraction per millisecond.
        config: Of the sweep and of the random search.
        command: What was typed, for the provenance.
        progress: Show progress bars.

    Returns:
        The study.
    """
    started = time.perf_counter()
    found = sweep(supernet, data, table, latency_weights, config, progress=progress)
    spent = sum(result.passes for result in found)
    baseline = random_search(supernet, data, table, config, budget=spent, progress=progress)
    chosen = evaluate(baseline.supernet, [result.architecture for result in found], data, table, config)

    def cost(weight: float) -> Callable[[Point], float]:
        return lambda p: p.error + weight * p.latency_ms

    return Study(
        points=baseline.evaluated,
        picks=tuple(zip(latency_weights, chosen)),
        random=tuple((weight, min(baseline.evaluated, key=cost(weight))) for weight in latency_weights),
        space=supernet.space,
        table=table,
        data=data.card(),
        made={
            "command": command,
            "config": asdict(config),
            "versions": versions(),
            "date": today(),
            "seconds": round(time.perf_counter() - started),
            "passes": {"sweep": spent, "random search": baseline.passes},
        },
    )


@dataclass(frozen=True)
class _Pick:
    """What was chosen for a latency weight, as a file has it."""

    latency_weight: float
    ops: str
    error: float

    @classmethod
    def of(cls, latency_weight: float, point: Point) -> "_Pick":
        return cls(latency_weight, str(point.architecture), point.error)


@dataclass(frozen=True)
class _Saved:
    """A study as its file has it."""

    kind: ClassVar[str] = "study"
    schema: ClassVar[int] = 1
    space: dict[str, Any]
    data: dict[str, Any]
    made: dict[str, Any]
    picks: tuple[_Pick, ...]
    random: tuple[_Pick, ...]
    points: tuple[tuple[str, float], ...]
    table: dict[str, Any]


def save_study(study: Study, path: str | Path) -> Path:
    """Write a study as one readable JSON file: architectures as their names, the table inside.

    Args:
        study: The study.
        path: The file; its folder is made if need be.

    Returns:
        `path`.
    """
    picks, random = (tuple(itertools.starmap(_Pick.of, chosen)) for chosen in (study.picks, study.random))
    points = tuple((str(p.architecture), p.error) for p in study.points)
    space, table = registry.record(study.space), study.table.to_json()
    return storage.write_record(path, _Saved(space, study.data, study.made, picks, random, points, table))


def load_study(path: str | Path) -> Study:
    """Read a study that `save_study` wrote.

    Args:
        path: A file, or the name of a shipped result.

    Returns:
        The study; latencies are those of its table.

    Raises:
        InputError: There is no such file, it is damaged, or its space is another one now.
    """
    saved, space, table = read_with_table(path, _Saved)

    def point(ops: str, error: float) -> Point:
        architecture = space.architecture(ops)
        return Point(architecture, error, table.table_ms(architecture))

    with damaged(path, "make the study again"):
        picks, random = (
            tuple((pick.latency_weight, point(pick.ops, pick.error)) for pick in chosen)
            for chosen in (saved.picks, saved.random)
        )
        points = tuple(itertools.starmap(point, saved.points))
    return Study(points, picks, random, space, table, saved.data, saved.made)
