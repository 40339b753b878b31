"""A small course in a folder of its own: the smallest notebook that passes the lint, and its editions."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_output

from labkit.course import editions, headless

# The smallest notebook that passes the lint.
_SOURCE = '''# %% [markdown] tags=["nb-header"]
# # 03. How long is a moment?

# %% [markdown] tags=["objectives"]
# - **O3.1** *measure* a wait.

# %% tags=["parameters"]
FAST = True  # a shortened run
SEED = 0

# %% [markdown]
# ## Waiting

# %% tags=["setup", "hide-input"]
from IPython.display import HTML, display
from ipywidgets import interact

# %% tags=["keep_output"]
display(HTML('<img alt="a line" src="data:,">'))

# %% tags=["keep_output", "nbval-check-output"]
print("a fact")

# %% tags=["widget"]
interact(lambda steps: steps, steps=(1, 5));


# %% tags=["exercise"]
def mean(waits):
    """The mean of `waits` in ms."""
    # stub: if not waits:
    # stub:     return 0.0
    # solution
    return sum(waits) / len(waits)
    # end solution


# %% tags=["check"]
print("right" if mean([1, 3]) == 2 else "not yet")

# %% [markdown] tags=["hint"]
# <details><summary>1</summary>Add.</details>
# <details><summary>2</summary>Divide.</details>
# <details><summary>3</summary>sum, len.</details>

# %% tags=["solution"]
print("the answer")
'''


_STUB = '''def mean(waits):
    """The mean of `waits` in ms."""
    # write your code here
    if not waits:
        return 0.0'''
_ANSWER = '''def mean(waits):
    """The mean of `waits` in ms."""
    return sum(waits) / len(waits)'''


def _put(root: Path, text: str) -> Path:
    source = root / "notebooks" / "src" / "03_waiting.py"
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(text, encoding="utf-8")
    return source


def _learner(root: Path) -> Path:
    return root / "notebooks" / "03_waiting.ipynb"


def _solution(root: Path) -> Path:
    return root / "notebooks" / "solutions" / "03_waiting.ipynb"


def _cells(path: Path, tag: str = "") -> list:
    found = nbformat.read(path, as_version=4).cells
    return [cell for cell in found if not tag or tag in headless.tags(cell)]


def _store(path: Path, tag: str, outputs: list) -> None:
    """As a run in place, or a careless hand, would leave it."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if tag in headless.tags(cell):
            cell.outputs = outputs
    nbformat.write(notebook, path)


def _html(text: str) -> list:
    return [new_output("display_data", {"text/html": text})]


@pytest.fixture(scope="session")
def SOURCE():
    return _SOURCE


@pytest.fixture(scope="session")
def STUB():
    return _STUB


@pytest.fixture(scope="session")
def ANSWER():
    return _ANSWER


@pytest.fixture(scope="session")
def put():
    return _put


@pytest.fixture(scope="session")
def learner():
    return _learner


@pytest.fixture(scope="session")
def solution():
    return _solution


@pytest.fixture(scope="session")
def cells():
    return _cells


@pytest.fixture(scope="session")
def store():
    return _store


@pytest.fixture(scope="session")
def html():
    return _html


@pytest.fixture
def root(tmp_path):
    _put(tmp_path, _SOURCE)
    editions.build(tmp_path)
    return tmp_path
