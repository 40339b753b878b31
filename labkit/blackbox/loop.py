"""Minimise any Python cost over factorised choices with few calls: a table, a simulator, a stopwatch."""

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from labkit.blackbox.baselines import ArchiveMutation, Evolution, Library, LocalSearch, Random
from labkit.blackbox.model import Model
from labkit.blackbox.policy import Policy
from labkit.blackbox.proposer import Goal, Proposer
from labkit.pareto import Frontier, Point, frontier_rows
from labkit.spaces import Architecture, Choices
from labkit.system import storage
from labkit.system.errors import InputError, unknown
from labkit.system.interrupts import Stopped

ProposerMaker = Callable[[Choices, Goal, int], Proposer]  # its rows are those of the trials so far
METHODS: dict[str, ProposerMaker] = {
    "model": Model,
    "policy": Policy,
    "random": Random,
    "evolution": Evolution,
    "archive-mutation": ArchiveMutation,
    "local-search": LocalSearch,
    "nsga2": functools.partial(Library, sampler="nsga2"),
    "tpe": functools.partial(Library, sampler="tpe"),
}
LIBRARY = ("nsga2", "tpe")  # Optuna's, where it is installed
Cost = Callable[[Architecture], float | tuple[float, float]]
Worst = float | Sequence[float | None] | NDArray[np.floating] | None


@dataclass(frozen=True)
class Trial:
    """One call of the black box.

    Attributes:
        architecture: What was evaluated.
        costs: One cost, or error fraction and milliseconds.
    """

    architecture: Architecture
    costs: tuple[float, ...]


@dataclass(frozen=True)
class Optimum:
    """All trials of a search, and the best of them.

    Attributes:
        space: The choices.
        method: Name of the method, or `module:name` of a proposer.
        trials: In the order of the calls.
        seconds: Of proposing, without the calls themselves.
        deadline_ms: Limit of the second cost; None without one.
    """

    space: Choices
    method: str
    trials: tuple[Trial, ...]
    seconds: float
    deadline_ms: float | None = None

    @property
    def front(self) -> tuple[Trial, ...]:
        """The non-dominated trials in rising order of the first cost; of one objective, the best."""
        return tuple(self.trials[i] for i in frontier_rows(np.array([trial.costs for trial in self.trials])))

    @property
    def best(self) -> Trial:
        """The trial of the least first cost; with a deadline, of those in time. InputError where none is in time."""
        in_time = [t for t in self.trials if self.deadline_ms is None or t.costs[1] <= self.deadline_ms]
        if not in_time:
            fastest = min(t.costs[1] for t in self.trials)
            raise InputError(
                f"none of {len(self.trials)} evaluated is within {self.deadline_ms:g} ms; the fastest takes "
                f"{fastest:.3g} ms: more calls, or a later deadline"
            )
        return min(in_time, key=lambda trial: trial.costs)

    @property
    def frontier(self) -> Frontier:
        """The trials as points of error and milliseconds. InputError where the cost is one number."""
        if len(self.trials[0].costs) != 2:
            raise InputError("a frontier needs two objectives: let the cost return (error, ms)")
        of = lambda trial: Point(trial.architecture, trial.costs[0], trial.costs[1], "black box", "black box")
        return Frontier.of(map(of, self.trials))


def optimize(
    space: Choices,
    cost: Cost,
    *,
    calls: int,
    worst: Worst = None,
    deadline_ms: float | None = None,
    method: str | ProposerMaker = "model",
    seed: int = 0,
    log: str | Path | None = None,
    on_trial: Callable[[Trial], None] | None = None,
) -> Optimum:
    """Minimise `cost` over `space` in at most `calls` calls.

    Args:
        space: The choices.
        cost: Of an architecture: one number, or two (error fraction, milliseconds) for the front between them. It may
            be noisy.
        calls: Calls of `cost`, at most.
        worst: The reference point: costs from which on an architecture is worth nothing, such as the error of guessing;
            as many numbers as `cost` returns. None for the largest of the first ten trials. If it is too large, a fast
            network that is always wrong counts as a compromise.
        deadline_ms: Minimise the error within this limit of the second cost instead of searching the front.
        method: "model" proposes by a Gaussian process, for up to some hundred calls; it is not UNAS. "policy" is the
            unbiased gradient estimator with a learned control: it follows a gradient and draws, so it may repeat
                itself, and
            on the recorded tables it finds about as much as random search. The others are baselines; "nsga2" and "tpe"
            are Optuna's (`labkit[baselines]`). An own proposer is passed as (space, goal, seed) -> proposer;
            `labkit.checks.check_proposer` checks it.
        seed: Of all draws.
        log: A file of lines. Every call is written to it; a later run with the same arguments resumes there, exactly as
            if it had not been stopped. It is not checked that `cost` is the same.
        on_trial: Called with each new trial.

    Returns:
        All trials. There are fewer than `calls` when the whole space has been evaluated.

    Raises:
        InputError: An argument or a cost is not what is described here, or `log` is of another search.
        Stopped: An interrupt; the message says whether and how the search resumes.
    """
    if isinstance(method, str) and method not in METHODS:
        raise unknown("methods are", method, METHODS)
    make = METHODS[method] if isinstance(method, str) else method
    method = method if isinstance(method, str) else f"{method.__module__}:{method.__qualname__}"
    if calls < 1:
        raise InputError(f"at least one call is needed; got {calls}")
    if deadline_ms is not None and not (math.isfinite(deadline_ms) and deadline_ms > 0):
        raise InputError(f"a deadline is a positive number of milliseconds; got {deadline_ms}")
    goal = Goal(_worst(worst), deadline_ms)
    trials = [] if log is None else _resumed(Path(log), space, method, seed, goal)
    proposer = make(space, goal, seed)
    started, inside = time.perf_counter(), 0.0
    waiting: list[NDArray[np.int64]] = []
    limit = calls if getattr(proposer, "repeats", False) else min(calls, space.size)
    try:
        while len(trials) < limit:
            if not waiting:
                waiting = list(proposer.propose(*_arrays(space, trials)))
            row = waiting.pop(0)
            architecture = Architecture(space.name, tuple(slot[k] for slot, k in zip(space.slots, row)))
            called = time.perf_counter()
            trial = Trial(architecture, _checked(cost(architecture), architecture, trials, goal))
            inside += time.perf_counter() - called
            if log is not None:
                storage.append_line(log, {"ops": str(architecture), "costs": list(trial.costs)})
            trials.append(trial)
            if on_trial is not None:
                on_trial(trial)
    except KeyboardInterrupt:
        kept = f"the same call resumes from {log}" if log else "nothing is kept: with log= the same call would resume"
        raise Stopped(f"stopped after {len(trials)} of {limit} calls", kept) from None
    seconds = time.perf_counter() - started - inside
    return Optimum(space, method, tuple(trials[:calls]), seconds, deadline_ms)


def _worst(worst: Worst) -> tuple[float | None, ...]:
    """As plain floats: a log holds no others."""
    if worst is None:
        return ()
    try:
        given = tuple(None if x is None else float(x) for x in np.atleast_1d(np.asarray(worst, dtype=object)))
    except (TypeError, ValueError):
        given = (math.nan,)
    if len(given) > 2 or not all(x is None or math.isfinite(x) for x in given):
        raise InputError(
            f"the worst costs are one or two finite numbers, or None for what the trials tell; got {worst}"
        )
    return given


def _arrays(space: Choices, trials: Sequence[Trial]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows (N, S) of candidates' indices, and costs (N, J)."""
    rows = [[slot.index(op) for slot, op in zip(space.slots, trial.architecture.ops)] for trial in trials]
    costs = [trial.costs for trial in trials]
    return np.array(rows, dtype=np.int64).reshape(-1, len(space.slots)), np.array(costs, dtype=float)


def _checked(
    found: float | tuple[float, float], architecture: Architecture, trials: Sequence[Trial], goal: Goal
) -> tuple[float, ...]:
    """The costs as finite floats, as many as the first call returned, or as `goal` asks for."""
    try:
        costs = tuple(np.atleast_1d(np.asarray(found, dtype=float)).tolist())
    except (TypeError, ValueError):
        costs = ()
    wanted = len(trials[0].costs) if trials else 2 if goal.deadline is not None else len(goal.worst) or None
    if len(costs) not in (1, 2) or wanted not in (None, len(costs)) or not all(map(math.isfinite, costs)):
        kind = {
            None: "a finite number, or two: (error, ms)",
            1: "a finite number",
            2: "two finite numbers, (error, ms)",
        }
        raise InputError(f"the cost of {architecture} should be {kind[wanted]}; got {found!r}")
    return costs


def _resumed(log: Path, space: Choices, method: str, seed: int, goal: Goal) -> list[Trial]:
    """The trials of an earlier run with these arguments; the first line says which they were."""
    header = {"space": space.name, "digest": space.digest, "method": method, "seed": seed}
    header |= {"worst": list(goal.worst), "deadline_ms": goal.deadline}
    rows = storage.resume_log(log, header, "search")
    trials: list[Trial] = []
    try:
        for row in rows:
            architecture = space.architecture(row["ops"])
            trials.append(Trial(architecture, _checked(row["costs"], architecture, trials, goal)))
        return trials
    except (KeyError, TypeError, ValueError) as problem:
        raise InputError(f"{log} is damaged: {type(problem).__name__} {problem}") from None
