"""The second stage: the distribution of a search proposes architectures, and separate training decides.

Shared weights separate good architectures from bad ones, but hardly rank the good ones. So the most probable
architectures are evaluated with the shared weights, and the best of them are trained for a short while, each on its own
copy of those weights. Every rung trains half as many for twice as long (successive halving, Jamieson and Talwalkar
2016). The finalists are trained from scratch, and the best of them once more from other first weights: the result of
one training is partly chance, and the mean of two less so. The whole cost is counted.

With shared weights, and even after a short training, errors differ more than after a full training, so a latency weight
counts too little there; nobody knows by how much. So each result sends on the best under several stretches of the
errors in turn, see `SelectionConfig.stretches`. Without a latency cost all stretches agree.

On pictures neither shared weights nor a short training order networks of one latency, and a full training is dear.
There a surrogate learns from the finalists and chooses further networks to train, see `surrogate` and
`SelectionConfig.surrogate`. In the end its prediction decides among the trained ones, for it has less noise than one
training.

The results of a sweep prefer much the same networks. In the end each chooses among all that were trained, so each sends
on the best that no other has sent on: as many different networks are trained as one search per weight would train, and
all of them count for every weight.
"""

import itertools
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from labkit.data import ImageSet
from labkit.estimators.distributions import ArchDistribution
from labkit.latency.distribution import LatencyModel
from labkit.latency.table import LatencyTable
from labkit.networks.parallel import Job, train_all
from labkit.networks.supernet import Supernet, derive, weights_hash
from labkit.networks.training import TrainConfig, error, train
from labkit.oneshot.config import SelectionConfig
from labkit.oneshot.evaluation import cheapest, evaluate
from labkit.oneshot.proposals import just_inside
from labkit.oneshot.searching import SearchResult
from labkit.oneshot.surrogate import Surrogate, at_random, next_networks
from labkit.pareto import Point
from labkit.spaces import Architecture, SearchSpace
from labkit.system import storage
from labkit.system.errors import InputError

LOOK = 1_000  # most probable architectures among which those in time are looked for
NEXT_SEED = 1_000_003  # from one training of a network to the next: far from the seeds that other searches have


@dataclass(frozen=True)
class Round:
    """One kind of training, and how many architectures each result sends to it."""

    networks: int
    images: int
    training: TrainConfig
    first_weights: Supernet | SearchSpace  # a copy of the shared ones, or fresh ones
    error_from: str  # as a point has it
    stretches: tuple[float, ...]  # of the errors by which who enters is chosen
    run: int = 0  # how many rounds before it trained the same way from another seed: all of them make a point
    surrogate: int = 0  # more networks, which a surrogate of the trained ones chooses one batch after the other
    batch: int = 1  # of those

    @property
    def proposed(self) -> int:
        """Networks that each result proposes; the others of a surrogate's first ones are random."""
        return (self.networks + 1) // 2 if self.surrogate else self.networks


Trained = dict[tuple[Architecture, Round], tuple[float, float]]  # validation error, and seconds that it took


def select(
    found: Sequence[SearchResult],
    data: ImageSet,
    table: LatencyTable,
    config: SelectionConfig = SelectionConfig(),
    *,
    trained: Trained | None = None,
    workers: int | None = None,
    log: str | Path | None = None,
    on_round: Callable[[int, tuple[Point, ...]], None] | None = None,
) -> tuple[SearchResult, ...]:
    """Run the second stage of one search, or of one sweep.

    No two results have the same network trained, and each chooses among all networks of the last round. The error of
    the chosen one is on validation images.

    Args:
        found: results with the same shared weights.
        data: images of the search.
        table: latency of the operations.
        config: numbers of architectures and recipes.
        trained: trainings of other selections from the same shared weights. They are looked up, counted at their cost,
            and extended.
        workers: processes that train the finalists, one at a time each; by default one per core.
        log: a file of JSON lines. Every training is written to it; the same call resumes from it.
        on_round: called with the number of a round, from 0, and its trained points.

    Returns:
        Each result again, with the architecture that was chosen, all trained points in `evaluated`, and its share of
        the added cost.

    Raises:
        InputError: `found` is empty or mixes different shared weights, or the log is of another selection.
    """
    if not found:
        raise InputError("a selection needs at least one search result")
    started, supernet = time.perf_counter(), found[0].supernet
    if any(result.supernet is not supernet for result in found):
        raise InputError("results of different shared weights cannot be selected together: select each by itself")
    proposed = [_proposed(result, table, config) for result in found]
    everyone = list(dict.fromkeys(itertools.chain(*proposed)))
    # All results have one evaluating recipe: they come from one search or sweep.
    scanned = {p.architecture: p for result in found for p in _scanned(result)}
    unknown = [architecture for architecture in everyone if architecture not in scanned]
    scanned |= {p.architecture: p for p in evaluate(supernet, unknown, data, table, found[0].config)}
    passes = len(unknown) * (found[0].config.evaluation_images + found[0].config.calibration_images)

    stages = rounds(config, supernet, data)
    trainings = _Trainings({} if trained is None else trained, data, found[0].config.seed, workers, log)
    if log is not None:
        trainings.trained |= _resumed(Path(log), found[0], data, config, stages)
    left = [[scanned[a] for a in own] for own in proposed]  # whom each result may send on
    evaluated: dict[Architecture, Point] = {}  # as last trained
    for number, round in enumerate(stages):
        entered = _sent_on(found, left, round.proposed, round.stretches)
        if round.surrogate:  # which learns more from networks that have less in common
            configs, n = [result.config for result in found], round.networks * len(found) - len(entered)
            entered += at_random(supernet.space, configs, table, n, taken=set(entered), seed=found[0].config.seed)
        trainings.train(entered, number, round)
        runs = stages[number - round.run : number + 1]
        wanted = len(entered) + round.surrogate
        while len(entered) < wanted:
            n, errors = min(round.batch, wanted - len(entered)), trainings.errors(entered, runs)
            if not (more := _expected_best(found, table, errors, n)):
                break
            trainings.train(more, number, round)
            entered += more
        mean = {a: statistics.fmean(trainings.trained[a, run][0] for run in runs) for a in entered}
        points = {a: Point(a, mean[a], table.table_ms(a), round.error_from) for a in entered}
        passes += len(entered) * (3 * round.images * round.training.epochs + len(data.valid))
        evaluated |= points
        if config.surrogate and round.error_from == "trained":  # it knows more of a network than its own trainings do
            everything = trainings.errors(evaluated, stages)
            predicted, _ = Surrogate.of(supernet.space, everything).predict(entered)
            points = {a: replace(points[a], error=float(error)) for a, error in zip(entered, predicted)}
        left = [[p for p in points.values() if _in_time(p.latency_ms, result)] for result in found]
        if on_round is not None:
            on_round(number, tuple(evaluated[a] for a in entered))
    seconds = time.perf_counter() - started + trainings.looked_up
    return tuple(
        replace(
            result,
            point=evaluated[cheapest(own, result.config).architecture],
            evaluated=tuple(evaluated.values()),
            passes=result.passes + passes / len(found),
            seconds=result.seconds + seconds / len(found),
            selection=config,
        )
        for result, own in zip(found, left)
    )


def rounds(config: SelectionConfig, supernet: Supernet, data: ImageSet) -> tuple[Round, ...]:
    """The rounds of a selection: rungs, each with half as many networks and twice as many images, then the finals.

    Args:
        config: numbers and recipes.
        supernet: first weights of the rungs.
        data: images.

    Returns:
        The rounds, in order.
    """
    whole, networks, made = len(data.train), config.entrants, []
    for rung in range(config.rungs):
        images = min(config.images << rung, whole)
        made.append(Round(networks, images, config.training, supernet, "short training", config.stretches))
        networks = (networks + 1) // 2
    if config.final is not None:
        final = Round(
            config.finalists,
            whole,
            config.final,
            supernet.space,
            "trained",
            config.stretches,
            surrogate=config.surrogate,
            batch=config.batch,
        )
        made.append(final)
        if config.again:  # by errors as they are in the end, so nothing is stretched
            made.append(replace(final, networks=config.again, stretches=(1.0,), run=1, surrogate=0))
    return tuple(made)


@dataclass
class _Trainings:
    """What was trained, on what, and what it took. Every training is written to the log."""

    trained: Trained
    data: ImageSet
    seed: int
    workers: int | None
    log: str | Path | None
    looked_up: float = 0.0  # seconds of trainings that were known

    def train(self, entered: Sequence[Architecture], number: int, round: Round) -> None:
        """Train those of a round that are not known, and count the seconds of those that are."""
        self.looked_up += sum(self.trained[a, round][1] for a in entered if (a, round) in self.trained)
        missing = [a for a in entered if (a, round) not in self.trained]
        errors, spent = {}, 0.0
        for architecture, wrong, seconds in _train(missing, round, self.data, self.seed, self.workers):
            errors[architecture], spent = wrong, spent + seconds
            if self.log is not None:
                row = {"round": number, "ops": str(architecture), "error": wrong, "seconds": seconds}
                storage.append_line(self.log, row)
        self.trained |= {(a, round): (wrong, spent / len(errors)) for a, wrong in errors.items()}

    def errors(self, networks: Iterable[Architecture], runs: Sequence[Round]) -> list[tuple[Architecture, float]]:
        """Every training in full of these networks, in some of the rounds."""
        full = [run for run in runs if run.error_from == "trained"]
        return [(a, self.trained[a, run][0]) for a in networks for run in full if (a, run) in self.trained]


def _expected_best(
    found: Sequence[SearchResult], table: LatencyTable, errors: Sequence[tuple[Architecture, float]], n: int
) -> list[Architecture]:
    """The next networks, where a surrogate expects the largest improvement of each result in turn."""
    surrogate = Surrogate.of(found[0].supernet.space, errors)
    return next_networks(surrogate, [result.config for result in found], table, n, seed=found[0].config.seed)


def _train(
    architectures: Sequence[Architecture], round: Round, data: ImageSet, seed: int, workers: int | None
) -> Iterator[tuple[Architecture, float, float]]:
    """Each as it is finished, its validation error after the round's training, and the seconds since the one before.

    Short trainings follow each other on all cores, which is over sooner than processes have begun; long ones have a
    core each.
    """
    last, part = time.perf_counter(), replace(data, train=data.train[: round.images])
    seed += NEXT_SEED * round.run

    def since_last() -> float:
        nonlocal last
        before, last = last, time.perf_counter()
        return last - before

    if isinstance(round.first_weights, SearchSpace) and data.train.pixels.device.type == "cpu":
        space = round.first_weights
        for row in train_all([Job(a, seed) for a in architectures], space, part, round.training, workers):
            yield space.architecture(row["ops"]), 1 - row["valid_accuracy"], since_last()
    else:
        for architecture in architectures:
            network = derive(round.first_weights, architecture, seed=seed).to(data.train.pixels.device)
            train(network, part, replace(round.training, seed=seed), validate="at the end")
            yield architecture, error(network, data.valid), since_last()


def _resumed(
    log: Path, result: SearchResult, data: ImageSet, config: SelectionConfig, stages: Sequence[Round]
) -> Trained:
    """What an earlier call with these arguments has trained."""
    of = {"shared weights": weights_hash(result.supernet), "images": data.digest, "seed": result.config.seed}
    of |= {"selection": asdict(config)}
    rows, space = storage.resume_log(log, of, "selection"), result.supernet.space
    try:
        return {(space.architecture(row["ops"]), stages[row["round"]]): (row["error"], row["seconds"]) for row in rows}
    except (KeyError, IndexError, TypeError) as problem:
        raise InputError(f"{log} is damaged: {type(problem).__name__} {problem}") from None


def _scanned(result: SearchResult) -> tuple[Point, ...]:
    """What was evaluated on the shared weights before."""
    return tuple(p for p in result.evaluated if p.error_from == "supernet")


def _proposed(result: SearchResult, table: LatencyTable, config: SelectionConfig) -> list[Architecture]:
    """The most probable architectures; under a limit those just inside it by the table. The search's own choice first.

    Where so many were evaluated already, as by a random search, the cheapest of those.
    """
    scanned = [p for p in _scanned(result) if _in_time(p.latency_ms, result)]
    if len(scanned) >= config.scan:
        return _sent_on([result], [scanned], config.scan, config.stretches)
    dist = ArchDistribution(result.supernet.space, result.config.softening)
    with torch.no_grad():
        dist.logits.copy_(result.logits)
    likely = itertools.islice(dist.by_probability(), LOOK)
    fit: Iterable[Architecture] = (a for a in likely if _in_time(table.table_ms(a), result))
    if result.config.limit_ms is not None:
        generator = torch.Generator().manual_seed(result.config.seed)
        inside = just_inside(dist, LatencyModel(table), result.config.limit_ms, config.scan, generator)
        fit = itertools.chain(inside, fit)
    return list(itertools.islice(dict.fromkeys(itertools.chain([result.architecture], fit)), config.scan))


def _in_time(ms: float, result: SearchResult) -> bool:
    return result.config.limit_ms is None or ms <= result.config.limit_ms


def _sent_on(
    found: Sequence[SearchResult], own: Sequence[Sequence[Point]], n: int, stretches: Sequence[float]
) -> list[Architecture]:
    """`n` of each result's `own`, or as many as there are: the results take turns, with the best that none has taken.

    Best by error plus latency cost; errors are stretched by each of `stretches` in turn.
    """
    taken: dict[Architecture, None] = {}
    for stretch in itertools.islice(itertools.cycle(stretches), n):
        for result, points in zip(found, own):
            config = replace(result.config, latency_weight=stretch * (result.config.latency_weight or 0.0))
            if free := [p for p in points if p.architecture not in taken]:
                taken[cheapest(free, config).architecture] = None
    return list(taken)
