"""Which network to train next: where a Gaussian process of the trained errors expects most, within the limit.

Shared weights hardly rank networks of one latency, and a training costs a minute. So every training also teaches a
surrogate, which predicts the errors of all others from the candidates that they share, and the next network is the one
with the largest expected improvement. Between trainings the search over architectures is free: the latency table and
the surrogate are all that it asks.

Shapes: N trained networks, M others, S slots, K candidates.
"""

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from labkit.blackbox.gaussian_process import Array, GaussianProcess, Rows
from labkit.blackbox.model import expected_improvement
from labkit.blackbox.proposer import fresh, mutations, neighbours, uniform
from labkit.estimators.distributions import ArchDistribution
from labkit.latency.distribution import LatencyDistribution, LatencyModel
from labkit.latency.table import LatencyTable
from labkit.oneshot.config import SearchConfig
from labkit.oneshot.proposals import NEAR
from labkit.spaces import Architecture, SearchSpace

POOL = 256  # candidates of each kind, from which the climb starts
CLIMBS = 8  # of them, the most promising, are changed slot by slot
STEPS = 20  # of a climb at most; most end after five


@dataclass(frozen=True, eq=False)
class Surrogate:
    """Trained networks and the Gaussian process of their errors.

    Attributes:
        space: the search space.
        rows: (N, S) trained networks as indices of candidates; one that was trained twice is there twice.
        errors: (N,) validation errors.
    """

    space: SearchSpace
    rows: Rows
    errors: Array

    @classmethod
    def of(cls, space: SearchSpace, trained: Iterable[tuple[Architecture, float]]) -> "Surrogate":
        """Collect trainings.

        Args:
            space: the search space.
            trained: networks and validation errors, at least two.

        Returns:
            The surrogate.
        """
        networks, errors = zip(*trained)
        return cls(space, as_rows(space, networks), np.array(errors, dtype=np.float64))

    @cached_property
    def process(self) -> GaussianProcess:
        """The process, whose correlation and noise fit the errors best."""
        return GaussianProcess.fit(self.rows, self.errors)

    def predict(self, networks: Sequence[Architecture]) -> tuple[Array, Array]:
        """Predict errors without the noise of a training.

        Args:
            networks: M networks, trained or not.

        Returns:
            (M,) means and (M,) standard deviations.
        """
        return self.process.predict(as_rows(self.space, networks))


def as_rows(space: SearchSpace, networks: Iterable[Architecture]) -> Rows:
    """Write architectures as indices of candidates.

    Args:
        space: the search space.
        networks: M architectures.

    Returns:
        (M, S) indices.
    """
    places = [{name: k for k, name in enumerate(slot)} for slot in space.slots]
    rows = [[place[op] for place, op in zip(places, network.ops)] for network in networks]
    return np.array(rows, dtype=np.int64).reshape(-1, len(space.slots))


def next_networks(
    surrogate: Surrogate,
    configs: Sequence[SearchConfig],
    table: LatencyTable,
    n: int,
    *,
    taken: Set[Architecture] = frozenset(),
    seed: int = 0,
) -> list[Architecture]:
    """Choose the networks to train next, in turn for each config.

    A network that is chosen counts as trained, with the error that is predicted for it, when the next one is.

    Args:
        surrogate: of the trained networks.
        configs: one for each result of a search, with its limit or its latency weight.
        table: latency of the operations.
        n: how many networks.
        taken: networks that are trained already; those of the surrogate are known.
        seed: of the candidates.

    Returns:
        At most `n` different networks, fewer where no other is in time.
    """
    space, process = surrogate.space, surrogate.process
    seen = set(map(bytes, surrogate.rows)) | set(map(bytes, as_rows(space, taken)))
    chosen: list[Architecture] = []
    rows, errors = surrogate.rows, surrogate.errors
    for turn in range(n):
        aim = _Aim(configs[turn % len(configs)], table, space)
        rng = np.random.default_rng((seed, len(rows), turn))
        best = _best(aim, process, rows, seen, rng)
        if best is None:
            continue
        rows, errors = np.concatenate([rows, best[None]]), np.append(errors, process.predict(best[None])[0])
        process = GaussianProcess.given(rows, errors, process.rho, process.noise)
        seen.add(best.tobytes())
        chosen.append(space.architecture(slot[k] for slot, k in zip(space.slots, best)))
    return chosen


def at_random(
    space: SearchSpace,
    configs: Sequence[SearchConfig],
    table: LatencyTable,
    n: int,
    *,
    seed: int = 0,
    taken: Set[Architecture] = frozenset(),
) -> list[Architecture]:
    """Draw networks for a surrogate to learn from, uniform among those just inside the limit of each config in turn.

    Args:
        space: the search space.
        configs, table, n, taken, seed: as in `next_networks`.

    Returns:
        At most `n` different networks.
    """
    seen, chosen = set(map(bytes, as_rows(space, taken))), []
    for turn in range(n):
        drawn = _Aim(configs[turn % len(configs)], table, space).drawn(16, np.random.default_rng((seed, turn)))
        for row in fresh(drawn, seen)[:1]:
            seen.add(row.tobytes())
            chosen.append(space.architecture(slot[k] for slot, k in zip(space.slots, row)))
    return chosen


@dataclass(frozen=True, eq=False)
class _Aim:
    """The limit and the latency cost of one config."""

    config: SearchConfig
    table: LatencyTable
    space: SearchSpace

    def ms(self, rows: Rows) -> Array:
        """Milliseconds (M,) by the table."""
        width = self.table.matrix.shape[1]
        return self.table(torch.eye(width, dtype=torch.float64)[torch.from_numpy(rows)]).numpy()

    def in_time(self, rows: Rows) -> Rows:
        """The rows that meet the limit."""
        limit = self.config.limit_ms
        return rows if limit is None or not len(rows) else rows[self.ms(rows) <= limit * (1 + 1e-12)]

    def cost(self, rows: Rows) -> Array:
        """What the latency of the rows costs (M,), in the unit of errors."""
        return self.config.latency_cost(torch.from_numpy(self.ms(rows))).double().numpy() * np.ones(len(rows))

    def drawn(self, n: int, rng: np.random.Generator) -> Rows:
        """Random rows, just inside the limit if there is one."""
        mask = self.space.mask.numpy()
        limit = self.config.limit_ms
        if limit is None:
            return uniform(mask, n, rng)
        model, generator = LatencyModel(self.table), torch.Generator().manual_seed(int(rng.integers(2**31)))
        spread = LatencyDistribution(model, ArchDistribution(self.space).probs())
        most = min(limit, model.range_ms()[1])
        return as_rows(self.space, spread.draw(self.space, n, NEAR * most, limit, generator))


def _best(aim: _Aim, process: GaussianProcess, rows: Rows, seen: set[bytes], rng: np.random.Generator) -> Rows | None:
    """The row (S,) with the largest expected improvement that was found; None where every row in time was seen."""
    mask, inside = aim.space.mask.numpy(), aim.in_time(rows)
    value = lambda several: process.predict(several)[0] + aim.cost(several)
    least = value(inside).min() if len(inside) else np.inf

    def merit(several: Rows) -> Array:
        mean, spread = process.predict(several)
        mean = mean + aim.cost(several)
        return expected_improvement(mean, spread, least) if np.isfinite(least) else -mean

    pools = [aim.drawn(POOL, rng)]
    if len(inside):
        parents = inside[np.argsort(value(inside), kind="stable")[:CLIMBS]]
        pools.append(aim.in_time(mutations(parents, mask, POOL, rng)))
    pool = fresh(np.concatenate(pools), seen)
    if not len(pool):
        return None
    at = pool[np.argsort(-merit(pool), kind="stable")[:CLIMBS]]
    for _ in range(STEPS):
        near = fresh(aim.in_time(np.concatenate([neighbours(row, mask) for row in at])), seen)
        known = fresh(np.concatenate([at, near]), set())
        better = known[np.argsort(-merit(known), kind="stable")[:CLIMBS]]
        if np.array_equal(better, at):
            break
        at = better
    return at[0]
