"""Close the loop: compare the frontier that a search predicted with the latencies in the deployed runtime.

In shapes: N architectures.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from labkit.data import ImageSet
from labkit.latency.cards import Card, Measurement
from labkit.latency.conditions import TimingConditions
from labkit.latency.measuring import measure
from labkit.latency.table import LatencyTable
from labkit.networks.supernet import Network, Supernet, derive
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.evaluation import evaluate
from labkit.pareto import Point, non_dominated
from labkit.runtimes import tensorrt_engines
from labkit.runtimes.base import Runtime
from labkit.runtimes.fusion import Fused, fusions
from labkit.runtimes.onnx_export import onnx_bytes
from labkit.runtimes.registry import runtime as runtime_called
from labkit.runtimes.tensorrt_runtimes import TensorRT
from labkit.spaces import Architecture, SearchSpace
from labkit.stats import Agreement, agreement
from labkit.system.errors import InputError

SCAN = 300  # architectures that are evaluated to find a frontier; a smaller space is evaluated whole
LEAST = 3  # architectures, for a rank agreement


@dataclass(frozen=True, eq=False)
class ClosedLoop:
    """Architectures along a frontier, timed by three clocks: "table", "eager" and "compiled".

    Attributes:
        points: N points with the error on shared weights and the milliseconds by the search's table.
        eager: N measurements of whole networks in eager PyTorch.
        compiled: N measurements of whole networks in the deployed runtime.
        table_card: conditions of the table.
        fused: the layers of the chosen network in the graph that ONNX Runtime compiles; () where none was chosen.
        engine_layers: names of its layers in TensorRT after fusion; () in other runtimes.
    """

    points: tuple[Point, ...]
    eager: tuple[Measurement, ...]
    compiled: tuple[Measurement, ...]
    table_card: Card
    fused: tuple[Fused, ...] = ()
    engine_layers: tuple[str, ...] = ()

    @property
    def unlike(self) -> tuple[str, ...]:
        """Names of the conditions in which the table and the deployed runtime differ."""
        return self.table_card.differences(self.compiled[0].card)

    @property
    def nodes(self) -> int:
        """Number of nodes of the compiled graph that do the work of the layers in `fused`."""
        return len({row.node for row in self.fused})

    @cached_property
    def ms(self) -> dict[str, np.ndarray]:
        """Milliseconds (N,) by each clock."""
        whole = lambda measurements: np.array([m.measured_ms for m in measurements])
        table = np.array([point.latency_ms for point in self.points])
        return {"table": table, "eager": whole(self.eager), "compiled": whole(self.compiled)}

    def agreement(self, one: str, other: str) -> Agreement:
        """Compare the orders that two clocks give the architectures.

        Args:
            one: "table", "eager" or "compiled".
            other: another of these.

        Returns:
            Kendall's tau with its interval.
        """
        return agreement(self.ms[one].tolist(), self.ms[other].tolist())

    @property
    def measured_frontier(self) -> tuple[int, ...]:
        """Indices of the points that no other dominates by error and latency in the deployed runtime."""
        return self._frontier("compiled")

    @property
    def predicted_frontier(self) -> tuple[int, ...]:
        """Indices of the points that no other dominates by error and latency by the table."""
        return self._frontier("table")

    def _frontier(self, clock: str) -> tuple[int, ...]:
        errors = torch.tensor([point.error for point in self.points], dtype=torch.float64)
        costs = torch.stack([errors, torch.from_numpy(self.ms[clock])], 1)
        return tuple(int(i) for i in non_dominated(costs).nonzero()[:, 0])

    @property
    def misled(self) -> tuple[tuple[int, int], ...]:
        """Pairs (a, b) of indices: the table calls a faster, and b is faster in the deployed runtime.

        The largest difference comes first. A pair counts where its latencies differ by more than both their spreads.
        """
        table, compiled = self.ms["table"], self.ms["compiled"]
        spread = np.array([m.timing.spread_ms for m in self.compiled])
        pairs = [
            (compiled[a] - compiled[b], a, b)
            for a in range(len(table))
            for b in range(len(table))
            if table[a] < table[b] and compiled[a] - compiled[b] > spread[a] + spread[b]
        ]
        return tuple((a, b) for _, a, b in sorted(pairs, key=lambda pair: -pair[0]))

    def to_json(self) -> dict[str, Any]:
        """The cards, agreements, frontiers and architectures as a value for JSON."""
        tau = lambda one, other: {
            key: round(getattr(self.agreement(one, other), key), 4) for key in ("tau", "low", "high")
        }
        return {
            "table_card": str(self.table_card),
            "eager_card": self.eager[0].card.to_json(),
            "compiled_card": self.compiled[0].card.to_json(),
            "unlike": list(self.unlike),
            "agreement": {
                "table, compiled": tau("table", "compiled"),
                "eager, compiled": tau("eager", "compiled"),
                "table, eager": tau("table", "eager"),
            },
            "frontier_by_table": list(self.predicted_frontier),
            "frontier_compiled": list(self.measured_frontier),
            "misled": [list(pair) for pair in self.misled],
            "fused": {"layers": len(self.fused), "nodes": self.nodes, "rows": [asdict(row) for row in self.fused]},
            "engine_layers": list(self.engine_layers),
            "architectures": [
                {
                    "ops": str(point.architecture),
                    "error": point.error,
                    **{f"{clock}_ms": float(self.ms[clock][i]) for clock in self.ms},
                }
                for i, point in enumerate(self.points)
            ],
        }


def along_the_frontier(
    supernet: Supernet,
    data: ImageSet,
    table: LatencyTable,
    config: SearchConfig,
    chosen: Architecture,
    n: int = 20,
) -> tuple[Point, ...]:
    """Select architectures on the frontier of error against table latency, and next to it.

    They are evaluated on the shared weights: the whole space where it is small, else `chosen`, its neighbours and
    random architectures.

    Args:
        supernet: the shared weights.
        data: the images of the search.
        table: its latency table.
        config: its configuration.
        chosen: an architecture that is always selected.
        n: how many architectures, at least three.

    Returns:
        At most `n` points, the fastest first.

    Raises:
        InputError: `n` is less than three.
    """
    if n < LEAST:
        raise InputError(f"a rank agreement needs at least {LEAST} architectures; got {n}")
    points = evaluate(supernet, _to_evaluate(supernet.space, chosen, config.seed), data, table, config)
    kept = [point for point in points if point.architecture == chosen]
    left = [point for point in points if point.architecture != chosen]
    while left and len(kept) < n:  # a frontier, then the frontier of what is left, and so on
        costs = torch.tensor([[p.error, p.latency_ms] for p in left], dtype=torch.float64)
        layer = non_dominated(costs).tolist()
        kept += sorted((p for p, on in zip(left, layer) if on), key=lambda p: p.latency_ms)[: n - len(kept)]
        left = [p for p, on in zip(left, layer) if not on]
    return tuple(sorted(kept, key=lambda p: (p.latency_ms, p.error)))


def validate(
    space: SearchSpace,
    points: Sequence[Point],
    table: LatencyTable,
    conditions: TimingConditions | None = None,
    *,
    chosen: Architecture | None = None,
) -> ClosedLoop:
    """Time whole networks in eager PyTorch and in the deployed runtime, to validate what the table predicts.

    Args:
        space: of the architectures.
        points: architectures with their error and their milliseconds by the table, N of them; at least three.
        table: the latency table of the search.
        conditions: of the deployed runtime; eager PyTorch is timed under the same ones. None for ONNX Runtime with
            the batch size of the table.
        chosen: the architecture whose layers are followed into the compiled graph; None for no architecture.

    Returns:
        The same architectures by three clocks.

    Raises:
        InputError: there are fewer than three points, or the runtime cannot be used here.
    """
    if len(points) < LEAST:
        raise InputError(f"a rank agreement needs at least {LEAST} architectures; got {len(points)}")
    networks = [derive(space, point.architecture).eval() for point in points]
    if conditions is None:
        conditions = TimingConditions(runtime="onnxruntime", batch_size=table.card.batch_size)
    timed = lambda under: tuple(measure(networks, under, image=space.image))
    clocks = timed(replace(conditions, runtime="torch")), timed(conditions)
    if chosen is None:
        return ClosedLoop(tuple(points), *clocks, table.card)
    network, example = derive(space, chosen).eval(), torch.zeros(2, *space.image)
    layers = _engine_layers(network, example, runtime_called(conditions.runtime), conditions.device)
    return ClosedLoop(tuple(points), *clocks, table.card, fusions(network, example), layers)


def to_text(loop: ClosedLoop) -> str:
    """Write the architectures, agreements and frontiers as text.

    Args:
        loop: architectures by three clocks.

    Returns:
        Lines for the terminal.
    """
    name = loop.compiled[0].card.runtime
    lines = [f"{'architecture':60} error %  table ms  eager ms  {name} ms"]
    measured, predicted = set(loop.measured_frontier), set(loop.predicted_frontier)
    for i, point in enumerate(loop.points):
        ms = "  ".join(f"{loop.ms[clock][i]:8.3f}" for clock in ("table", "eager", "compiled"))
        lines.append(f"{point.architecture!s:60} {100 * point.error:7.1f}  {ms}{'  on its frontier' * (i in measured)}")
    lines += [
        f"rank agreement with {name} (Kendall tau): table {loop.agreement('table', 'compiled')}, "
        f"eager {loop.agreement('eager', 'compiled')}",
        f"frontier: {len(predicted)} by the table, {len(measured)} by {name}, {len(measured & predicted)} on both",
    ]
    if loop.misled:
        a, b = loop.misled[0]
        compiled = loop.ms["compiled"]
        lines.append(
            f"the table misled in {len(loop.misled)} pairs, most where it calls {loop.points[a].architecture} faster "
            f"than {loop.points[b].architecture}: {compiled[a]:.3f} and {compiled[b]:.3f} ms in {name}"
        )
    else:
        lines.append("the table misled in no pair whose latencies are surely apart")
    lines += [f"table: {loop.table_card}", f"{name}: {loop.compiled[0].card}"]
    lines.append(f"these two differ in {', '.join(loop.unlike)}" if loop.unlike else "these two are alike")
    if loop.fused:
        heading = (
            f"{len(loop.fused)} layers of PyTorch became {loop.nodes} nodes in ONNX Runtime, each of these into one:"
        )
        lines += [heading, *(f"  {row}" for row in loop.fused)]
    if loop.engine_layers:
        lines.append(f"in {name} they are {len(loop.engine_layers)} layers: {', '.join(loop.engine_layers)}")
    return "\n".join(lines)


def _engine_layers(network: Network, example: Tensor, runtime: Runtime, device: str | torch.device) -> tuple[str, ...]:
    """Names of what `network` becomes in TensorRT; () for another runtime."""
    if not isinstance(runtime, TensorRT):
        return ()
    engine = tensorrt_engines.build(onnx_bytes(network, example), flavour=runtime.flavour)
    return tuple(layer["Name"] for layer in tensorrt_engines.EngineRun(engine, device).layers())


def _to_evaluate(space: SearchSpace, chosen: Architecture, seed: int) -> list[Architecture]:
    if space.size <= SCAN:
        return list(space)
    neighbours = [
        space.architecture((*chosen.ops[:s], op, *chosen.ops[s + 1 :]))
        for s, slot in enumerate(space.slots)
        for op in slot
    ]
    found = dict.fromkeys([chosen, *neighbours][:SCAN])
    generator = torch.Generator().manual_seed(seed)
    while len(found) < SCAN:
        found.update(dict.fromkeys(space.sample(SCAN - len(found), generator)))
    return list(found)
