"""The library's own parts pass the public checks, and parts with a planted fault do not."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import labkit as lk
from labkit import checks
from labkit.blackbox import METHODS
from labkit.checks import CheckFailed
from labkit.data import Images
from labkit.estimators import ESTIMATORS, ClosedForm, Estimate, Estimator, GumbelSoftmax, Reinforce, Unas
from labkit.runtimes import Runtime
from labkit.spaces import OPS, SPACES, Edge, SearchSpace


@pytest.mark.parametrize("name", [name for name in OPS if not OPS.is_own(name)])
def test_built_in_operations_pass(name):
    checks.check_op(name)


@pytest.mark.parametrize("name", [name for name in SPACES if name != "cells-cifar-deep" and not SPACES.is_own(name)])
def test_built_in_spaces_pass(name):
    checks.check_space(name)


@pytest.mark.parametrize("make", [*ESTIMATORS.values(), ClosedForm], ids=[*ESTIMATORS, "closed form"])
def test_built_in_estimators_pass(make):
    checks.check_estimator(make)


@pytest.mark.parametrize("name", ["digits"])
def test_built_in_images_pass(name, data):
    checks.check_data(name)
    checks.check_data(data)


@pytest.mark.parametrize("name", ["torch", "torch-channels-last", "onnxruntime"])
def test_built_in_runtimes_pass(name):
    checks.check_runtime(name)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("nsga2", "tpe")])
def test_built_in_proposers_pass(name):
    checks.check_proposer(name)


# --- planted faults -----------------------------------------------------------------------------------------


def conv(i, o, s):
    return nn.Conv2d(i, o, 3, s, 1)


class OfTheBatch(nn.Conv2d):
    def forward(self, x):
        y = super().forward(x)
        return y - y.mean(0, keepdim=True)


class Random(nn.Conv2d):
    def forward(self, x):
        return super().forward(x) + torch.rand(())


class Idle(nn.Module):
    def __init__(self, i, o, s):
        super().__init__()
        self.conv, self.unused = conv(i, o, s), nn.Parameter(torch.zeros(3))

    def forward(self, x):
        return self.conv(x)


class InPlace(nn.Conv2d):
    def forward(self, x):
        return super().forward(x.data.relu_())


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (lambda i, o, s: conv(i, o, 1), "has the shape"),
        (lambda i, o, s: nn.Conv2d(i, o, 3, s), "has the shape"),
        (lambda i, o, s: OfTheBatch(i, o, 3, s, 1), "does not depend on the others"),
        (lambda i, o, s: Random(i, o, 3, s, 1), "is the same for the same images"),
        (Idle, "every parameter receives a gradient"),
        (lambda i, o, s: InPlace(i, o, 3, s, 1), "the input is left as it is"),
        (lambda i, o, s: torch.relu, "is an nn.Module"),
    ],
)
def test_a_wrong_operation_is_found(make, rule):
    with pytest.raises((CheckFailed, AttributeError), match=rule):
        checks.check_op(make)
    checks.check_op(conv)


def test_an_operation_that_refuses_everything_is_found():
    def refuses(i, o, s):
        raise lk.InputError("no")

    with pytest.raises(CheckFailed, match="at least one of"):
        checks.check_op(refuses)


def a_space(*edges, slots=(("conv3x3", "conv5x5"),), head="average"):
    return SearchSpace("planted", slots, edges, (3, 16, 16), 3, head)


def test_a_space_whose_widths_do_not_fit_is_found():
    checks.check_space(a_space(Edge(3, 8, fixed="conv3x3"), Edge(8, 8, slot=0)))
    with pytest.raises(lk.InputError, match="edge 2 of 2 reads 8 channels and has in_channels=16"):
        checks.check_space(a_space(Edge(3, 8, fixed="conv3x3"), Edge(16, 8, slot=0)))
    with pytest.raises((CheckFailed, lk.InputError), match="width"):
        checks.check_space(a_space(Edge(3, 8, slot=0), slots=(("conv3x3", "maxpool3x3"),)))


@dataclass(frozen=True)
class Biased(Unas):
    def __call__(self, cost, dist, n, generator, control=None):
        found = super().__call__(cost, dist, n, generator, control)
        return Estimate(found.gradient + 0.2 * dist.logits.detach(), found.cost)


@dataclass(frozen=True)
class CallsItselfUnbiased(GumbelSoftmax):
    unbiased: ClassVar[bool] = True


@dataclass
class WithoutControl(Reinforce):
    relaxes: ClassVar[bool] = True  # it says that it relaxes, and ignores the control


@dataclass
class Forgetful(Reinforce):
    def state(self):
        return {"mean": None}


class WrongShape(Estimator):
    def __call__(self, cost, dist, n, generator, control=None):
        return Estimate(torch.zeros(3), 0.0)


@dataclass(frozen=True)
class TouchesGrad(Unas):
    def __call__(self, cost, dist, n, generator, control=None):
        found = super().__call__(cost, dist, n, generator, control)
        dist.logits.grad = found.gradient
        return found


@dataclass(frozen=True)
class OwnRandomness(Unas):
    def __call__(self, cost, dist, n, generator, control=None):
        return super().__call__(cost, dist, n, torch.Generator().manual_seed(torch.seed() % 2**31), control)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (Biased, "agrees with the exact gradient"),
        (CallsItselfUnbiased, "agrees with the exact gradient|takes a cost"),
        (WithoutControl, "evaluates relaxed weights"),
        (Forgetful, "with the state of another one"),
        (WrongShape, "has the shape"),
        (TouchesGrad, "leaves the `.grad`"),
        (OwnRandomness, "repeats itself"),
        (dict, "subclass of Estimator"),
    ],
)
def test_a_wrong_estimator_is_found(make, rule):
    with pytest.raises(CheckFailed, match=rule):
        checks.check_estimator(make)


def test_wrong_images_are_found(data):
    part = data.valid
    for make, rule in (
        (lambda: replace(data, valid=Images(part.pixels.float() / 255, part.labels)), "pixels are uint8 from 0 to 255"),
        (
            lambda: replace(data, valid=Images(part.pixels, part.labels + 10)),
            "labels of the valid part of glyphs are from",
        ),
        (lambda: replace(data, valid=Images(part.pixels, part.labels.int())), "int64"),
        (lambda: replace(data, valid=Images(part.pixels, part.labels[1:])), "labels are 500 whole numbers"),
        (lambda: replace(data, valid=Images(part.pixels[0], part.labels)), r"pixels are \(N, channels, height, width"),
        (lambda: replace(data, valid=Images(part.pixels.numpy(), part.labels)), "pixels are a tensor; got ndarray"),
        (lambda: replace(data, test=data.test[:0]), "has images"),
        (lambda: replace(data, classes=(*data.classes, "none")), "every class has training images"),
        (lambda: replace(data, augment=lambda pixels: pixels[..., :16]), "augmentation keeps"),
        (lambda: replace(data, valid=Images(part.pixels[..., :16], part.labels)), "images of several sizes"),
    ):
        with pytest.raises((CheckFailed, lk.InputError), match=rule):
            checks.check_data(make())
    with pytest.raises(CheckFailed, match="the same seed"):
        checks.check_data(lambda seed: replace(data, train=data.train[torch.randperm(len(data.train))]))


class Fixed:
    """Proposes by a rule; the faults change it."""

    def __init__(self, space, goal, seed):
        self.widths, self.rng = [len(slot) for slot in space.slots], np.random.default_rng(seed)

    def propose(self, rows, costs):
        known = {tuple(row) for row in rows.tolist()}
        while True:
            row = tuple(int(self.rng.integers(width)) for width in self.widths)
            if row not in known:
                return np.array([row])


class Repeats(Fixed):
    def propose(self, rows, costs):
        return np.zeros((1, len(self.widths)), dtype=int)


class Outside(Fixed):
    def propose(self, rows, costs):
        return np.full((1, len(self.widths)), 2)


class Changes(Fixed):
    def propose(self, rows, costs):
        costs[:] = 0
        return super().propose(rows + 0, costs)


class Unseeded(Fixed):
    def __init__(self, space, goal, seed):
        super().__init__(space, goal, None)


@pytest.mark.parametrize(
    ("make", "rule"),
    [
        (Repeats, "evaluated before"),
        (Outside, "that the slots have"),
        (Changes, "as they are"),
        (Unseeded, "repeats itself"),
    ],
)
def test_a_wrong_proposer_is_found(make, rule):
    checks.check_proposer(Fixed)
    with pytest.raises(CheckFailed, match=rule):
        checks.check_proposer(make)


class Wrong(Runtime):
    """Eager PyTorch with a fault."""

    name = "wrong"

    def __init__(self, fault):
        self.fault = fault

    def prepare(self, network, example, how):
        held = torch.zeros(8, 10)

        @torch.inference_mode()
        def run(images):
            logits = network(images)
            if self.fault == "logits":
                return logits * 1.1
            if self.fault == "first image only":
                return network(images[:1])
            if self.fault == "float64":
                return logits.double()
            if self.fault == "one buffer":
                held[: len(logits)] = logits
                return held[: len(logits)]
            return logits

        return run


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        ("logits", "are those of eager PyTorch"),
        ("first image only", "are of shape"),
        ("float64", "are float32"),
        ("one buffer", "leaves the logits of an earlier one alone"),
    ],
)
def test_a_wrong_runtime_is_found(fault, rule):
    try:
        with pytest.raises(CheckFailed, match=rule):
            checks.check_runtime(Wrong(fault))
    finally:
        lk.runtimes.RUNTIMES.remove("wrong")
    checks.check_runtime("torch")
