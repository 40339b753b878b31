"""No network but this machine, in every Python process that asks for it."""

import os
import subprocess
import sys

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
