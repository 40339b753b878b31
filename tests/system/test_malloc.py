"""Freed memory stays in the process: seen by the page faults of a process of its own."""

import platform
import subprocess
import sys

import pytest

from labkit.system import malloc

FAULTS = """
import resource, sys
import numpy as np
from labkit.system import malloc
if sys.argv[1] == "keep":
    assert malloc.keep_freed()
np.ones(4 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(4 << 20)  # 32 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")


def faults(how):
    done = subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@glibc
def test_memory_that_is_kept_costs_page_faults_once():
    kept, returned = faults("keep"), faults("return")
    pages = 10 * (32 << 20) // (2 << 20)  # even where the system gives huge pages of 2 MiB
    assert returned > pages, "without it, every array costs its pages again"
    assert kept < returned / 4


@pytest.mark.parametrize("refused", [None, malloc.MMAP_THRESHOLD, malloc.TRIM_THRESHOLD, malloc.TOP_PAD])
def test_all_three_options_are_to_be_taken(monkeypatch, refused):
    asked = {}

    class Library:
        def __init__(self, name):
            assert name is None, "the C library of this process"

        def mallopt(self, option, size):
            asked[option] = size
            return int(option != refused)

    monkeypatch.setattr(malloc.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(malloc.ctypes, "CDLL", Library)
    assert malloc.keep_freed.__wrapped__() == (refused is None)
    assert set(asked) == {-3, -1, -2}, "of malloc.h"
    assert all(0 < size < 1 << 31 for size in asked.values()), "mallopt takes an int"


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(malloc.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(malloc.ctypes, "CDLL", lambda name: pytest.fail("called"))
    assert malloc.keep_freed.__wrapped__() is False
