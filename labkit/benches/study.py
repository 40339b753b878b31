"""A sweep of latency weights beside everything that was evaluated on one set of shared weights."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from labkit import spaces
from labkit.data import ImageSet
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Supernet
from labkit.oneshot.baselines import random_search
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.evaluation import evaluate
from labkit.oneshot.searching import sweep
from labkit.pareto import Frontier, Point
from labkit.spaces import SearchSpace
from labkit.system import storage
from labkit.system.device import today, versions
from labkit.system.errors import InputError


@dataclass(frozen=True)
class Study:
    """A sweep of latency weights beside everything that was judged on one set of shared weights.

    All errors are of the same supernet, trained on uniform samples, so they compare with each other.
    """

    points: tuple[Point, ...]  # the whole space where it is small enough, else random architectures
    picks: tuple[tuple[float, Point], ...]  # latency weight (error fraction per ms), what UNAS chose
    random: tuple[tuple[float, Point], ...]  # the same for random search at equal cost
    space: SearchSpace
    table: LatencyTable
    data: dict[str, Any]
    made: dict[str, Any]  # config, versions, date, seconds, passes, command

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
    """One sweep of the weights, random search at the same cost, and both judged on the latter's shared weights."""
    started = time.perf_counter()
    found = sweep(supernet, data, table, latency_weights, config, progress=progress)
    spent = sum(result.passes for result in found)
    baseline = random_search(supernet, data, table, config, budget=spent, progress=progress)
    chosen = evaluate(baseline.supernet, [result.architecture for result in found], data, table, config)

    def cost(weight: float) -> Callable[[Point], float]:
        return lambda p: p.error + weight * p.latency_ms

    return Study(
        points=baseline.judged,
        picks=tuple(zip(latency_weights, chosen)),
        random=tuple((weight, min(baseline.judged, key=cost(weight))) for weight in latency_weights),
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


def save_study(study: Study, path: str | Path) -> Path:
    """One readable JSON file; architectures as their names, the table inside."""
    pair = lambda weight, point: {"latency_weight": weight, "ops": str(point.architecture), "error": point.error}
    return storage.write_json(
        path,
        {
            "kind": "study",
            "schema": 1,
            "space": {"name": study.space.name, "classes": study.space.classes},
            "data": study.data,
            "made": study.made,
            "picks": [pair(*row) for row in study.picks],
            "random": [pair(*row) for row in study.random],
            "points": [[str(p.architecture), p.error] for p in study.points],
            "table": study.table.to_json(),
        },
    )


def load_study(path: str | Path) -> Study:
    """A study that `save_study` wrote. A bare name is looked up in `data/results`."""
    path = storage.result_file(path)
    value = storage.read_json(path, "study", 1)
    try:
        space = spaces.by_name(value["space"]["name"], value["space"]["classes"])
        table = LatencyTable.from_json(value["table"])

        def point(ops: str, error: float) -> Point:
            architecture = space.architecture(ops)
            return Point(architecture, error, table.table_ms(architecture))

        picks, random = (
            tuple((row["latency_weight"], point(row["ops"], row["error"])) for row in value[key])
            for key in ("picks", "random")
        )
        points = tuple(point(*row) for row in value["points"])
        return Study(points, picks, random, space, table, value["data"], value["made"])
    except (KeyError, TypeError) as problem:
        raise InputError(f"{path} is a damaged study: {type(problem).__name__} {problem}") from None
