"""A black box that is known everywhere: 4,096 architectures, two costs."""

import itertools

import numpy as np
import pytest

import labkit as lk

SPACE = lk.Choices("planted", tuple(tuple(f"c{k}" for k in range(4)) for _ in range(6)))


@pytest.fixture(scope="session")
def planted():
    """The space."""
    return SPACE


@pytest.fixture(scope="session")
def parts():
    return np.random.default_rng(0).uniform(0, 0.1, (2, 6, 4))


@pytest.fixture
def cost(parts):
    """(error, ms): a sum of parts each, and an interaction of neighbours in the error."""

    def call(architecture):
        row = [int(op[1]) for op in architecture.ops]
        error, ms = (sum(part[s, k] for s, k in enumerate(row)) for part in parts)
        return error + 0.03 * sum(a == b for a, b in itertools.pairwise(row)), 10 * ms

    return call


@pytest.fixture
def exact(cost):
    """(4096, 2) every cost."""
    return np.array([cost(a) for a in SPACE])


@pytest.fixture
def share_of_area(exact):
    """The share of the exact front's hypervolume that trials reach."""
    frontier = lambda pairs: lk.Frontier.of(lk.Point(SPACE[0], *pair) for pair in pairs)

    def share(trials, worst):
        return frontier([t.costs for t in trials]).hypervolume(worst) / frontier(exact.tolist()).hypervolume(worst)

    return share
