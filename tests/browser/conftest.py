"""A real Chromium, and a real JupyterLab in it. Everything stays on this machine.

Without a browser the tests skip and say why; with LABKIT_REQUIRE_BROWSER=1 they fail instead, so that a
continuous integration that lost its browser does not look green.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",  # needed as root, as in most containers
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
)
START_S = 60  # JupyterLab answers within 6 s on two quiet cores
PRIVATE = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "IPYTHONDIR",
)
SETTINGS = {
    # every cell in the DOM, seen or not
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
    # the flag for news is not enough: the prompt comes all the same
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


@dataclass
class Tab:
    """A page, and all it asked for and complained about."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)  # console errors and uncaught exceptions

    def watch(self) -> "Tab":
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        return self

    def foreign(self) -> list[str]:
        """Requests that would have left this machine."""
        local = ("127.0.0.1", "localhost", None)
        return [url for url in self.requests if urlsplit(url).hostname not in local]


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab that serves `folder`."""

    folder: Path
    url: str
    token: str

    def address(self, notebook: str) -> str:
        """Of one notebook alone: without `reset` the lab also opens those of the last visit."""
        return f"{self.url}/lab/tree/{notebook}?reset&token={self.token}"


def missing(what: str) -> None:
    message = f"no browser test without {what}"
    if os.environ.get("LABKIT_REQUIRE_BROWSER") == "1":
        pytest.fail(f"{message}, and LABKIT_REQUIRE_BROWSER=1 asks for one")
    pytest.skip(message)


@pytest.fixture(scope="module")  # not the session: while playwright runs, other tests could not use asyncio
def chromium() -> Iterator[Any]:
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("the package playwright")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        missing(f"one of {', '.join(NAMES)} on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS, headless=True)
        yield browser
        browser.close()


@pytest.fixture
def open_tab(chromium: Any) -> Iterator[Callable[..., Tab]]:
    """A function: playwright's context options (viewport, color_scheme, offline, ...) -> a watched tab."""
    contexts = []

    def open_one(width: int = 1100, height: int = 900, **options: Any) -> Tab:
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}, **options))
        return Tab(contexts[-1].new_page()).watch()

    yield open_one
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """JupyterLab on a free loopback port, with settings, runtime files and history of its own."""
    scratch = tmp_path_factory.mktemp("lab")
    folder = scratch / "notebooks"
    folder.mkdir()
    lab = Lab(folder, f"http://127.0.0.1:{free_port()}", token="only-for-this-test")
    with open(scratch / "log.txt", "wb") as log:
        server = subprocess.Popen(
            command(lab), env=private(scratch), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL
        )
        try:
            wait_until_it_answers(lab, server, scratch / "log.txt")
            yield lab
        finally:
            server.terminate()  # it ends its kernels before itself
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def command(lab: Lab) -> list[str]:
    line = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1"]
    line += [f"--port={urlsplit(lab.url).port}", "--ServerApp.port_retries=0"]
    line += [f"--IdentityProvider.token={lab.token}", f"--ServerApp.root_dir={lab.folder}"]
    line += ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    line += ["--LabApp.extension_manager=readonly", "--ServerApp.terminals_enabled=False"]
    as_root = hasattr(os, "geteuid") and os.geteuid() == 0
    return [*line, "--allow-root"] if as_root else line


def private(scratch: Path) -> dict[str, str]:
    """The environment of a server that neither reads nor writes its user's own Jupyter files."""
    folders = {name: scratch / name for name in PRIVATE}
    for folder in folders.values():
        folder.mkdir()
    for plugin, settings in SETTINGS.items():
        path = folders["JUPYTERLAB_SETTINGS_DIR"] / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(settings), encoding="utf-8")
    return os.environ | {name: str(folder) for name, folder in folders.items()}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def wait_until_it_answers(lab: Lab, server: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{lab.url}/api/status?token={lab.token}", timeout=2) as answer:
                answer.read()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"JupyterLab did not answer within {START_S} s:\n" + log.read_text(errors="replace")[-2000:])


@pytest.fixture
def run_all() -> Callable[[Tab, Lab, str, float], None]:
    """A function that opens a notebook of the lab and runs all its cells, each to its end, within some seconds."""
    return run_all_cells


def run_all_cells(tab: Tab, lab: Lab, notebook: str, limit_s: float = 60) -> None:
    page = tab.page
    page.goto(lab.address(notebook), wait_until="domcontentloaded")
    page.locator(".jp-NotebookPanel .jp-Cell").first.wait_for(timeout=START_S * 1000)
    # Cells are there behind a spinner before a kernel is, and "idle" is what their toolbar says then too:
    # only the status bar knows. Running all earlier makes the lab start a second kernel, and no cell runs.
    page.locator(".jp-MainAreaWidget > .jp-Spinner").first.wait_for(state="hidden", timeout=START_S * 1000)
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=START_S * 1000)
    page.locator(".lm-MenuBar-item", has_text="Run").first.click()
    page.locator(".lm-Menu-item[data-command='runmenu:run-all']").click()
    page.wait_for_function(ALL_RAN, timeout=limit_s * 1000)


# Every code cell that holds code has the number of a finished run; an empty one is never run
ALL_RAN = """() => [...document.querySelectorAll(".jp-CodeCell")].every((cell) =>
    /\\[\\d+\\]/.test(cell.querySelector(".jp-InputPrompt").textContent) ||
    !cell.querySelector(".cm-content").textContent.trim())"""
