"""lab.py with the installs and the final program replaced by recorders; a fresh clone is what CI itself is."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def lab(tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("lab", ROOT / "lab.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "PYTHON", tmp_path / ".venv" / "bin" / "python")
    monkeypatch.setattr(module, "WORK", tmp_path / "work")
    module.calls, module.became = [], []

    def call(*command, **_):
        module.calls.append([str(part) for part in command])
        if "venv" in module.calls[-1]:
            module.PYTHON.parent.mkdir(parents=True)
            module.PYTHON.write_text("")

    monkeypatch.setattr(module, "call", call)
    monkeypatch.setattr(module, "become", lambda command: module.became.append([str(c) for c in command]) or 0)
    module.real_installers = module.installers
    monkeypatch.setattr(module, "installers", lambda: ([["uv"], ["pip"]], {}))
    monkeypatch.setattr(module, "reachable", lambda host: False)
    monkeypatch.setenv("LAB_TORCH", "cpu")
    for name in ("LABKIT_OFFLINE", "PYTHONPATH", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "")
    return module


def test_sets_up_once_with_torch_pinned_and_first(lab):
    assert lab.main(["setup"]) == 0 and lab.main(["setup"]) == 0
    venv, torch, rest = lab.calls
    assert "venv" in venv and torch == ["uv", "torch==2.13.0"]
    assert rest == ["uv", "-e", ".", "-c", "constraints.txt"]


def test_uv_is_told_what_pip_does_unasked(lab, monkeypatch):
    monkeypatch.setattr(lab.shutil, "which", lambda name: "/bin/" + name)
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels /more")
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    monkeypatch.setenv("UV_COMPILE_BYTECODE", "0")
    (uv, pip), environment = lab.real_installers()
    assert str(uv[0]) == "/bin/uv" and "pip" in pip and environment["UV_FIND_LINKS"] == "/wheels,/more"
    assert environment["UV_COMPILE_BYTECODE"] == "0", "what is set stays"
    monkeypatch.delenv("UV_COMPILE_BYTECODE")
    assert lab.real_installers()[1]["UV_COMPILE_BYTECODE"] == "1"


def test_tests_bring_their_own_packages_and_block_the_network(lab):
    lab.main(["setup"])
    lab.main(["test", "-k", "x"])
    cores = str(min(4, os.cpu_count()))
    together = ["-n", cores, "--dist", "loadfile", "--max-worker-restart", "0"]
    pytest_command = [str(lab.PYTHON), "-m", "pytest", *together, "-k", "x"]
    assert lab.calls[-1][2] == ".[test]" and lab.became == [pytest_command]
    assert lab.os.environ["LABKIT_OFFLINE"] == "1" and Path(lab.os.environ["PYTHONPATH"], "sitecustomize.py").is_file()


def test_the_site_brings_its_own_packages_and_is_built_without_a_network(lab):
    lab.main(["docs", "--shipped"])
    assert lab.calls[-1][2] == ".[docs]"
    assert lab.became == [[str(lab.PYTHON), str(ROOT / "docs" / "website"), "--shipped"]]
    assert lab.os.environ["LABKIT_OFFLINE"] == "1" and Path(lab.os.environ["PYTHONPATH"], "sitecustomize.py").is_file()
    assert (ROOT / "docs" / "website" / "__main__.py").is_file()


def test_cpu_torch_comes_from_its_index_where_that_answers(lab, monkeypatch):
    monkeypatch.setattr(lab, "reachable", lambda host: True)
    monkeypatch.setattr(lab.sys, "platform", "linux")
    monkeypatch.setattr(lab.platform, "machine", lambda: "x86_64")
    assert lab.torch_index() == lab.CPU_INDEX
    monkeypatch.setenv("LAB_TORCH", "cuda")
    assert lab.torch_index() is None
    monkeypatch.delenv("LAB_TORCH")
    monkeypatch.setattr(lab.shutil, "which", lambda name: "/bin/" + name)
    assert lab.torch_index() is None, "with an NVIDIA GPU the default index, which has the CUDA build"


def test_opens_notebook_00_on_loopback_with_a_token_and_no_news(lab):
    lab.main([])
    (command,) = lab.became
    assert "--ServerApp.ip=127.0.0.1" in command and "--LabApp.default_url=/lab/tree/00_start_here.ipynb" in command
    assert not any("token" in part.lower() for part in command), "JupyterLab's own random token stays"
    settings = next(part.split("=", 1)[1] for part in command if "app_settings_dir" in part)
    assert '"fetchNews": "false"' in Path(settings, "overrides.json").read_text()


def test_a_learners_copy_stays(lab):
    lab.fresh_copies()
    copy = lab.WORK / "00_start_here.ipynb"
    copy.write_text("my notes")
    lab.fresh_copies()
    assert copy.read_text() == "my notes"
    assert len(list(lab.WORK.glob("*.ipynb"))) == len(list((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))) >= 8


def test_other_pythons_are_refused_with_one_line(lab, monkeypatch):
    for version in ((3, 10, 9), (3, 14, 0)):
        monkeypatch.setattr(lab.sys, "version_info", version)
        said = lab.main(["setup"])
        assert "Python 3.11, 3.12 or 3.13 is needed" in said and "\n" not in said
    assert lab.calls == []


def test_runs_pass_their_words_on(lab, capsys):
    lab.main(["run", "06", "--full"])
    assert lab.became[0][1:] == ["-m", "labkit", "run", "06", "--full"]
    for words, code in ((["fly"], 2), (["run"], 2), (["--help"], 0)):
        assert lab.main(words) == code
        said = capsys.readouterr()
        assert "python lab.py" in (said.err if code else said.out)


def test_pip_is_tried_where_uv_fails(lab, monkeypatch):
    recorded = lab.call

    def call(*command, **options):
        recorded(*command, **options)
        if command[0] == "uv":
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(lab, "call", call)
    assert lab.main(["setup"]) == 0
    assert [command[0] for command in lab.calls[1:]] == ["uv", "pip", "uv", "pip"]


def test_a_failed_install_is_one_line(lab, monkeypatch):
    def fail(*command, **_):
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(lab, "call", fail)
    assert lab.main(["setup"]).startswith("[lab] set-up failed in: " + sys.executable)
