"""No network but this machine, for every Python process that has this folder on its PYTHONPATH.

Set `LABKIT_OFFLINE=1` and put this folder on `PYTHONPATH`: Python imports the file by its name as it
starts, in the process and in all its children. Connecting to, or asking for the address of, anything but
loopback then raises an OSError that says so. Unix sockets stay open, and so does what is written in C
(ZeroMQ, gloo): kernels talk over loopback, and a notebook that downloads does so through Python's sockets.
Standard library only, because it runs before anything else does.
"""

import os
import socket
import sys
from typing import Any

_ANY_INTERFACE = ("", "0.0.0.0", "::")  # what a server binds to: no machine is asked


def _text(host):
    return host.decode("ascii", "replace") if isinstance(host, (bytes, bytearray)) else host


def _is_loopback(host):
    host = _text(host)
    if not isinstance(host, str):
        return host is None
    host = host.lower().partition("%")[0].rstrip(".").removeprefix("::ffff:")
    return host in ("localhost", "::1", "ip6-localhost") or _is_loopback_v4(host)


def _is_loopback_v4(host):
    try:
        return socket.inet_aton(host)[0] == 127  # a number only: "127.evil.example" is a name
    except OSError:
        return False


def _refuse(host):
    raise OSError(f"labkit is offline (LABKIT_OFFLINE=1): refused to reach {_text(host)!r}; only loopback is open")


def _check_peer(sock, address):
    # `sendmsg` on a connected socket has no address: its connection was checked.
    if address is None or sock.family == getattr(socket, "AF_UNIX", None):
        return
    host = address[0] if isinstance(address, tuple) and address else address
    if not _is_loopback(host):
        _refuse(host)


def _check_name(host, *_):
    if _text(host) not in _ANY_INTERFACE and not _is_loopback(host):
        _refuse(host)


def _check_sockaddr(sockaddr):
    _check_name(sockaddr[0])


_CHECKS = {
    "socket.connect": _check_peer,  # connect_ex raises this event too
    "socket.sendto": _check_peer,
    "socket.sendmsg": _check_peer,
    "socket.getaddrinfo": _check_name,
    "socket.gethostbyname": _check_name,
    "socket.gethostbyaddr": _check_name,
    "socket.getnameinfo": _check_sockaddr,
}


def _audit(event, arguments):
    check: Any = _CHECKS.get(event)
    if check is not None:
        check(*arguments)


if os.environ.get("LABKIT_OFFLINE") == "1":
    for _name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        del os.environ[_name]  # a proxy on loopback would be a way out
    sys.addaudithook(_audit)
