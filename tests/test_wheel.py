"""A wheel holds what a clone has: the package, the recorded data and the course, found from anywhere."""

import os
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CLEAN = shutil.ignore_patterns("__pycache__", ".*")
SOURCES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")


def major(package):
    """Of its version, 0 where there is none; not by `find_spec("pip")`, which switches setuptools' distutils off."""
    try:
        return int(version(package).split(".")[0])
    except PackageNotFoundError:
        return 0


pytestmark = pytest.mark.skipif(
    not major("pip") or major("setuptools") < 77, reason="a wheel is built by pip and setuptools >= 77"
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, for setuptools leaves its work beside the sources."""
    clone, out = tmp_path_factory.mktemp("clone"), tmp_path_factory.mktemp("wheel")
    for name in SOURCES:
        shutil.copy(ROOT / name, clone)
    for folder in ("labkit", "data", "notebooks"):
        shutil.copytree(ROOT / folder, clone / folder, ignore=CLEAN)
    command = [sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", "-q", "-w", out]
    done = subprocess.run([*map(str, command), "."], cwd=clone, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (built,) = out.iterdir()
    return built


def files(folder):
    shown = (path.relative_to(ROOT) for path in Path(ROOT, folder).rglob("*") if path.is_file())
    return [path for path in shown if not any(part.startswith((".", "__pycache__")) for part in path.parts)]


def test_it_holds_the_package_the_data_and_the_course(wheel):
    wanted = {path.as_posix(): path for path in files("labkit")}
    wanted |= {f"labkit/shipped/{path.as_posix()}": path for folder in ("data", "notebooks") for path in files(folder)}
    shipped = "labkit/shipped/data/tabular/five_layer/manifest.json"
    assert {"labkit/widgets/explorer/explorer.js", shipped} <= set(wanted)
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert held == set(wanted)
        assert [name for name, path in wanted.items() if archive.read(name) != (ROOT / path).read_bytes()] == []


def test_what_it_holds_is_found_from_an_empty_folder(wheel, tmp_path):
    site, empty = tmp_path / "site", tmp_path / "empty"
    zipfile.ZipFile(wheel).extractall(site)
    empty.mkdir()
    code = """
import labkit as lk
from labkit.cli import main
from labkit.latency.table import shipped_tables
print(lk.__file__, lk.course.progress_file(), sep="\\n")
print(len(lk.benches.tabular.load().points()), len(shipped_tables()), lk.LatencyTable.load("five_layer-torch-b1").space)
print(main(["doctor"]), main(["notebooks", "copy"]))
"""
    path = os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    environment.pop("LABKIT_PROGRESS", None)
    run = subprocess.run([sys.executable, "-c", code], cwd=empty, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    package, progress, found, *doctor, copied, ended = run.stdout.splitlines()
    assert Path(package).is_relative_to(site) and not Path(progress).is_relative_to(site)
    tables = [path for path in files("data/latency") if "." not in path.stem]
    assert found == f"243 {len(tables)} five_layer"
    assert ended == "0 0" and any(f"{len(tables)} recorded" in line for line in doctor)
    assert any("course: 8 notebooks; `labkit notebooks copy`" in line for line in doctor)
    assert "jupyter lab work" in copied and len([*Path(empty, "work").glob("*.ipynb")]) == 8
