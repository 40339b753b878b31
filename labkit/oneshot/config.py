"""All that a search and its second stage depend on besides the space, the data and the table."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

from labkit.estimators.costs import Deadline, LatencyCost
from labkit.estimators.gradient_estimators import ESTIMATORS, Estimator
from labkit.networks.training import RECIPE, TrainConfig
from labkit.system.errors import InputError

WORTH = 0.03  # error fraction that all the time between the fastest and the slowest architecture is worth by default
TASK_COSTS = ("cross-entropy", "error")
GAPS = ("batch", "paired")
WEIGHTS_ON = ("auto", "relaxed", "one-hot", "fair", "distilled")


def default_weights(
    range_ms: tuple[float, float], times: Sequence[float] = (0.0, 0.3, 1.0, 2.0, 4.0, 8.0)
) -> tuple[float, ...]:
    """Latency weights that derive from the range of a latency table, so that they do not depend on the device.

    Args:
        range_ms: milliseconds of the fastest and of the slowest architecture.
        times: multiples of the default weight, which makes the whole range cost `WORTH`.

    Returns:
        One weight for each of `times`, in error fraction per millisecond; 0 where the range is empty.
    """
    fastest, slowest = range_ms
    return tuple(n * WORTH / (slowest - fastest) if slowest > fastest else 0.0 for n in times)


def _has_scale(make: object) -> bool:
    return is_dataclass(make) and any(field.name == "scale" for field in fields(make))


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """All that a search depends on besides the space, the data and the table."""

    estimator: str = "unas"  # a registered name, `module:Class`, or the class itself
    control_scale: float = 1.0  # of the control of "unas" and "rebar", REBAR's eta; 1 as published
    softening: float = 0.0  # of the probabilities towards uniform; published: 0 on CIFAR, 0.08 in large spaces
    architectures: int = 1  # drawn a step, with an equal share of the batch each; as many as images: one for each image
    task_cost: str = "cross-entropy"  # of the architecture drawn, as published; or its "error", see `task_units`
    latency_weight: float | None = None  # error fraction per millisecond; None: see `priced`
    target_ms: float | None = None  # with one, only milliseconds beyond it cost; without a weight it is a deadline
    latency_warmup: int = 0  # joint steps over which the latency weight rises from 0 in a line, as published
    deadline_ms: float | None = None  # with one, what is chosen takes no longer
    finalists: int = (
        8  # architectures just inside the limit that are evaluated at the end, under a deadline or a target
    )
    gap_weight: float = 0.5  # of |L_valid - L_train|, as published
    gap: str = "batch"  # of the mean losses of an architecture's images, or of "paired" images as its code has it
    duplicate_weight: float = 0.2  # nats for each node of a cell that is the same operation twice; published
    weights_on: str = "auto"  # samples that are "relaxed" as published, or another of WEIGHTS_ON, see `learns_on`
    weight_average: float = (
        0.0  # share of the steps, the last ones, whose mean weights are evaluated; 0: the last weights
    )
    nats_per_error: float = 6.0  # cross-entropy of a supernet that one unit of error is worth; five_layer: 5 to 10
    mixture_steps: int = 200  # all candidates at equal weights: gets every operation off the plateau
    weight_steps: int = 100  # weights only, on samples
    joint_steps: int = 250  # weights and architecture
    batch_size: int = 128
    weight_lr: float = 4e-3  # at the end of the mixture phase, over which it rises
    weight_lr_end: float = 0.1  # share of it that a cosine leaves at the last step
    weight_decay: float = 1e-2
    clip: float = 1.0  # norm of the weights' gradient
    logit_lr: float = 0.05
    logit_lr_end: float = 1.0  # share of it that a cosine leaves at the last step; 1 keeps it constant
    evaluation_images: int = 1_000  # validation images on which an architecture is evaluated with the shared weights
    calibration_images: int = 512  # training images that re-estimate its batch norm first
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.estimator, str):  # a class: from here on its name stands for it
            object.__setattr__(self, "estimator", ESTIMATORS.name_of(self.estimator))
        estimator = self.make_estimator()
        if self.task_cost not in TASK_COSTS:
            raise InputError(f"a task costs {' or '.join(TASK_COSTS)}; got {self.task_cost!r}")
        if min(self.mixture_steps, self.weight_steps, self.joint_steps) < 0 or self.batch_size < 2:
            raise InputError("steps are at least 0 and a batch at least 2 images")
        for name in ("weight_lr", "weight_decay", "logit_lr", "gap_weight"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"{name} is a finite number from 0 up; got {getattr(self, name)}")
        if not (math.isfinite(self.nats_per_error) and self.nats_per_error > 0 and self.clip > 0):
            raise InputError(f"nats_per_error and clip are above 0; got {self.nats_per_error} and {self.clip}")
        if min(self.evaluation_images, self.calibration_images) < 1:
            raise InputError(
                "an architecture is evaluated on at least one image, its batch norm re-estimated on at least one; got "
                f"evaluation_images {self.evaluation_images} and calibration_images {self.calibration_images}"
            )
        if not 0 <= self.seed < 2**63:
            raise InputError(f"a seed is a whole number from 0 to 2^63 - 1; got {self.seed}")
        if self.latency_warmup < 0 or self.finalists < 1:
            raise InputError("a latency warm-up is at least 0 steps, and at least one finalist is evaluated")
        if self.gap not in GAPS or self.weights_on not in WEIGHTS_ON:
            raise InputError(
                f"a gap is {' or '.join(GAPS)}, and weights learn on {', '.join(WEIGHTS_ON)}; "
                f"got {self.gap!r} and {self.weights_on!r}"
            )
        if self.architectures < 1 or self.batch_size % self.architectures:
            raise InputError(
                f"the architectures of a step share its batch equally: a divisor of {self.batch_size}; "
                f"got {self.architectures}"
            )
        if self.architectures < estimator.least_draws:
            raise InputError(
                f"{self.estimator} compares the draws of a step: at least {estimator.least_draws} architectures; "
                f"got {self.architectures}"
            )
        if not (math.isfinite(self.control_scale) and math.isfinite(self.softening) and self.softening >= 0):
            raise InputError(
                f"a control's scale is a finite number and softening at least 0; got {self.control_scale} and "
                f"{self.softening}"
            )
        if not (math.isfinite(self.duplicate_weight) and self.duplicate_weight >= 0):
            raise InputError(f"what a duplicate costs is a number from 0 up; got {self.duplicate_weight}")
        if not 0 <= self.weight_average <= 1:
            raise InputError(f"weights are averaged over a share of the steps, from 0 to 1; got {self.weight_average}")
        if not (0 < self.weight_lr_end <= 1 and 0 < self.logit_lr_end <= 1):
            raise InputError(
                f"the shares of the learning rates at the end are above 0 and at most 1; got {self.weight_lr_end} "
                f"and {self.logit_lr_end}"
            )
        self.latency_cost, self.deadline  # noqa: B018 (checks weight, target and deadline)

    @property
    def steps(self) -> int:
        """Number of all steps: mixture, uniform and joint."""
        return self.mixture_steps + self.weight_steps + self.joint_steps

    def phase(self, step: int) -> str:
        """The phase of one step.

        Args:
            step: number of the step, from 0.

        Returns:
            "mixture", "uniform" or "joint".
        """
        if step < self.mixture_steps:
            return "mixture"
        return "uniform" if step < self.mixture_steps + self.weight_steps else "joint"

    @property
    def learns_on(self) -> str:
        """Which op weights the shared weights learn on, after the mixture phase. "auto" follows the estimator.

        "relaxed": mixtures near the sampled architectures. "one-hot": the sampled architectures. "fair": at every step
        each candidate of a slot once, in separate passes (strict fairness, Chu et al. 2021). "distilled": the sampled
        architectures, with half of the loss towards the predictions of the mixture of all candidates.
        """
        if self.weights_on == "auto":
            return "relaxed" if self.make_estimator().relaxes else "one-hot"
        return self.weights_on

    def make_estimator(self) -> Estimator:
        """Make a new estimator, with the scale of its control.

        Returns:
            The estimator; it shares no state with others.

        Raises:
            InputError: no estimator has this name, or its control has no scale.
        """
        make = ESTIMATORS.find(self.estimator)
        if self.control_scale == 1:
            return make()
        if not _has_scale(make):
            scaled = [name for name, known in ESTIMATORS.items() if _has_scale(known)]
            raise InputError(f"only {' and '.join(scaled)} have a control to scale; got {self.estimator!r}")
        return make(scale=self.control_scale)  # type: ignore[call-arg]

    @property
    def task_units(self) -> float:
        """One unit of error in the task cost: about `nats_per_error` for cross-entropy, exactly 1 for the error itself.

        Error has no gradient, and the score function needs none; cross-entropy divided by `nats_per_error` is then the
        control variate, and a latency weight has its literal meaning.
        """
        return self.nats_per_error if self.task_cost == "cross-entropy" else 1.0

    @property
    def latency_cost(self) -> LatencyCost:
        """The latency cost after the warm-up, in error fraction."""
        return LatencyCost(self.latency_weight or 0.0, self.target_ms)

    def priced(self, range_ms: tuple[float, float]) -> "SearchConfig":
        """Fill in the latency weight where none was given.

        Under a deadline or a target the weight is 0: as accurate as possible within the limit. Otherwise the whole
        range of the table costs `WORTH`, so a device that is ten times slower chooses the same networks.

        Args:
            range_ms: milliseconds of the fastest and of the slowest architecture, by the table of the search.

        Returns:
            A config whose `latency_weight` is a number.
        """
        if self.latency_weight is not None:
            return self
        limited = self.target_ms is not None or self.deadline_ms is not None
        return replace(self, latency_weight=0.0 if limited else default_weights(range_ms, (1.0,))[0])

    def latency_cost_at(self, joint_step: int) -> LatencyCost:
        """The latency cost while its weight warms up.

        Args:
            joint_step: number of the joint step that follows, from 0.

        Returns:
            The cost, with a weight that rises linearly over `latency_warmup` joint steps.
        """
        share = min(1.0, joint_step / self.latency_warmup) if self.latency_warmup else 1.0
        return LatencyCost(share * (self.latency_weight or 0.0), self.target_ms)

    @property
    def limit_ms(self) -> float | None:
        """The hard limit, ms: the earlier of the deadline and a target without a latency weight; or None."""
        hard = [self.deadline_ms, None if self.latency_weight else self.target_ms]
        return min((ms for ms in hard if ms is not None), default=None)

    @property
    def deadline(self) -> Deadline | None:
        """The hard limit as a `Deadline`, with the share of samples that may exceed it; None without a limit."""
        return None if self.limit_ms is None else Deadline(self.limit_ms)

    @classmethod
    def fast(cls, **changes: Any) -> "SearchConfig":
        """A short search for a live demonstration: it takes seconds and finds worse architectures.

        Args:
            changes: fields that differ from these defaults.

        Returns:
            The config.
        """
        short = {"mixture_steps": 140, "weight_steps": 30, "joint_steps": 80, "batch_size": 64, "logit_lr": 0.1}
        short |= {"evaluation_images": 500, "calibration_images": 256}
        return cls(**{**short, **changes})

    @classmethod
    def preset(cls, space: str, *, fast: bool = False, **changes: Any) -> "SearchConfig":
        """The preset of a space: the defaults, or those of `fast`, with what `PRESETS` changes for this space.

        Args:
            space: name of the space.
            fast: start from `SearchConfig.fast`.
            changes: fields that differ from the preset.

        Returns:
            The config.
        """
        return (cls.fast if fast else cls)(**{**PRESETS.get(space, _ANY).search, **changes})

    @classmethod
    def published(cls, runs: str = "cifar", **changes: Any) -> "SearchConfig":
        """The settings of the published runs (Vahdat et al. 2020), as far as this library has them.

        Steps and latency objective are not included. Two things differ from the paper: the weight decay is that of
        AdamW (theirs is Adam's, with 1e-6 for the logits too), and there is no mixture phase, so the shared weights
        start on uniform samples.

        Args:
            runs: "cifar" (CIFAR-10 and CIFAR-100, one architecture per image) or "imagenet" (one architecture per
                batch, softened probabilities).
            changes: fields that differ from these settings.

        Returns:
            The config.

        Raises:
            InputError: no published settings have this name.
        """
        if runs not in PUBLISHED:
            raise InputError(f"published settings are {' and '.join(PUBLISHED)}; got {runs!r}")
        return cls(**{**PUBLISHED[runs], **changes})


# Of the runs of Vahdat et al. 2020: a batch is that of all GPUs, learning rates are as scaled for it.
_BOTH = {"latency_weight": 0.0, "gap": "paired", "mixture_steps": 0, "weight_decay": 3e-4, "clip": 5.0}
PUBLISHED = {
    "cifar": {
        **_BOTH, "batch_size": 128, "architectures": 128, "weight_lr": 6e-4, "weight_lr_end": 1 / 6,
        "logit_lr": 2e-3, "logit_lr_end": 0.15,
    },
    "imagenet": {
        **_BOTH, "batch_size": 192, "softening": 0.08, "weight_lr": 3e-4, "weight_lr_end": 1 / 3,
        "logit_lr": 1e-3, "logit_lr_end": 0.3,
    },
}  # fmt: skip

BRIEFLY = TrainConfig(epochs=1, batch_size=64)


@dataclass(frozen=True, kw_only=True)
class SelectionConfig:
    """Settings of the second stage, `selection.select`: how many architectures it trains, and for how long.

    Short trainings start from the shared weights: a new network needs about a thousand steps on the hard glyphs before
    its error says anything. Even so they underrate slow learners. Therefore the finalists are trained in full, and the
    best of those a second time, because the result of a single training is partly chance.
    """

    scan: int = 32  # of each distribution, most probable or just inside its limit: evaluated on the shared weights
    entrants: int = 8  # of those, trained on the first rung; a sweep's results each send others
    images: int = 8_000  # that a network of the first rung learns from; twice as many on the next
    rungs: int = 1  # 0: the finalists are those with the least shared error
    training: TrainConfig = BRIEFLY  # of a rung
    finalists: int = 4  # of the last rung, trained from scratch on all images
    final: TrainConfig | None = RECIPE  # how; None takes the best of the last rung
    surrogate: int = (
        0  # further networks trained in full, chosen by a Gaussian process; half of `finalists` are random then
    )
    batch: int = 4  # of those, chosen at once, whatever the number of cores
    again: int = 2  # finalists trained once more, with another seed: their error is the mean; 0 leaves that out
    stretches: tuple[float, ...] = (1.0, 2.0, 4.0)  # of errors before the final: times too far apart that they may be

    def __post_init__(self) -> None:
        if not self.stretches or min(self.stretches) <= 0:
            raise InputError(f"errors are stretched by factors above 0, one at least; got {self.stretches}")
        if min(self.scan, self.entrants, self.finalists, self.batch) < 1 or self.images < self.training.batch_size:
            raise InputError("a selection scans and trains at least one network, on at least a batch of images")
        if min(self.again, self.surrogate, self.rungs) < 0:
            raise InputError(
                f"rungs, networks by a surrogate and finalists trained again are 0 or more; got {self.rungs}, "
                f"{self.surrogate} and {self.again}"
            )
        if self.final is None and (self.surrogate or not self.rungs):
            raise InputError("without rungs, or with a surrogate, a selection needs a final training: set `final`")
        if self.surrogate and self.finalists < 2:
            raise InputError(f"a surrogate needs at least two finalists to learn from; got {self.finalists}")

    @classmethod
    def fast(cls) -> "SelectionConfig":
        """A short second stage for a live demonstration: it takes seconds and decides on less evidence.

        Returns:
            The config.
        """
        return cls(scan=12, entrants=4, images=1_000, rungs=2, final=None)

    @classmethod
    def preset(cls, space: str, *, fast: bool = False) -> "SelectionConfig":
        """The preset of a space, as in `SearchConfig.preset`.

        Args:
            space: name of the space.
            fast: use `SelectionConfig.fast`.

        Returns:
            The config.
        """
        return cls.fast() if fast else cls(**PRESETS.get(space, _ANY).selection)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "SelectionConfig":
        """Read a config from the JSON object of a saved run.

        Args:
            value: what `dataclasses.asdict` made of a config.

        Returns:
            The config.
        """
        final = value["final"] and TrainConfig(**value["final"])
        changed = {"training": TrainConfig(**value["training"]), "final": final, "stretches": tuple(value["stretches"])}
        return cls(**{**value, **changed})


@dataclass(frozen=True)
class Preset:
    """What a space is searched with in place of the defaults, which were found on `five_layer`."""

    search: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)


_ANY = Preset()
# Ten times the work a step: ten minutes so. The second stage trains 24 networks in full and two of them again, on two
# cores as long once more: on pictures a surrogate of them orders networks of one latency, and shared weights hardly do.
_FEWER = Preset(
    {"batch_size": 64},
    {"rungs": 0, "finalists": 10, "surrogate": 14, "final": TrainConfig(epochs=10), "again": 2},
)
PRESETS = {"mobile-tiny": _FEWER, "edge": _FEWER}
