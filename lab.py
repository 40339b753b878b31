#!/usr/bin/env python3
"""One command from a fresh clone:

python lab.py            set up once, then open the course in JupyterLab
python lab.py setup      only set up (.venv beside this file)
python lab.py run 06     run a notebook headless; `run all` runs the course
python lab.py test       set up if need be and run the whole suite, a file a core; further words go to pytest
python lab.py lint       set up if need be and check style, format and types
python lab.py docs       set up if need be and build the site into site/; --shipped runs no notebook

Needs only Python 3.11 to 3.13. LAB_TORCH=cpu|cuda and LAB_INSTALLER=uv|pip override what is found here.
"""

import hashlib
import os
import platform
import shutil
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / ("python.exe" if os.name == "nt" else "python")
WORK = ROOT / "work"  # the learner's copies: ignored by git, so that autosave never dirties the clone
OFFLINE = ROOT / "labkit" / "course" / "headless" / "offline"
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
PINNED_FIRST = ("torch", "torchvision")
EXTRAS = {"test": "test", "lint": "test", "docs": "docs"}  # of pyproject.toml, that a verb needs


def main(argv):
    if not (3, 11) <= sys.version_info[:2] < (3, 14):
        return f"[lab] Python 3.11, 3.12 or 3.13 is needed; this is {platform.python_version()}"
    verb, rest = (argv[0], argv[1:]) if argv else ("open", [])
    if verb not in ("open", "setup", "run", "test", "lint", "docs") or (verb == "run" and not rest):
        asked = verb in ("-h", "--help", "help")
        print(__doc__, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    try:
        set_up(extra=EXTRAS.get(verb, ""))
    except subprocess.CalledProcessError as problem:
        return f"[lab] set-up failed in: {' '.join(map(str, problem.cmd))}"
    if verb == "setup":
        return 0
    if verb == "open":
        return become(lab_command(rest))
    if verb == "run":
        return become([PYTHON, "-m", "labkit", "run", *rest])
    if verb == "lint":
        return lint()
    # The install is over: from here on nothing may be fetched, by the tests, the site or by what they start.
    os.environ.update(LABKIT_OFFLINE="1", PYTHONPATH=str(OFFLINE))
    if verb == "docs":
        return become([PYTHON, ROOT / "docs" / "website", *rest])
    # Several files at once, a thread each: threads of programs that share a core wait for one another.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # A process that dies ends the run and is named: pytest-xdist can wait for ever on the one that replaces it.
    together = ["-n", min(4, os.cpu_count() or 1), "--dist", "loadfile", "--max-worker-restart", 0]
    return become([PYTHON, "-m", "pytest", *together, *rest])


LINT = (("ruff", "check"), ("ruff", "format", "--check"), ("mypy",))


def lint():
    """Style, format and types; the exit code of the first that fails."""
    os.chdir(ROOT)
    for command in LINT:
        say(" ".join(command))
        if code := subprocess.run([str(PYTHON), "-m", *command]).returncode:
            return code
    return 0


def say(text):
    print("[lab] " + text, flush=True)


# --- set-up -------------------------------------------------------------------------------------------------


def set_up(extra=""):
    """Make .venv as pyproject.toml and constraints.txt say; do nothing when that was done before."""
    stamp = VENV / (".lab-" + (extra or "course"))
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == fingerprint():
        return
    if not PYTHON.exists():
        say("making .venv")
        try:
            call(sys.executable, "-m", "venv", VENV)
        except subprocess.CalledProcessError:
            say("this Python cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv")
            raise
    commands, environment = installers()
    index = torch_index()
    if index:
        say("installing torch from " + index)
        install(commands, environment, *pins(PINNED_FIRST), "--index-url", index)
    else:  # alone and first: a range of another package must never choose torch's version
        say("installing torch")
        install(commands, environment, *pins(("torch",)))
    say("installing labkit and its tools (about 1.5 GB, half a minute to a few minutes)")
    install(commands, environment, "-e", f".[{extra}]" if extra else ".", "-c", "constraints.txt")
    stamp.write_text(fingerprint())


def install(commands, environment, *what):
    """Run the first of `commands` that works: uv is the faster one, pip knows more of odd networks."""
    for i, command in enumerate(commands):
        try:
            return call(*command, *what, env=environment)
        except subprocess.CalledProcessError:
            if i == len(commands) - 1:
                raise
            say("that did not work; once more with pip")


def fingerprint():
    digest = hashlib.sha256((sys.version + str(ROOT)).encode())
    for name in ("pyproject.toml", "constraints.txt"):
        digest.update((ROOT / name).read_bytes())
    return digest.hexdigest()


def pins(names):
    """The exact versions of `names` from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line.split(";")[0].strip() for line in lines if line.split("==")[0] in names]


def installers():
    """-> (commands, environment): uv where it can be had, for it is three times as fast; then pip."""
    environment = dict(os.environ, UV_NO_SOURCES="1")
    environment.setdefault("UV_SYSTEM_CERTS", "1")  # a network's own certificates, as pip takes them
    environment.setdefault("UV_COMPILE_BYTECODE", "1")  # as pip does: else every first import takes twice as long
    links = environment.get("PIP_FIND_LINKS", "").split()
    if links:  # uv does not read pip's settings
        environment.setdefault("UV_FIND_LINKS", ",".join(links))
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if os.environ.get("LAB_INSTALLER") == "pip":
        return [pip], environment
    uv = shutil.which("uv")
    if not uv:
        got = subprocess.run([str(part) for part in (*pip, "uv")], stderr=subprocess.DEVNULL)
        uv = BIN / ("uv.exe" if os.name == "nt" else "uv") if got.returncode == 0 else None
    fast = [[uv, "pip", "install", "--quiet", "--python", PYTHON]] if uv else []
    return [*fast, pip], environment


def torch_index():
    """Where torch must come from, or None for the default index.

    On Linux the default torch is the CUDA build, several gigabytes: right with an NVIDIA GPU, wasteful without one.
    """
    choice = os.environ.get("LAB_TORCH") or ("cuda" if shutil.which("nvidia-smi") else "cpu")
    linux_pc = sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")
    return CPU_INDEX if choice == "cpu" and linux_pc and reachable("download.pytorch.org") else None


def reachable(host):
    try:
        socket.create_connection((host, 443), timeout=3).close()
        return True
    except OSError:
        return False


def call(*command, **options):
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=True, **options)


# --- opening ------------------------------------------------------------------------------------------------


def lab_command(rest):
    """JupyterLab on the learner's copy of notebook 00: loopback only, a token, no question about news."""
    fresh_copies()
    command = [
        PYTHON,
        "-m",
        "jupyterlab",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.root_dir={WORK}",
        "--LabApp.default_url=/lab/tree/00_start_here.ipynb",
        f"--LabApp.app_settings_dir={ROOT / 'labkit' / 'course' / 'lab-settings'}",
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.extension_manager=readonly",
        *rest,
    ]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")
    return command


def fresh_copies():
    """Copy the notebooks that `work/` lacks; a copy that is there is the learner's and stays."""
    WORK.mkdir(exist_ok=True)
    for notebook in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb")):
        if not (WORK / notebook.name).exists():
            shutil.copyfile(notebook, WORK / notebook.name)


def become(command):
    """Run `command` in our place, so that signals reach it and no killed launcher leaves JupyterLab running."""
    command = [str(part) for part in command]
    os.chdir(ROOT)
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(command[0], command)
    try:
        return subprocess.run(command).returncode
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
