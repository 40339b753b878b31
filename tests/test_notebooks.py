"""Every notebook of the course: built from its source, fit to be read, and run by papermill and by nbval.

Papermill runs the solutions, which do all that a learner's edition does and the exercises besides, and one learner's
edition; nbval runs the learners' editions.
"""

import os
import re
import shutil
import sys

import pytest

from labkit.course import editions, headless
from labkit.system import storage

pytestmark = pytest.mark.notebooks

ROOT = storage.NOTEBOOKS.parent
NOTEBOOKS = headless.notebooks()
SOLUTIONS = headless.notebooks(storage.NOTEBOOKS / "solutions")

# What a notebook may take on two free cores. A CI machine is not free, so a test fails only beyond half as much again,
# or three times as much where other tests run beside it: they take one of two cores, and such machines differ by half
# in speed. One between the two is to be mended before it fails. Memory is half as much again at most, whatever runs.
ONE_S, TOGETHER_S, PEAK_MB = 45, 300, 2048
NOISE = 3.0 if "PYTEST_XDIST_WORKER" in os.environ else 1.5
NBVAL_S = 900  # nbval waits for ever on a kernel that has died

name = lambda path: path.stem
place = lambda path: path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def fast_run(tmp_path_factory):
    """A notebook's report in FAST mode; each runs once."""
    out, reports = tmp_path_factory.mktemp("fast"), {}

    def run(path):
        if path not in reports:
            reports[path] = headless.run(path, out)
            print(reports[path])
        return reports[path]

    return run


def test_there_are_notebooks_and_each_has_its_source():
    assert NOTEBOOKS, "no notebooks/NN_topic.ipynb: build them from notebooks/src"
    assert [path.stem for path in NOTEBOOKS] == [path.stem for path in editions.sources(ROOT)]


def test_the_editions_are_what_their_sources_give():
    assert editions.check(ROOT) == []


@pytest.mark.parametrize("path", [*editions.sources(ROOT), *NOTEBOOKS, *SOLUTIONS], ids=place)
def test_lint(path):
    assert editions.lint(path) == []


@pytest.mark.parametrize("path", [*SOLUTIONS, NOTEBOOKS[1]], ids=place)
def test_a_fast_run_passes_in_time_and_memory(path, fast_run):
    report = fast_run(path)
    assert report.problems == ()
    assert report.seconds <= ONE_S * NOISE, f"{report.seconds:.0f} s; the bar is {ONE_S} s"
    assert report.peak_rss_mb <= PEAK_MB * 1.5, f"{report.peak_rss_mb:.0f} MB; the bar is {PEAK_MB} MB"


def test_all_fast_runs_together_are_in_time(fast_run):
    reports = [fast_run(path) for path in SOLUTIONS]
    assert len(reports) == len(NOTEBOOKS) > 0
    seconds = sum(report.seconds for report in reports)
    print(*reports, f"together {seconds:.0f} s; the bar is {TOGETHER_S} s", sep="\n")
    assert seconds <= TOGETHER_S * NOISE


def test_nbval_passes(tmp_path):
    """nbval sees a raising widget callback in its cell, and compares the facts tagged nbval-check-output."""
    copies = [shutil.copy(path, tmp_path) for path in NOTEBOOKS]  # a run may write beside its notebook
    assert copies
    settings = tmp_path / "pytest.ini"
    settings.write_text("[pytest]\n")  # none of ours: its warnings are not the notebooks'
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "--nbval-cell-timeout=300"]
    command += ["-q", "-p", "no:cacheprovider", "-c", str(settings), "--rootdir", str(tmp_path), *map(str, copies)]
    with headless.sandbox() as box:
        environment = {key: value for key, value in box.environment.items() if key != "PYTEST_ADDOPTS"}
        ended = headless.supervise(command, environment, tmp_path, NBVAL_S)
        problems = box.thread_problems()
    print(ended.log[-20_000:])
    assert ended.code is not None, f"nbval did not end within {NBVAL_S} s"
    assert ended.code == 0 and problems == ()
    passed = re.search(r"(\d+) passed", ended.log)
    assert passed and int(passed[1]) >= sum(map(_code_cells, NOTEBOOKS))


def _code_cells(path) -> int:
    return sum(cell.cell_type == "code" for cell in headless.read_notebook(path).cells)
