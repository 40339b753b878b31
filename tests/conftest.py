import os
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest
import torch

import labkit as lk
from labkit.course import headless
from labkit.estimators.costs import TabularCost
from labkit.latency.cards import Card, Timing
from labkit.networks.supernet import seeded

matplotlib.use("Agg")
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # a shell starts a background job so, and tests interrupt themselves
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def space():
    return lk.spaces.five_layer()


@pytest.fixture(scope="session")
def data():
    """Enough glyphs to learn something from in seconds."""
    return lk.data.glyphs(1_500, 500, 500, seed=0)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def synthetic_table(space, seed=0):
    """A table with made-up milliseconds: no clock, so tests that use it do not depend on the machine."""
    draw = torch.Generator().manual_seed(seed)
    ms = lambda: 0.01 + 0.09 * torch.rand((), generator=draw).item()
    timing = lambda value: Timing(value, 1.05 * value, 0.01 * value, 15)
    card = Card(
        "synthetic", "torch", (("torch", "0"),), "float32", "NCHW", 1, space.image, 1, "best", date="2000-01-01"
    )
    return lk.LatencyTable(
        space.name,
        space.digest,
        card,
        timing(0.002),
        (("conv3x3", timing(0.05)), ("head", timing(0.02))),
        tuple(tuple((op, timing(ms())) for op in slot) for slot in space.slots),
    )


@pytest.fixture
def make_table():
    return synthetic_table


@pytest.fixture(scope="session")
def table(space):
    return synthetic_table(space)


@pytest.fixture(scope="session")
def box():
    """243 made-up errors with interactions, and latencies that a sum of parts only follows: (cost, ms, parts)."""
    space, draw = lk.spaces.five_layer(), torch.Generator().manual_seed(3)
    noise = lambda: torch.randn(space.size, generator=draw, dtype=torch.float64)
    choice = torch.stack([space.encode(a) for a in space]).double().argmax(-1)  # (243, 5): 0 large, 1 small, 2 pooling
    pools = (choice == 2).double()
    late_pools_hurt_less = torch.tensor([0.10, 0.06, 0.04, 0.025, -0.01], dtype=torch.float64)
    errors = 0.07 + pools @ late_pools_hurt_less + 0.01 * (choice == 1).sum(1) + 0.02 * pools.sum(1) ** 2
    parts = 0.05 + torch.tensor([0.06, 0.03, 0.01], dtype=torch.float64)[choice].sum(1)
    of = lambda values: TabularCost(space, values)
    return of(errors + 0.004 * noise()), of(parts * (1 + 0.03 * noise())), of(parts)


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder of the site, built by its command with the network shut; figures are those that ship."""
    for name in ("mkdocs", "material", "mkdocstrings_handlers.python", "griffe", "latex2mathml"):
        pytest.importorskip(name, reason="the extra `docs` is not installed: python lab.py docs installs it")
    root, out = Path(__file__).resolve().parent.parent, tmp_path_factory.mktemp("built") / "site"
    command = [sys.executable, str(root / "docs" / "website"), "--shipped", "--out", str(out)]
    environment = {**os.environ, "LABKIT_OFFLINE": "1", "PYTHONPATH": f"{headless.OFFLINE}{os.pathsep}{root}"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " 0 broken links" in ended.stdout
    return out


@pytest.fixture(scope="module")
def network():
    """A mobile network whose batch norms are not the identity."""
    space = lk.spaces.mobile()
    network = lk.derive(space, space.sample(1, torch.Generator().manual_seed(4))[0])
    with torch.no_grad(), seeded(0):
        for _ in range(4):
            network.train()(2 * torch.randn(16, 3, 32, 32) + 1)
    return network.eval()
