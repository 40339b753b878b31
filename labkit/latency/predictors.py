"""Predictors of an architecture's end-to-end milliseconds, from its parts and from networks that were timed whole.

All have the same face: `predictor(weights)` gives milliseconds (N,) of op weights (N, S, K) and is differentiable in
them; `predictor.interval(weights)` gives an interval for 90 % of new architectures.

    SumOfParts     the latency table itself
    ScaledSum      the sum of the table times a factor plus a constant, which correct for timing a part alone
    Ridge          linear in the op weights, fitted to whole networks (UNAS, section 3.3)
    LinearResidual ScaledSum plus ridge regression on candidates, so it is a table again (see `calibration`)
    PairResidual   ScaledSum plus ridge regression on candidates and pairs of neighbours, for fusion and caches

In shapes: N architectures, S slots, K candidates, F features.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import torch
from torch import Tensor

from labkit.latency.table import LatencyTable
from labkit.spaces import Architecture, SearchSpace
from labkit.system.errors import InputError

PENALTIES = tuple(10.0**k for k in range(-6, 3))  # tried by leave-one-out, in units of the features' variance
COVERAGE = 0.9  # of an interval


class Predictor(Protocol):
    """A function that predicts milliseconds, with an interval. It is differentiable."""

    @property
    def name(self) -> str:
        """What the predictor is called in reports."""
        ...

    def __call__(self, weights: Tensor) -> Tensor:
        """Predict milliseconds (N,) for op weights (N, S, K)."""
        ...

    def interval(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Give an interval for 90 % of new architectures.

        Args:
            weights: op weights (N, S, K).

        Returns:
            The lower and the upper end, milliseconds (N,) each.
        """
        ...


@dataclass(frozen=True, eq=False)
class _Predicted:
    """The common part: an interval from the relative errors on networks that were left out of the fit.

    Attributes:
        errors: low and high relative error of the interval.
    """

    errors: tuple[float, float]

    def __call__(self, weights: Tensor) -> Tensor:
        raise NotImplementedError

    def interval(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Give an interval for 90 % of new architectures.

        Args:
            weights: op weights (N, S, K).

        Returns:
            The lower and the upper end, milliseconds (N,) each.
        """
        mean = self(weights)
        return mean * (1 + self.errors[0]), mean * (1 + self.errors[1])


@dataclass(frozen=True, eq=False)
class _OfTable(_Predicted):
    """A predictor that a table and timed networks suffice for.

    Attributes:
        table: the latency table.
    """

    table: LatencyTable

    @classmethod
    def fit(cls, table: LatencyTable, architectures: Sequence[Architecture], ms: Sequence[float]) -> Self:
        """Fit what is free, and estimate the interval.

        Args:
            table: the latency table.
            architectures: at least 10 that were timed whole.
            ms: milliseconds of each.

        Returns:
            The predictor.

        Raises:
            InputError: there are too few networks, or milliseconds that are not positive numbers.
        """
        measured = _checked(architectures, ms)
        return cls._fitted(
            table, torch.tensor([table.table_ms(a) for a in architectures], dtype=torch.float64), measured
        )

    @classmethod
    def _fitted(cls, table: LatencyTable, sums: Tensor, measured: Tensor) -> Self:
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class SumOfParts(_OfTable):
    """The sum of the table; timed networks only give its interval.

    Attributes:
        name: "sum of parts".
    """

    name: str = "sum of parts"

    @classmethod
    def _fitted(cls, table: LatencyTable, sums: Tensor, measured: Tensor) -> Self:
        return cls(_errors(measured, sums), table)

    def __call__(self, weights: Tensor) -> Tensor:
        return self.table(weights)


@dataclass(frozen=True, eq=False)
class ScaledSum(_OfTable):
    """The sum of the table on the scale of whole networks: a factor and a constant by least squares.

    Attributes:
        factor: times the sum.
        constant: milliseconds that are added.
        name: "scaled sum".
    """

    factor: float
    constant: float
    name: str = "scaled sum"

    @classmethod
    def _fitted(cls, table: LatencyTable, sums: Tensor, measured: Tensor) -> Self:
        found = _ridge(sums[:, None], measured, (1e-12,))  # no penalty, and no division by 0 where all sums are equal
        errors = _errors(measured, measured - found.left_out)
        return cls(errors, table, found.coefficients.item(), found.constant)

    def __call__(self, weights: Tensor) -> Tensor:
        return self.factor * self.table(weights) + self.constant


@dataclass(frozen=True, eq=False)
class Ridge(_Predicted):
    """Linear least squares on the op weights, with a penalty on all but the constant (UNAS, section 3.3).

    Attributes:
        coefficients: milliseconds (S, K) of each candidate in each slot.
        constant: milliseconds that are added.
        penalty: of squared coefficients, in units of the features' variance.
        name: "ridge".
    """

    coefficients: Tensor
    constant: float
    penalty: float
    name: str = "ridge"

    @classmethod
    def fit(
        cls,
        space: SearchSpace,
        architectures: Sequence[Architecture],
        ms: Sequence[float],
        penalty: float | None = None,
    ) -> "Ridge":
        """Fit the coefficients.

        Args:
            space: of the architectures.
            architectures: at least 10 that were timed whole.
            ms: milliseconds of each.
            penalty: of squared coefficients; None to choose it by leave-one-out.

        Returns:
            The predictor.

        Raises:
            InputError: there are too few networks, or milliseconds that are not positive numbers.
        """
        measured = _checked(architectures, ms)
        weights = _encoded(space, architectures)
        found = _ridge(weights.flatten(1), measured, PENALTIES if penalty is None else (penalty,))
        errors = _errors(measured, measured - found.left_out)
        return cls(errors, found.coefficients.reshape(weights.shape[1:]), found.constant, found.penalty)

    def __call__(self, weights: Tensor) -> Tensor:
        return (weights * self.coefficients.to(weights)).sum((-1, -2)) + self.constant


@dataclass(frozen=True, eq=False)
class _Residual(_Predicted):
    """The scaled sum, corrected by ridge regression of its errors on features of the op weights.

    Attributes:
        scaled: the scaled sum.
        coefficients: milliseconds (F,) of each feature.
        constant: milliseconds that are added.
        penalty: of squared coefficients, chosen by leave-one-out.
    """

    scaled: ScaledSum
    coefficients: Tensor
    constant: float
    penalty: float

    @classmethod
    def fit(
        cls, space: SearchSpace, table: LatencyTable, architectures: Sequence[Architecture], ms: Sequence[float]
    ) -> Self:
        """Fit the scaled sum, then the coefficients to its errors.

        Args:
            space: of the architectures.
            table, architectures, ms: as in `ScaledSum.fit`.

        Returns:
            The predictor.

        Raises:
            InputError: as there.
        """
        measured = _checked(architectures, ms)
        weights, scaled = _encoded(space, architectures), ScaledSum.fit(table, architectures, ms)
        found = _ridge(cls.features(weights), measured - scaled(weights), PENALTIES)
        errors = _errors(measured, measured - found.left_out)
        return cls(errors, scaled, found.coefficients, found.constant, found.penalty)

    @staticmethod
    def features(weights: Tensor) -> Tensor:
        """Features (N, F) of op weights (N, S, K): the weights themselves."""
        return weights.flatten(1)

    def __call__(self, weights: Tensor) -> Tensor:
        return self.scaled(weights) + self.features(weights) @ self.coefficients.to(weights) + self.constant


@dataclass(frozen=True, eq=False)
class LinearResidual(_Residual):
    """The scaled sum, corrected for each candidate of each slot (F = S K), so that it is a table again.

    Attributes:
        name: "table and candidates".
    """

    name: str = "table and candidates"


@dataclass(frozen=True, eq=False)
class PairResidual(_Residual):
    """The scaled sum, corrected for each candidate and for each pair of candidates in neighbouring slots.

    Attributes:
        name: "table and pairs".
    """

    name: str = "table and pairs"

    @staticmethod
    def features(weights: Tensor) -> Tensor:
        """The op weights, and the products of those of neighbouring slots (N, F)."""
        products = weights[:, :-1, :, None] * weights[:, 1:, None, :]
        return torch.cat([weights.flatten(1), products.flatten(1)], 1)


# --- fitting ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fitted:
    coefficients: Tensor  # (F,)
    constant: float
    penalty: float
    left_out: Tensor  # (N,) target minus what a fit without that row predicts


def _ridge(features: Tensor, target: Tensor, penalties: Sequence[float]) -> _Fitted:
    """Ridge regression with a free constant; of several penalties the one with the least leave-one-out error.

    A left-out residual is residual / (1 - leverage), so no fit is repeated (Allen 1974, PRESS).
    """
    mean, level = features.mean(0), target.mean()
    centred = features - mean
    left, size, right = torch.linalg.svd(centred, full_matrices=False)
    scale = (size**2).mean().clamp_min(1e-12)
    best = None
    for penalty in penalties:
        shrunk = size**2 / (size**2 + penalty * scale)
        predicted = left @ (shrunk * (left.T @ (target - level)))
        leverage = (left**2) @ shrunk + 1 / len(target)
        left_out = (target - level - predicted) / (1 - leverage).clamp_min(1e-9)
        if best is None or left_out.square().sum() < best.left_out.square().sum():
            inverse = torch.where(size > 1e-9 * size[0], shrunk / size.clamp_min(1e-30), 0.0)
            coefficients = right.T @ (inverse * (left.T @ (target - level)))
            constant = (level - mean @ coefficients).item()
            best = _Fitted(coefficients, constant, penalty, left_out)
    assert best is not None
    return best


def _encoded(space: SearchSpace, architectures: Sequence[Architecture]) -> Tensor:
    return torch.stack([space.encode(architecture) for architecture in architectures]).double()


def _checked(architectures: Sequence[Architecture], ms: Sequence[float]) -> Tensor:
    if len(architectures) != len(ms) or len(ms) < 10:
        raise InputError(f"a predictor is fitted to at least 10 timed networks; got {len(architectures)} and {len(ms)}")
    measured = torch.as_tensor(ms, dtype=torch.float64)
    if not (measured.isfinite().all() and (measured > 0).all()):
        raise InputError("milliseconds are positive and finite: leave failed measurements out")
    return measured


def _errors(measured: Tensor, predicted: Tensor) -> tuple[float, float]:
    """Relative errors that 90 % of new networks should lie between (split conformal, Vovk et al. 2005)."""
    relative = (measured / predicted.clamp_min(1e-9) - 1).sort().values
    n = len(relative)
    aside = max(0, math.floor((n + 1) * (1 - COVERAGE) / 2) - 1)
    return relative[aside].item(), relative[n - 1 - aside].item()
