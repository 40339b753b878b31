"""Baselines of black-box search: random, evolution, mutation of the archive, local search, and samplers of Optuna."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labkit.blackbox.gaussian_process import Array, Rows
from labkit.blackbox.proposer import INITIAL, Goal, fresh, mutations, neighbours, parents, scalar, uniform, unseen
from labkit.spaces import Choices
from labkit.system.errors import InputError

LATE = 1e6  # above any cost
REPEATS = 5  # proposals of a library that are known already, after which it has had its turn


class Random:
    """Proposes different architectures, uniformly."""

    def __init__(self, space: Choices, goal: Goal, seed: int):
        self.mask, self.seed = space.mask.numpy(), seed

    def propose(self, rows: Rows, costs: Array) -> Rows:
        return unseen(uniform, rows, self.mask, np.random.default_rng((self.seed, len(rows))))


class Evolution:
    """Regularised evolution (Real et al. 2019): the best of 10 drawn from the last 50 has a child; the oldest die.

    The weighting of two costs is drawn for every tournament.

    Args:
        space: The choices.
        goal: The goal of the search.
        seed: Of all draws.
        population: Trials that are alive.
        tournament: Trials that are drawn, of which the best has a child.
    """

    def __init__(self, space: Choices, goal: Goal, seed: int, *, population: int = 50, tournament: int = 10):
        self.mask, self.goal, self.seed = space.mask.numpy(), goal, seed
        self.population, self.tournament = population, tournament

    def propose(self, rows: Rows, costs: Array) -> Rows:
        rng = np.random.default_rng((self.seed, len(rows)))
        if len(rows) < self.population // 2:
            return unseen(uniform, rows, self.mask, rng)
        alive = np.arange(max(0, len(rows) - self.population), len(rows))
        drawn = rng.choice(alive, size=min(self.tournament, len(alive)), replace=False)
        share = rng.random()
        cost = scalar(costs, self.goal, np.array([share, 1 - share])[: costs.shape[1]])
        parent = rows[[drawn[cost[drawn].argmin()]]]
        return unseen(lambda mask, n, rng: mutations(parent, mask, n, rng, most=1), rows, self.mask, rng)


class ArchiveMutation:
    """Mutates a random trial of the front in one slot or in two."""

    def __init__(self, space: Choices, goal: Goal, seed: int):
        self.mask, self.goal, self.seed = space.mask.numpy(), goal, seed

    def propose(self, rows: Rows, costs: Array) -> Rows:
        rng = np.random.default_rng((self.seed, len(rows)))
        if len(rows) < INITIAL:
            return unseen(uniform, rows, self.mask, rng)
        best = parents(rows, costs, self.goal, most=3)
        return unseen(lambda mask, n, rng: rng.permutation(mutations(best, mask, n, rng)), rows, self.mask, rng)


class LocalSearch:
    """Evaluates the neighbours of an architecture in random order, and moves to the first better one.

    A neighbour differs in one slot. Where none is better, a new start is drawn, with a new weighting of two costs.
    """

    def __init__(self, space: Choices, goal: Goal, seed: int):
        self.mask, self.goal, self.seed = space.mask.numpy(), goal, seed

    def propose(self, rows: Rows, costs: Array) -> Rows:
        rng = np.random.default_rng((self.seed, len(rows)))
        around = self._around(rows, costs)
        return rng.permutation(around)[:1] if len(around) else unseen(uniform, rows, self.mask, rng)

    def _around(self, rows: Rows, costs: Array) -> Rows:
        """(N, S) what is unseen around the place that the trials have led to; empty where a new start is due."""
        seen: set[bytes] = set()
        centre, starts, around = None, 0, rows[:0]
        for i, row in enumerate(rows):
            seen.add(bytes(row))
            if centre is None:
                share = np.random.default_rng((self.seed, 0, starts)).random()
                value = scalar(costs, self.goal, np.array([share, 1 - share])[: costs.shape[1]])
                starts += 1
            if centre is None or value[i] < value[centre]:
                centre, around = i, neighbours(row, self.mask)
            around = fresh(around, seen)
            if not len(around):
                centre = None
        return around


class Library:
    """A sampler of Optuna. A proposal that is known already is skipped, so that nothing is evaluated twice.

    After `REPEATS` known proposals in a row the next architecture is drawn at random.

    Args:
        space: The choices.
        goal: The goal of the search.
        seed: Of all draws.
        sampler: "nsga2" or "tpe".

    Raises:
        InputError: Optuna is not installed.
    """

    def __init__(self, space: Choices, goal: Goal, seed: int, sampler: str):
        try:
            import optuna
        except ImportError:
            raise InputError("nsga2 and tpe are Optuna's: pip install labkit[baselines]") from None
        self.optuna, self.sampler = optuna, sampler
        self.space, self.mask, self.goal, self.seed = space, space.mask.numpy(), goal, seed
        self.names = [f"slot {s}" for s in range(len(space.slots))]
        self.told: dict[bytes, Array] = {}
        self.study: Any = None  # until the first costs say how many objectives there are
        self.waiting: tuple[Any, NDArray[np.int64]] | None = None  # a proposal whose cost is not known yet

    def propose(self, rows: Rows, costs: Array) -> Rows:
        if not len(rows):
            return uniform(self.mask, 1, np.random.default_rng(self.seed))
        known = {bytes(row): self._values(cost) for row, cost in zip(rows, costs)}
        if self.study is None:
            self.study = self._study(len(known[bytes(rows[0])]))
            self._add(rows[0], known[bytes(rows[0])])
        again = 0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is experimental in Optuna
            while True:  # after a stop this repeats all that was proposed before it
                trial, row = self.waiting or (self._ask() if again < REPEATS else self._any())
                if bytes(row) not in known:
                    self.waiting = trial, row
                    return row[None]
                self.waiting = None
                if bytes(row) in self.told:
                    again += 1
                    self.study.tell(trial, state=self.optuna.trial.TrialState.FAIL)
                    continue
                again = 0
                self.told[bytes(row)] = known[bytes(row)]
                if trial is None:
                    self._add(row, known[bytes(row)])
                else:
                    self.study.tell(trial, list(known[bytes(row)]))

    def _study(self, objectives: int):
        self.optuna.logging.set_verbosity(self.optuna.logging.ERROR)
        samplers = self.optuna.samplers
        make = {"nsga2": lambda: samplers.NSGAIISampler(seed=self.seed, population_size=20),
                "tpe": lambda: samplers.TPESampler(seed=self.seed, multivariate=True)}  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return self.optuna.create_study(directions=["minimize"] * objectives, sampler=make[self.sampler]())

    def _values(self, cost: Array) -> Array:
        """Return what the sampler minimises: under a deadline one cost, in which late trials cost the most."""
        if self.goal.deadline is None:
            return cost
        late = max(0.0, cost[1] - self.goal.deadline)
        return np.array([LATE + late if late else cost[0]])

    def _ask(self):
        trial = self.study.ask()
        picked = [trial.suggest_categorical(name, range(len(slot))) for name, slot in zip(self.names, self.space.slots)]
        return trial, np.array(picked, dtype=np.int64)

    def _any(self):
        told = np.array([np.frombuffer(row, dtype=np.int64) for row in self.told])
        return None, unseen(uniform, told, self.mask, np.random.default_rng((self.seed, len(told))))[0]

    def _add(self, row: NDArray[np.int64], values: Array) -> None:
        """A trial that the sampler did not ask for."""
        self.told[bytes(row)] = values
        choices = [self.optuna.distributions.CategoricalDistribution(range(len(slot))) for slot in self.space.slots]
        made = self.optuna.trial.create_trial(
            params=dict(zip(self.names, map(int, row))),
            distributions=dict(zip(self.names, choices)),
            values=list(values),
        )
        self.study.add_trial(made)
