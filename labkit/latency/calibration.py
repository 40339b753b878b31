"""Correct a latency table by networks that were timed whole.

A part that is timed alone is neither fused with its neighbours nor kept in a cache by them, so a sum of parts is often
off by a common factor, and for some candidates by more. The corrected table is still a sum over the slots: a deadline,
the distribution of the latency of a policy, and a control variate use it as they use the measured one.

In shapes: N networks, S slots, K candidates.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from labkit.latency.additivity import Timed
from labkit.latency.cards import Timing
from labkit.latency.predictors import LinearResidual
from labkit.latency.table import EdgeTimings, LatencyTable, shipped_table
from labkit.spaces import SearchSpace

LEAST_MS = 1e-6  # a timing is positive; this is less than any clock resolves


def calibrated(table: LatencyTable, space: SearchSpace, timed: Sequence[Timed]) -> LatencyTable:
    """Correct every part of a table so that its sums fit networks that were timed whole.

    The sum is scaled and shifted by least squares. Ridge regression then adds milliseconds to each candidate as far as
    leave-one-out errors justify it.

    Args:
        table: of the space, measured part by part.
        space: the search space.
        timed: at least 10 networks, timed under the conditions of the table.

    Returns:
        A table with the card of `table`, of origin "predicted".

    Raises:
        InputError: the table is of another space, there are too few networks, or a time is no positive number.
    """
    table.check(space)
    ms = [(t.measured_ms + t.again_ms) / 2 for t in timed]
    fitted = LinearResidual.fit(space, table, [t.architecture for t in timed], ms)
    factor = max(fitted.scaled.factor, 0.0)
    extra, constant = _without_negatives(factor * table.matrix, fitted.coefficients.reshape(table.matrix.shape), table)
    fixed_ms = factor * table.overhead_ms + fitted.scaled.constant + fitted.constant + constant
    floor = _timing(LEAST_MS, table.floor)
    of_part = lambda ms, timing: _timing(ms + LEAST_MS, timing)
    own = lambda timing: factor * table._ms(timing)
    return replace(
        table,
        card=replace(table.card, origin="predicted"),
        floor=floor,
        fixed=(("all that is fixed", of_part(max(fixed_ms - LEAST_MS, LEAST_MS), table.floor)),),
        slots=tuple(
            tuple(
                (name, None if timing is None else of_part(own(timing) + extra[s, k].item(), timing))
                for k, (name, timing) in enumerate(slot)
            )
            for s, slot in enumerate(table.slots)
        ),
        edges=tuple(EdgeTimings(e.terms, tuple((n, of_part(own(t), t)) for n, t in e.ops)) for e in table.edges),
    )


def report_of(table: str | Path) -> Path:
    """Find the report that `latency build` wrote with a table.

    Args:
        table: its file, or its name without .json among the shipped tables.

    Returns:
        The file T.additivity.json of T.json, which may be missing.

    Raises:
        InputError: there is no table of this name.
    """
    path = Path(table)
    if not path.exists() and path.suffix != ".json":
        path = shipped_table(path.as_posix())
    return path.with_suffix(".additivity.json")


def _without_negatives(scaled: Tensor, extra: Tensor, table: LatencyTable) -> tuple[Tensor, float]:
    """The (S, K) milliseconds to add, shifted within each slot so that none is negative, and the sum of the shifts."""
    if table.edges:  # whose slots hold no milliseconds of their own: only the scale is corrected
        return torch.zeros_like(extra), 0.0
    extra, total = extra.clone(), 0.0
    for s, slot in enumerate(table.slots):
        least = min(0.0, (scaled[s, : len(slot)] + extra[s, : len(slot)]).min().item())
        extra[s] -= least
        total += least
    return extra, total


def _timing(ms: float, like: Timing) -> Timing:
    """A predicted timing, as relatively spread as the measured one."""
    return Timing(ms, ms, like.spread_ms * ms / like.median_ms, like.n)
