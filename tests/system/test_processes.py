"""Calls in processes of their own: all of them, once, a thread each."""

import os
import tempfile

import pytest

import labkit as lk
from labkit.system import processes


def _squared(x):
    return x, x * x, os.getpid(), os.environ.get("OMP_NUM_THREADS")


def _unlucky(x):
    if x == 2:
        raise ValueError("two")
    return x


@pytest.mark.parametrize("here", [None, "2"])
def test_every_item_is_called_once_elsewhere_on_one_thread(here, monkeypatch):
    for name in processes.ONE_THREAD:  # else a process would inherit the one thread that the suite has
        monkeypatch.delenv(name, raising=False) if here is None else monkeypatch.setenv(name, here)
    found = sorted(processes.as_finished(_squared, range(5), 2))
    assert [(x, square) for x, square, *_ in found] == [(x, x * x) for x in range(5)]
    assert os.getpid() not in {pid for *_, pid, _ in found} and {threads for *_, threads in found} == {"1"}


def _remember(number, function):
    global _known
    _known = number, function


def _recall(x):
    number, function = _known
    return number, function(x), os.getpid()


def test_every_process_starts_with_what_it_is_given_even_a_notebooks_own_function(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    found = list(processes.as_finished(_recall, range(6), 2, start=_remember, started_with=(7, lambda x: x + 1)))
    assert sorted(found)[0][:2] == (7, 1) and {row[:2] for row in found} == {(7, x + 1) for x in range(6)}
    assert os.getpid() not in {pid for *_, pid in found} and not list(tmp_path.iterdir()), "nothing is left behind"


def test_an_error_comes_back_as_it_was():
    with pytest.raises(ValueError, match="two"):
        list(processes.as_finished(_unlucky, range(4), 2))


def test_a_dead_process_names_the_remedy():
    with pytest.raises(lk.InputError, match="most likely because memory ran out: take fewer workers"):
        list(processes.as_finished(os._exit, [3], 1))


def test_what_kills_a_process_leaves_this_one_alive():
    assert processes.runs_in_subprocess(abs, -1) and not processes.runs_in_subprocess(os.abort)
    with pytest.raises(ValueError, match="two"):
        processes.runs_in_subprocess(_unlucky, 2)


def test_no_more_workers_than_calls(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert [processes.workers_for(*ask) for ask in ((3, None), (20, None), (20, 2), (0, 5))] == [3, 8, 2, 1]
