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
    """Latency weights in error fraction per millisecond: so many `times` what `WORTH` makes of a table's range."""
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
    finalists: int = 8  # architectures just inside the limit that are judged at the end, under a deadline or a target
    gap_weight: float = 0.5  # of |L_valid - L_train|, as published
    gap: str = "batch"  # of the mean losses of an architecture's images, or of "paired" images as its code has it
    duplicate_weight: float = 0.2  # nats for each node of a cell that is the same operation twice; published
    weights_on: str = "auto"  # samples that are "relaxed" as published, or another of WEIGHTS_ON, see `learns_on`
    weight_average: float = 0.0  # share of the steps, the last ones, whose mean weights are judged; 0: the last weights
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
    judge_images: int = 1_000  # validation images that judge an architecture on the shared weights
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
        if min(self.judge_images, self.calibration_images) < 1:
            raise InputError(
                "an architecture is judged on at least one image, its batch norm re-estimated on at least one; got "
                f"judge_images {self.judge_images} and calibration_images {self.calibration_images}"
            )
        if not 0 <= self.seed < 2**63:
            raise InputError(f"a seed is a whole number from 0 to 2^63 - 1; got {self.seed}")
        if self.latency_warmup < 0 or self.finalists < 1:
            raise InputError("a latency warm-up is at least 0 steps, and at least one finalist is judged")
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
        """All of them: the mixture phase, the uniform one and the joint one."""
        return self.mixture_steps + self.weight_steps + self.joint_steps

    def phase(self, step: int) -> str:
        """Of step `step` (from 0): "mixture", "uniform" or "joint"."""
        if step < self.mixture_steps:
            return "mixture"
        return "uniform" if step < self.mixture_steps + self.weight_steps else "joint"

    @property
    def learns_on(self) -> str:
        """What the shared weights learn on, after the mixture phase; "auto" is what the estimator makes.

        "relaxed": mixtures near the architectures drawn. "one-hot": those themselves. "fair": at every step each
        candidate of a slot once, in passes of their own (strict fairness, Chu et al. 2021). "distilled": those drawn,
        half by what the mixture of all makes of the images.
        """
        if self.weights_on == "auto":
            return "relaxed" if self.make_estimator().relaxes else "one-hot"
        return self.weights_on

    def make_estimator(self) -> Estimator:
        """A fresh estimator, with the scale of its control.

        Raises:
            InputError: there is none of this name, or its control has no scale.
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
        """What one unit of error is worth in the task's cost: about `nats_per_error`, or exactly 1.

        Error has no gradient, and the score function needs none. Cross-entropy over `nats_per_error` is its control
        then, and a latency weight means what it says on the shared weights.
        """
        return self.nats_per_error if self.task_cost == "cross-entropy" else 1.0

    @property
    def latency_cost(self) -> LatencyCost:
        """What a latency costs in error fraction once the latency weight has warmed up."""
        return LatencyCost(self.latency_weight or 0.0, self.target_ms)

    def priced(self, range_ms: tuple[float, float]) -> "SearchConfig":
        """With a latency weight, where none was given: what a millisecond is worth by default.

        Under a deadline or a target nothing: as accurate as possible within it. Else the whole range is worth `WORTH`,
        so that the same networks are chosen whether a device takes microseconds or seconds.

        Args:
            range_ms: the fastest and the slowest architecture's milliseconds, by the table of the search.
        """
        if self.latency_weight is not None:
            return self
        limited = self.target_ms is not None or self.deadline_ms is not None
        return replace(self, latency_weight=0.0 if limited else default_weights(range_ms, (1.0,))[0])

    def latency_cost_at(self, joint_step: int) -> LatencyCost:
        """The latency cost on its way up, before joint step `joint_step` (from 0)."""
        share = min(1.0, joint_step / self.latency_warmup) if self.latency_warmup else 1.0
        return LatencyCost(share * (self.latency_weight or 0.0), self.target_ms)

    @property
    def limit_ms(self) -> float | None:
        """The hard limit on latency, if there is one: the deadline, or a target beyond which time has no price."""
        alone = self.deadline_ms is None and not self.latency_weight
        return self.target_ms if alone else self.deadline_ms

    @property
    def deadline(self) -> Deadline | None:
        """That limit and how many draws may be beyond it."""
        return None if self.limit_ms is None else Deadline(self.limit_ms)

    @classmethod
    def fast(cls, **changes: Any) -> "SearchConfig":
        """A shortened search for a live demonstration: seconds, and a worse answer."""
        short = {"mixture_steps": 140, "weight_steps": 30, "joint_steps": 80, "batch_size": 64, "logit_lr": 0.1}
        short |= {"judge_images": 500, "calibration_images": 256}
        return cls(**{**short, **changes})

    @classmethod
    def suited(cls, space: str, *, fast: bool = False, **changes: Any) -> "SearchConfig":
        """For the space of that name: the defaults, or `fast` ones, but for what `SUITED` says of it."""
        return (cls.fast if fast else cls)(**{**SUITED.get(space, _ANY).search, **changes})

    @classmethod
    def published(cls, runs: str = "cifar", **changes: Any) -> "SearchConfig":
        """The settings of the published runs, where this library has them. Steps and latency objective are yours.

        "cifar": of those on CIFAR-10 and CIFAR-100, an architecture an image. "imagenet": one a batch, probabilities
        softened. Not theirs: weight decay is AdamW's (theirs Adam's own, and 1e-6 for the logits too). They have no
        mixture phase: weights begin on samples of the uniform distribution.
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
    """The second stage of a search, `selection.select`: how many architectures are looked at, and for how long.

    The short trainings go on from the shared weights: on letters that a fresh network needs a thousand steps to make
    anything of, short ones from fresh weights rank by luck. They still think too little of what learns slowly, so the
    last few are trained in full; and the best of those twice, as one training alone is luck too.
    """

    scan: int = 32  # of each distribution, most probable or just inside its limit: judged on the shared weights
    entrants: int = 8  # of those, trained on the first rung; a sweep's results each send others
    images: int = 8_000  # that a network of the first rung learns from; twice as many on the next
    rungs: int = 1
    training: TrainConfig = BRIEFLY  # of a rung
    finalists: int = 4  # of the last rung, trained from scratch on all images
    final: TrainConfig | None = RECIPE  # how; None takes the best of the last rung
    again: int = 2  # finalists trained once more, with another seed: their error is the mean; 0 leaves that out
    stretches: tuple[float, ...] = (1.0, 2.0, 4.0)  # of errors before the final: times too far apart that they may be

    def __post_init__(self) -> None:
        if not self.stretches or min(self.stretches) <= 0:
            raise InputError(f"errors are stretched by factors above 0, one at least; got {self.stretches}")
        if min(self.scan, self.entrants, self.rungs, self.finalists) < 1 or self.images < self.training.batch_size:
            raise InputError(
                "a selection scans, trains and has rungs: at least one; and a batch of images to learn from"
            )
        if self.again < 0:
            raise InputError(f"how many finalists are trained again is 0 or more; got {self.again}")

    @classmethod
    def fast(cls) -> "SelectionConfig":
        """For a live demonstration: seconds, and less to decide by."""
        return cls(scan=12, entrants=4, images=1_000, rungs=2, final=None)

    @classmethod
    def suited(cls, space: str, *, fast: bool = False) -> "SelectionConfig":
        """For the space of that name, as `SearchConfig.suited`."""
        return cls.fast() if fast else cls(**SUITED.get(space, _ANY).selection)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "SelectionConfig":
        final = value["final"] and TrainConfig(**value["final"])
        changed = {"training": TrainConfig(**value["training"]), "final": final, "stretches": tuple(value["stretches"])}
        return cls(**{**value, **changed})


@dataclass(frozen=True)
class Changes:
    """What a space is searched with in place of the defaults, which were found on `five_layer`."""

    search: dict[str, Any] = field(default_factory=dict)
    selection: dict[str, Any] = field(default_factory=dict)


_ANY = Changes()
# Ten times the work a step: ten minutes so.
SUITED = {"mobile-tiny": Changes({"batch_size": 64}, {"finalists": 2, "again": 0})}
