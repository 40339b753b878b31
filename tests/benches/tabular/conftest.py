"""The shipped tabular benchmark, and a space that is trained in seconds."""

import pytest

import labkit as lk
from labkit.benches.tabular import table as tabular
from labkit.spaces import Edge, SearchSpace
from labkit.system.errors import InputError


@pytest.fixture(scope="session")
def known():
    try:
        return tabular.load()
    except InputError as problem:
        if "lacks" not in str(problem):
            raise
        pytest.skip(f"the shipped tabular benchmark is not finished: {problem}")


@pytest.fixture
def small(request):
    """A space of four architectures, an image set of a few hundred, an epoch."""
    edges = (Edge(3, 4, 4, fixed="conv3x3"), Edge(4, 4, slot=0), Edge(4, 4, slot=1))
    space = SearchSpace("small", (("conv3x3", "maxpool3x3"),) * 2, edges, (3, 32, 32), 10, "flat")
    lk.spaces.SPACES.register("small", lambda classes=10: space)
    request.addfinalizer(lambda: lk.spaces.SPACES.remove("small"))
    return space
