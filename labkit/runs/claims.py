"""What a report claims: one class per claim, with its sentence and the work that checks it.

The values may come from a stranger's file: nothing is imported for them.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any, ClassVar

import torch

import labkit.data
from labkit import spaces
from labkit.data import ImageSet, Recipe
from labkit.estimators.gradient_estimators import ESTIMATORS
from labkit.latency.cards import Card
from labkit.latency.measuring import card_of, measure
from labkit.latency.table import LatencyTable, shipped_tables
from labkit.networks.complexity import count
from labkit.networks.controls import Control
from labkit.networks.supernet import Supernet, derive, weights_hash
from labkit.networks.training import Diverged, TrainConfig, error, train
from labkit.oneshot.baselines import random_search
from labkit.oneshot.config import SearchConfig, SelectionConfig
from labkit.oneshot.searching import SearchResult, planned_passes, search
from labkit.oneshot.selection import select
from labkit.runs.baseline import built, loaded_device, network_of, verdict
from labkit.spaces import Architecture, SearchSpace
from labkit.stats import Paired, paired
from labkit.system import storage
from labkit.system.device import device_name, ieee_float32, threads
from labkit.system.errors import InputError, unknown

REPRODUCED, DRIFTED, NOT_CHECKED = OUTCOMES = ("reproduced", "drifted", "not checked")
SEARCH_PASSES, TRAIN_IMAGES = 300_000, 100_000  # what is done again unless everything is asked for: about a minute each
LATENCY_WITHIN = 0.10  # of the recorded milliseconds
MOST_NETWORKS = 128  # of one claim that are timed or trained again
MOST_SPREAD = 0.5  # of them, that a recorded spread counts for
REPEATED: Mapping[str, Callable[..., SearchResult]] = {
    "search": search,
    "random search": random_search,
}  # methods that a run holds all ingredients of
Found = tuple[str, str]  # outcome, and what was found


@dataclass(frozen=True)
class Effort:
    """What checking may cost."""

    full: bool = False  # repeat long searches and trainings as well
    download: bool = False  # let torchvision fetch images


class Statement:
    """Base class of the claims. The fields of a subclass are the value of the claim in the report."""

    name: ClassVar[str]
    required: ClassVar[bool] = False  # whether every report makes it

    def sentence(self) -> str:
        """The sentence of the report.

        Returns:
            A sentence made of the fields alone.
        """
        raise NotImplementedError

    def check(self, effort: Effort) -> Found:
        """Repeat the work and compare.

        Args:
            effort: what the check may cost.

        Returns:
            The outcome, one of `OUTCOMES`, and what the check found.

        Raises:
            InputError: the work cannot be repeated here.
        """
        raise NotImplementedError


@dataclass(frozen=True)
class Pictures(Statement):
    """The images that the search learned from."""

    name: ClassVar[str] = "images"
    required: ClassVar[bool] = True
    made_by: Recipe | None
    digest: str
    images: str

    def sentence(self) -> str:
        return f"the images are {self.images} ({self.digest})"

    def check(self, effort: Effort) -> Found:
        return _same(_image_set(self.made_by, effort).digest, self.digest)


@dataclass(frozen=True)
class InSpace(Statement):
    """The space that was searched; it contains the architecture."""

    name: ClassVar[str] = "space"
    required: ClassVar[bool] = True
    space: dict[str, Any]
    ops: list[str]

    def sentence(self) -> str:
        return f"{self.space['name']} is {self.space['digest']}, and holds the architecture"

    def check(self, effort: Effort) -> Found:
        space = spaces.from_record(self.space, imports=False, same=False)
        space.architecture(self.ops)
        return _same(space.digest, self.space["digest"])


@dataclass(frozen=True)
class Size(Statement):
    """The size of the network."""

    name: ClassVar[str] = "complexity"
    required: ClassVar[bool] = True
    space: dict[str, Any]
    ops: list[str]
    parameters: int
    macs: int
    activations: int

    def sentence(self) -> str:
        return f"{self.parameters:,} parameters, {self.macs:,} multiply-accumulates"

    def check(self, effort: Effort) -> Found:
        space, architecture = _architecture(self.space, self.ops)
        claimed = {"parameters": self.parameters, "macs": self.macs, "activations": self.activations}
        found = asdict(count(derive(space, architecture), space.image))
        wrong = [f"{name} {n:,}, not {claimed[name]:,}" for name, n in found.items() if n != claimed[name]]
        return (DRIFTED, "; ".join(wrong)) if wrong else (REPRODUCED, "counted again")


@dataclass(frozen=True)
class ByTable(Statement):
    """The latency of the architecture by the table."""

    name: ClassVar[str] = "table"
    required: ClassVar[bool] = True
    space: dict[str, Any]
    ops: list[str]
    table: dict[str, Any]
    ms: float

    def sentence(self) -> str:
        return f"{self.ms:.4f} ms by the table"

    def check(self, effort: Effort) -> Found:
        space, architecture = _architecture(self.space, self.ops)
        table = LatencyTable.from_json(self.table)
        table.check(space)
        found = table.table_ms(architecture)
        alike = lambda shipped: (shipped.space, shipped.card) == (table.space, table.card)
        shipped = [shipped for shipped in map(LatencyTable.load, shipped_tables()) if alike(shipped)]
        if shipped and table not in shipped:
            there = shipped[0].table_ms(architecture)
            return DRIFTED, f"the table that ships with this card has other entries: {there:.4f} ms"
        near = math.isclose(found, self.ms, rel_tol=1e-9)
        return (REPRODUCED if near else DRIFTED), f"its entries add up to {found:.4f} ms"


@dataclass(frozen=True)
class _OnImages(Statement):
    """A claim on an architecture and the images that it learned from."""

    space: dict[str, Any]
    ops: list[str]
    made_by: Recipe | None
    digest: str
    images: str


@dataclass(frozen=True)
class Chosen(_OnImages):
    """The search chooses this architecture, at this error."""

    name: ClassVar[str] = "search"
    required: ClassVar[bool] = True
    method: str
    extra_inputs: list[str]
    device: str
    table: dict[str, Any]
    config: dict[str, Any]
    error: float
    evaluated: str
    first_weights: str
    selection: dict[str, Any] | None
    threads: int

    def sentence(self) -> str:
        return f"the {self.method} (seed {self.config['seed']}) chose it, at {self.error:.1%} error {self.evaluated}"

    def check(self, effort: Effort) -> Found:
        if self.method not in REPEATED:
            return NOT_CHECKED, f"{' and '.join(REPEATED)} can be repeated from a report; this is of {self.method}"
        if self.extra_inputs:
            return NOT_CHECKED, f"it also followed {' and '.join(self.extra_inputs)}, which the report does not hold"
        if self.device != "cpu":
            return NOT_CHECKED, f"its weights were trained on {self.device}, which rounds otherwise than the CPU here"
        space, architecture = _architecture(self.space, self.ops)
        if self.config.get("estimator") not in ESTIMATORS:
            raise unknown("estimators are", self.config.get("estimator"), ESTIMATORS)
        config = storage.as_record(self.config, SearchConfig, "damaged claim")
        supernet = Supernet(space, config.seed)
        if weights_hash(supernet) != self.first_weights:
            return NOT_CHECKED, "it began from weights that are not those of its seed"
        passes = planned_passes(supernet, config)
        if passes > SEARCH_PASSES and not effort.full:
            return NOT_CHECKED, f"it took {passes:,.0f} image passes; --full does them again"
        images, table = _image_set(self.made_by, effort), LatencyTable.from_json(self.table)
        with threads(self.threads):
            found = REPEATED[self.method](supernet, images, table, config)
            if self.selection:
                second = storage.as_record(self.selection, SelectionConfig, "damaged claim")
                (found,) = select([found], images, table, second)
        point = found.point
        if point.architecture != architecture:
            return DRIFTED, f"it chooses {point.architecture} here, at {point.error:.1%}"
        near = math.isclose(point.error, self.error, abs_tol=1e-9)
        return (REPRODUCED if near else DRIFTED), f"the same architecture at {point.error:.1%}"


@dataclass(frozen=True)
class Accuracy(_OnImages):
    """The test accuracy of the network, trained from scratch."""

    name: ClassVar[str] = "accuracy"
    config: TrainConfig
    accuracy: float
    tested: int

    def sentence(self) -> str:
        return f"trained from scratch it is right on {self.accuracy:.2%} of {self.tested:,} test images"

    def check(self, effort: Effort) -> Found:
        space, architecture = _architecture(self.space, self.ops)
        images = _image_set(self.made_by, effort)
        work = self.config.epochs * len(images.train)
        if work > TRAIN_IMAGES and not effort.full:
            return NOT_CHECKED, f"it took {work:,} training images; --full trains it again"
        network = derive(space, architecture, seed=self.config.seed)
        train(network, images, self.config, validate="at the end")
        accuracy = 1 - error(network, images.test)
        noise = _noise(accuracy, len(images.test))
        near = abs(accuracy - self.accuracy) <= 3 * noise
        return (REPRODUCED if near else DRIFTED), f"{accuracy:.2%} here; three standard errors are {3 * noise:.2%}"


@dataclass(frozen=True)
class Milliseconds(Statement):
    """The measured latency of the network in a runtime."""

    name: ClassVar[str] = "latency"
    space: dict[str, Any]
    ops: list[str]
    card: dict[str, Any]
    ms: float
    spread_ms: float

    def sentence(self) -> str:
        return f"{self.ms:.3g} ms in {self.card['runtime']} ({Card.from_json(self.card).recorded()})"

    @ieee_float32()  # as the export measured it
    def check(self, effort: Effort) -> Found:
        space, architecture = _architecture(self.space, self.ops)
        card = Card.from_json(self.card)
        device = "cuda" if torch.cuda.is_available() and device_name("cuda") == card.device else "cpu"
        conditions = card.conditions(device=device)
        if unlike := card_of(conditions, card.input_shape).differences(card):
            return NOT_CHECKED, f"this is another measurement: {', '.join(unlike)} differ"
        (found,) = measure([derive(space, architecture)], conditions, image=space.image)
        spread = min(self.spread_ms, MOST_SPREAD * self.ms)  # else a report could allow itself anything
        within = max(LATENCY_WITHIN * self.ms, spread, found.timing.spread_ms)
        near = abs(found.measured_ms - self.ms) <= within
        return (REPRODUCED if near else DRIFTED), f"{found.timing.text(card.statistic)} here"


@dataclass(frozen=True)
class InTurn(Statement):
    """What the choice and its baselines take, timed in turn."""

    name: ClassVar[str] = "in turn"
    space: dict[str, Any]
    ops: list[str]
    card: dict[str, Any]
    times: list[tuple[str, float]]  # network, milliseconds

    def __post_init__(self) -> None:
        if not all(math.isfinite(ms) and ms > 0 for _, ms in self.times):
            raise InputError("milliseconds are finite numbers above 0")
        if "-".join(self.ops) not in dict(self.times):
            raise InputError("the choice is not among the networks that were timed")

    def sentence(self) -> str:
        own = dict(self.times)["-".join(self.ops)]
        others = ", ".join(f"{name} {ms:.3g}" for name, ms in self.times if name != "-".join(self.ops))
        where = f"{self.card['runtime']} ({Card.from_json(self.card).recorded()})"
        return f"timed in turn in {where} the choice takes {own:.3g} ms; {others}"

    @ieee_float32()
    def check(self, effort: Effort) -> Found:
        space, architecture = _architecture(self.space, self.ops)
        if len(self.times) > MOST_NETWORKS:
            return NOT_CHECKED, f"it has {len(self.times):,} networks; up to {MOST_NETWORKS} are timed"
        card = Card.from_json(self.card)
        names = [name for name, _ in self.times]
        networks = [built(network_of(name, space), space, space.classes) for name in names]
        device = loaded_device(card)
        conditions = card.conditions(device=device)
        if unlike := card_of(conditions, card.input_shape).differences(card):
            return NOT_CHECKED, f"this is another measurement: {', '.join(unlike)} differ"
        found = measure(networks, conditions, image=space.image)
        own = names.index(str(architecture))  # in times of the choice, for another hour has another clock
        ratio = lambda several: [ms / several[own] for ms in several]
        times, claimed = ratio([one.measured_ms for one in found]), ratio([ms for _, ms in self.times])
        off, name = max((abs(a / b - 1), name) for a, b, name in zip(times, claimed, names))
        return (
            REPRODUCED if off <= LATENCY_WITHIN else DRIFTED
        ), f"at most {off:.0%} off, relative to the choice: {name}"


@dataclass(frozen=True)
class AgainstBaseline(_OnImages):
    """How the choice does against a baseline, trained alike."""

    name: ClassVar[str] = "baseline"
    config: TrainConfig
    tested: int
    baseline: str  # in words
    ours: list[tuple[int, float]]  # seed, test error
    theirs: list[tuple[str, int, float]]  # network, seed, test error

    def __post_init__(self) -> None:
        if self.tested < 1:
            raise InputError(f"errors are counted on at least one test image; got {self.tested}")

    def _gain(self, ours: Mapping[int, float], theirs: Iterable[tuple[str, int, float]]) -> Paired:
        """The difference, in pairs of the same seed; of several networks of a seed by their median."""
        each: dict[int, list[float]] = {}
        for _, seed, wrong in theirs:
            each.setdefault(seed, []).append(wrong)
        return paired([median(each[seed]) - wrong for seed, wrong in ours.items() if seed in each], 1 / self.tested)

    def sentence(self) -> str:
        return verdict(self.baseline, self._gain(dict(self.ours), self.theirs))

    def check(self, effort: Effort) -> Found:
        space, architecture = _architecture(self.space, self.ops)
        if len(self.theirs) + len(self.ours) > MOST_NETWORKS:
            return NOT_CHECKED, f"it has {len(self.theirs):,} trainings; up to {MOST_NETWORKS} are repeated"
        networks = [network_of(name, space) for name, _, _ in self.theirs]
        images = _image_set(self.made_by, effort)
        work = self.config.epochs * len(images.train) * (len(self.ours) + len(self.theirs))
        if work > TRAIN_IMAGES and not effort.full:
            return NOT_CHECKED, f"it took {work:,} training images; --full trains them again"
        wrong = lambda network, seed: _trained_error(network, space, images, replace(self.config, seed=seed))
        ours = [(seed, wrong(architecture, seed)) for seed, _ in self.ours]
        theirs = [(name, s, wrong(network, s)) for network, (name, s, _) in zip(networks, self.theirs)]
        claimed = [was for _, was in self.ours] + [was for _, _, was in self.theirs]
        here = [now for _, now in ours] + [now for _, _, now in theirs]
        worst = max(abs(now - was) - 3 * _noise(now, len(images.test)) for now, was in zip(here, claimed))
        return (
            REPRODUCED if worst <= 0 else DRIFTED
        ), f"here: {verdict(self.baseline, self._gain(dict(ours), theirs))}"


@dataclass(frozen=True)
class Page(Statement):
    """The page reads as it was written."""

    name: ClassVar[str] = "page"
    digest: str
    found: str  # digest of the page that was read

    def sentence(self) -> str:
        return f"the page reads as it was written ({self.digest})"

    def check(self, effort: Effort) -> Found:
        return _same(self.found, self.digest)


STATEMENTS: Mapping[str, type[Statement]] = {
    kind.name: kind
    for kind in (Pictures, InSpace, Size, ByTable, Chosen, Accuracy, Milliseconds, InTurn, AgainstBaseline, Page)
}


def statement(name: str, value: Any) -> Statement:
    """Read the value of a claim.

    Args:
        name: key of `STATEMENTS`.
        value: the fields, as JSON.

    Returns:
        The claim.

    Raises:
        InputError: no claim has this name, or its value is damaged.
    """
    if name not in STATEMENTS:
        raise InputError("this version knows no such claim")
    return storage.as_record(value, STATEMENTS[name], "damaged claim")


def _same(found: str, wanted: str) -> Found:
    return (REPRODUCED if found == wanted else DRIFTED), f"here {found}"


def _noise(share: float, n: int) -> float:
    """One standard error of the difference of two shares of `n` images, by the one that was counted here."""
    return math.sqrt(2 * share * (1 - share) / n)


def _trained_error(network: Architecture | Control, space: SearchSpace, images: ImageSet, config: TrainConfig) -> float:
    """The test error of a network that is trained as `runs.baselines` does; of guessing where it diverges."""
    with threads(1):
        made = built(network, space, len(images.classes), config.seed)
        try:
            train(made, images, config, validate="at the end")
        except Diverged:
            return 1 - 1 / len(images.classes)
        return error(made, images.test)


def _image_set(recipe: Recipe | None, effort: Effort) -> ImageSet:
    if recipe is None:
        raise InputError("no registered function made these images: they cannot be made again")
    if recipe.name not in labkit.data.SETS:
        raise unknown("image sets are", recipe.name, labkit.data.SETS)
    return labkit.data.from_recipe(Recipe(recipe.name, recipe.arguments, recipe.small), download=effort.download)


def _architecture(space: Mapping[str, Any], ops: list[str]) -> tuple[SearchSpace, Architecture]:
    made = spaces.from_record(dict(space), imports=False)
    return made, made.architecture(ops)
