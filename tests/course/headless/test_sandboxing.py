"""A private, offline place to run in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from labkit.course import headless

pytestmark = pytest.mark.notebooks


OFFLINE_PROBE = """
import os, socket, urllib.request
def refused(act, *arguments):
    try:
        act(*arguments)
    except OSError as problem:
        return "labkit is offline" in str(problem)
    return False
tcp, udp = socket.socket(), socket.socket(type=socket.SOCK_DGRAM)
for act, *arguments in [
    (tcp.connect, ("192.0.2.1", 80)), (tcp.connect_ex, ("192.0.2.1", 80)),
    (udp.sendto, b"x", ("192.0.2.1", 53)), (udp.sendmsg, [b"x"], [], 0, ("192.0.2.1", 53)),
    (socket.getaddrinfo, "example.org", 80), (socket.getaddrinfo, b"example.org", 80),
    (socket.getaddrinfo, "127.example.org", 80), (socket.gethostbyname, "example.org"),
    (socket.gethostbyaddr, "192.0.2.1"), (socket.getnameinfo, ("192.0.2.1", 80), 0),
    (urllib.request.urlopen, "https://example.org"),
]:
    assert refused(act, *arguments), (act, arguments)
ours, theirs = socket.socketpair()
ours.send(b"x")
udp.sendto(b"x", ("127.0.0.1", 9))
for host in ("localhost", "127.0.0.1", "127.1", "0.0.0.0", None):
    socket.getaddrinfo(host, 80)
tcp.connect_ex(("127.0.0.1", 9))
assert not [name for name in os.environ if name.lower().endswith("_proxy")]
print("closed")
"""


def test_only_loopback_answers_offline(tmp_path):
    with headless.sandbox() as box:
        environment = box.environment | {"HTTPS_PROXY": "http://127.0.0.1:3128"}
        ended = headless.supervise([sys.executable, "-c", OFFLINE_PROBE], environment, tmp_path, 60)
    assert (ended.code, ended.log.strip()) == (0, "closed")


def test_the_network_guard_is_off_unless_asked_for():
    probe = "import os, sitecustomize; assert 'HTTP_PROXY' in os.environ; print(sitecustomize.__file__)"
    environment = {**os.environ, "PYTHONPATH": str(headless.OFFLINE), "HTTP_PROXY": "x"}
    environment.pop("LABKIT_OFFLINE", None)
    done = subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "offline" in done.stdout


def test_a_sandbox_is_private_and_goes_away():
    with headless.sandbox() as box:
        kernel = json.loads((box.folder / "jupyter" / "kernels" / "python3" / "kernel.json").read_text())
        assert kernel["argv"][0] == sys.executable
        own = ("JUPYTER_PATH", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
        assert all(Path(box.environment[name]).is_relative_to(box.folder) for name in own)
        assert box.environment["LABKIT_OFFLINE"] == "1"
        assert box.environment["PYTHONPATH"].split(os.pathsep)[0] == str(headless.OFFLINE)
        assert box.environment["PATH"] == os.environ["PATH"], "the rest is inherited"
    assert not box.folder.exists()


def test_what_ended_a_thread_is_read_from_its_log():
    with headless.sandbox() as box:
        assert box.thread_problems() == ()
        lines = ["thread 'a' raised KeyError: 1", "thread 'b' raised ValueError: two\n lines"]
        Path(box.environment["LABKIT_THREAD_LOG"]).write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert box.thread_problems() == (lines[0], "thread 'b' raised ValueError: two lines")
