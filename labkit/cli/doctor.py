"""What this machine has for the course, and what to do about each gap."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch

from labkit.latency.table import shipped_tables
from labkit.runtimes.registry import runtimes
from labkit.system import storage
from labkit.system.device import device_name

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's: `ok`, `note` (the course runs without it) or `fix` (it does not)."""

    level: str
    subject: str
    says: str

    def __str__(self) -> str:
        return f"{self.level:4} {self.subject}: {self.says}"


def examine() -> tuple[Finding, ...]:
    """Examine the installation.

    Returns:
        One finding per check.
    """
    return tuple(_findings())


def report(findings: tuple[Finding, ...]) -> dict[str, Any]:
    """The findings as JSON.

    Args:
        findings: of `examine`.

    Returns:
        A JSON object.
    """
    passed = all(finding.level != "fix" for finding in findings)
    return {"schema": 1, "passed": passed, "findings": [asdict(finding) for finding in findings]}


def _findings() -> Iterator[Finding]:
    python = platform.python_version()
    fits = (3, 11) <= sys.version_info[:2] < (3, 14)
    advice = "" if sys.version_info[:2] == (3, 11) else "; the suite is run on 3.11"
    yield Finding("ok" if fits else "fix", "python", python + (advice if fits else ": use Python 3.11, 3.12 or 3.13"))
    fits = (2, 11) <= _numbers(torch.__version__) < (2, 14)
    remedy = "" if fits else ": pip install -c constraints.txt torch torchvision"
    yield Finding("ok" if fits else "fix", "torch", torch.__version__ + remedy)
    missing = _missing_packages()
    set_up = f"pip install {' '.join(missing)}" if storage.INSTALLED else "python lab.py setup"
    remedy = f"missing {', '.join(missing)}: {set_up}" if missing else "all installed"
    yield Finding("fix" if missing else "ok", "packages", remedy)
    found = sorted(storage.NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
    none = f"no notebooks in {storage.NOTEBOOKS}: work in a clone of the repository, or install its wheel"
    course = f"{len(found)} notebooks{'; `labkit notebooks copy` to work with' * storage.INSTALLED}" if found else none
    yield Finding("ok" if found else "fix", "course", course)
    yield Finding("ok", "processor", f"{device_name()}, {os.cpu_count()} cores, torch uses {torch.get_num_threads()}")
    yield _gpu()
    for runtime in runtimes():
        # Eager ones come with torch, and a graph is a way to launch what the line of its family speaks of.
        if runtime.repeats or not (runtime.deploys or runtime.needs_trial):
            continue
        says = str(runtime.version) if runtime.available else f"{runtime.reason}; the course runs without it"
        yield Finding("ok" if runtime.available else "note", runtime.name, says)
    browser = next((name for name in BROWSERS if shutil.which(name)), None)
    yield Finding("ok" if browser else "note", "browser tests", browser or "no Chromium: they are skipped")
    tables = len(shipped_tables())
    yield Finding(
        "ok" if tables else "note", "latency tables", f"{tables} recorded; `labkit latency build` measures this machine"
    )


def _gpu() -> Finding:
    if torch.cuda.is_available():
        return Finding("ok", "gpu", torch.cuda.get_device_name())
    if shutil.which("nvidia-smi"):
        remedy = "a driver is here but torch cannot use it: LAB_TORCH=cuda python lab.py setup"
        return Finding("note", "gpu", remedy)
    return Finding("note", "gpu", "none that torch can use; the course needs none")


def _missing_packages() -> list[str]:
    """Names of dependencies that are not installed: by pyproject.toml in a clone, else as the wheel was built."""
    try:
        wanted = tomllib.loads((storage.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    except OSError:
        wanted = [entry for entry in importlib.metadata.requires("labkit") or () if "extra ==" not in entry]
    names = [re.split("[^A-Za-z0-9._-]", entry)[0] for entry in wanted]
    return [name for name in names if not _installed(name)]


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split("+")[0].split(".")[:2]
    return int(major), int(minor)
