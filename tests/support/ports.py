"""Ports on loopback for servers that must be told theirs, and keep it while they are down."""

import contextlib
import os
import random
import socket
from pathlib import Path

HOST = "127.0.0.1"

_given: set[int] = set()


def _range() -> range:
    """Below what the kernel gives to outgoing connections and to who asks for any port; each worker of a run that is
    spread over processes has a share of its own."""
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    first = min(10_000, lowest // 2)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    share = (lowest - first) // workers
    return range(first + number * share, first + (number + 1) * share)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and that nobody else of this run is given, today or later."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(_range())
        if port in _given:
            continue
        with contextlib.suppress(OSError), socket.create_server((HOST, port)):
            _given.add(port)
            found.append(port)
    return found


def free_port() -> int:
    return free_ports(1)[0]
