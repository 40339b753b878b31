"""A process that cannot outlive its limit."""

import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

POLL_S = 0.2


@dataclass(frozen=True)
class Ended:
    """The end of a supervised process.

    Attributes:
        code: exit status; None if it had to be ended at its limit.
        seconds: wall clock.
        peak_rss_mb: resident memory of the largest kernel below it.
        log: what it printed.
    """

    code: int | None  # exit status; None if it had to be ended at its limit
    seconds: float
    peak_rss_mb: float  # of the largest kernel below it
    log: str  # what it printed


def supervise(command: Sequence[str], environment: Mapping[str, str], cwd: Path, limit_s: float) -> Ended:
    """Run a command to its end or to its limit. Afterwards nothing that it started is alive.

    Args:
        command: program and arguments.
        environment: all its variables.
        cwd: folder that it works in.
        limit_s: seconds.

    Returns:
        How it ended.
    """
    start = time.monotonic()
    peak_mb, family = 0.0, set()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment, cwd=cwd
        )
        try:
            while process.poll() is None and time.monotonic() - start < limit_s:
                family.update(_family(process.pid))  # and those stay in it whose parent has gone
                peak_mb = max([peak_mb, *map(_kernel_mb, family)])
                _wait(process, POLL_S)
            code = process.poll()
        finally:  # also when the user presses Ctrl-C: a kernel is in a session of its own and gets no signal
            _end(process, family)
        seconds = time.monotonic() - start
        log.seek(0)
        return Ended(code, seconds, peak_mb, log.read().decode("utf-8", "replace"))


def _wait(process: subprocess.Popen, seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        pass


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def _kernel_mb(process: psutil.Process) -> float:
    try:
        is_kernel = any("ipykernel" in word for word in process.cmdline())
        return process.memory_info().rss / 2**20 if is_kernel else 0.0
    except psutil.Error:  # gone since it was listed
        return 0.0


def _end(process: subprocess.Popen, family: set[psutil.Process]) -> None:
    newcomers = _family(process.pid) if process.poll() is None else []  # else the id may be another's by now
    process.kill()
    for member in family.union(newcomers):
        try:
            member.kill()  # psutil makes sure that the id is still the same process's
        except psutil.Error:
            pass
    process.wait()
