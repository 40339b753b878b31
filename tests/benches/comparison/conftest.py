"""Comparisons that take seconds: one that is run, one that is made up, and the shipped tabular benchmark."""

import pytest
import torch

import labkit as lk
from labkit.benches import comparison
from labkit.benches.comparison import OURS, Row, compare
from labkit.benches.tabular import table as tabular
from labkit.networks.training import TrainConfig
from labkit.oneshot.config import SearchConfig, SelectionConfig

TINY = SearchConfig(
    mixture_steps=2, weight_steps=2, joint_steps=4, batch_size=16, evaluation_images=50, calibration_images=32
)
SHORT = SelectionConfig(scan=4, entrants=2, images=64, rungs=2, final=None)
ONCE = TrainConfig(epochs=1, batch_size=64)
WEIGHTS = (0.0, 2.0)


@pytest.fixture(scope="session")
def known(space, data, table):
    """Errors and latencies made up for the test, with a seed's deviation each."""
    draw = torch.Generator().manual_seed(0)
    error = torch.rand(243, 3, generator=draw, dtype=torch.float64) * 0.1 + torch.linspace(0.05, 0.6, 243)[:, None]
    timings = tuple(lk.Timing(x, x, 0.0, 5) for x in torch.linspace(0.1, 0.9, 243).tolist())
    timed = tabular.Timed("torch-b1", table.card, timings, tuple(t.best_ms for t in timings))
    recipe = {"data": data.card(), "training": {"epochs": 1}}
    seconds = torch.full((243, 3), 0.5, dtype=torch.float64)
    return tabular.TabularBenchmark(space, error, error, (), seconds, (timed,), recipe, {})


@pytest.fixture(scope="session")
def asked(known):
    """What `compare` is asked for, beside the space, the images, the table, the weights and the file."""
    return {"config": TINY, "selection": SHORT, "training": ONCE, "tabular": known, "seeds": 2}


@pytest.fixture(scope="session")
def found(space, data, table, asked, tmp_path_factory):
    """A comparison that was run."""
    return compare(space, data, table, WEIGHTS, tmp_path_factory.mktemp("c") / "c.json", **asked)


@pytest.fixture(scope="session")
def shipped():
    return tabular.load()


@pytest.fixture
def made_up(space, table):
    def make(ours, theirs, known):
        """A comparison whose choices cost so much more than the best, one number a seed."""
        by_cost = [str(a) for a in known.space]
        pick = lambda rank: (by_cost[rank],)
        rows = [Row(OURS, s, pick(r), 1, 1, 1.0) for s, r in enumerate(ours)]
        rows += [Row("random", s, pick(r), 1, 1, 1.0) for s, r in enumerate(theirs)]
        return comparison.Comparison(space, table, (0.0,), {}, {}, tuple(rows))

    return make
