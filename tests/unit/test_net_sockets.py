"""Listener addresses: their grammar, unix sockets that are stale or alive, sockets inherited from systemd."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from protocols.net.sockets import ListenError, ListenSpec, inherited, listen


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        pytest.param("127.0.0.1:1143", {"host": "127.0.0.1", "port": 1143}, id="ipv4"),
        pytest.param("[::1]:0", {"host": "::1", "port": 0}, id="ipv6"),
        pytest.param("mail.example:65535", {"host": "mail.example", "port": 65535}, id="name"),
        pytest.param("unix:/run/a:b.sock", {"path": "/run/a:b.sock", "mode": 0o660, "group": ""}, id="unix"),
        pytest.param("unix:/s,mode=600,group=mail", {"path": "/s", "mode": 0o600, "group": "mail"}, id="unix-options"),
        pytest.param("systemd:imap", {"inherited": "imap"}, id="systemd"),
    ],
)
def test_spec(text: str, wanted: dict[str, object]) -> None:
    spec = ListenSpec.parse(text)
    assert spec.text == text
    assert {name: getattr(spec, name) for name in wanted} == wanted


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("1143", id="port-only"),
        pytest.param(":1143", id="no-host"),
        pytest.param("[]:1143", id="empty-brackets"),
        pytest.param("::1:143", id="ipv6-without-brackets"),
        pytest.param("[mail]:143", id="name-in-brackets"),
        pytest.param("127.0.0.1:", id="no-port"),
        pytest.param("127.0.0.1:65536", id="port-too-large"),
        pytest.param("127.0.0.1:+1", id="port-with-sign"),
        pytest.param("127.0.0.1:\u0661", id="port-not-ascii"),
        pytest.param("unix:relative", id="relative-path"),
        pytest.param("unix:/" + "x" * 107, id="path-too-long"),
        pytest.param("unix:/s,mode=9", id="mode-not-octal"),
        pytest.param("unix:/s,mode=", id="mode-empty"),
        pytest.param("unix:/s,owner=me", id="unknown-option"),
        pytest.param("systemd:", id="no-name"),
    ],
)
def test_bad_spec_names_itself(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        ListenSpec.parse(text)


def test_name_gives_every_address_that_works() -> None:
    opened = listen(ListenSpec.parse("localhost:0"))
    try:
        assert any(one.address.startswith("127.0.0.1:") for one in opened)
    finally:
        for one in opened:
            one.close()


def test_unknown_name_is_an_error() -> None:
    with pytest.raises(ListenError, match=r"cannot listen on no-such-host\.invalid:1"):
        listen(ListenSpec.parse("no-such-host.invalid:1"))


def test_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    [one] = listen(ListenSpec.parse(f"unix:{path}"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    one.close()
    assert not path.exists()


def test_living_unix_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    [one] = listen(ListenSpec.parse(f"unix:{path}"))
    with pytest.raises(ListenError, match="in use by another program"):
        listen(ListenSpec.parse(f"unix:{path}"))
    assert path.exists()
    one.close()


def test_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("precious")
    with pytest.raises(ListenError, match="not a socket"):
        listen(ListenSpec.parse(f"unix:{path}"))
    assert path.read_text() == "precious"


def test_close_leaves_a_path_that_somebody_else_made_since(tmp_path: Path) -> None:
    path = tmp_path / "s"
    [one] = listen(ListenSpec.parse(f"unix:{path}"))
    path.rename(tmp_path / "kept")  # so that the new one has another inode
    [two] = listen(ListenSpec.parse(f"unix:{path}"))
    one.close()
    assert path.exists()
    two.close()


def test_unknown_group_and_missing_folder_are_one_error(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="no group no-such-group"):
        listen(ListenSpec.parse(f"unix:{tmp_path}/s,group=no-such-group"))
    with pytest.raises(ListenError, match="No such file"):
        listen(ListenSpec.parse(f"unix:{tmp_path}/missing/s"))
    assert not list(tmp_path.iterdir())


_SERVICE = """
import os, sys
from protocols.net.sockets import ListenError, inherited
os.environ["LISTEN_PID"] = str(os.getpid())
for name in sys.argv[1:]:
    try:
        print(*[one.address for one in inherited(name, os.environ)])
    except ListenError as error:
        print(error)
"""


def activated(program: str, sockets: Sequence[socket.socket], names: str, *argv: str) -> list[str]:
    """What `program` prints that is started as systemd does it: with `sockets` from descriptor 3 on."""

    def hand_over() -> None:
        high = [os.dup2(one.fileno(), 100 + number) for number, one in enumerate(sockets)]
        for number, fd in enumerate(high):
            os.dup2(fd, 3 + number)

    done = subprocess.run(
        [sys.executable, "-c", program, *argv],
        env={**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names, "PYTHONPATH": os.getcwd()},
        pass_fds=range(3, 3 + len(sockets)),
        preexec_fn=hand_over,
        capture_output=True,
        check=True,
        timeout=30,
    )
    return done.stdout.decode().splitlines()


def test_sockets_from_systemd_are_found_by_name() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
    ):
        names = ["imap", "lmtp", "wrong", "none"]
        assert activated(_SERVICE, [one, two, datagram], "imap:lmtp:wrong", *names) == [
            f"127.0.0.1:{one.getsockname()[1]}",
            f"127.0.0.1:{two.getsockname()[1]}",
            "cannot listen on systemd:wrong: it is not a listening stream socket",
            "cannot listen on systemd:none: no such socket was passed to this process",
        ]


_BY_ADDRESS = """
import os, sys
from protocols.net.sockets import ListenError, listen, unclaimed
os.environ["LISTEN_PID"] = str(os.getpid())
opened = []
for text in sys.argv[1:]:
    try:
        found = listen(text)
        opened += found
        print(*[(one.sock.fileno(), one.address) for one in found])
    except ListenError as error:
        print(error)
print(unclaimed(os.environ))
for one in opened:
    one.close()
"""


def test_sockets_from_systemd_are_taken_by_address(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as two,
        socket.socket(socket.AF_UNIX) as three,
        socket.create_server(("127.0.0.1", 0)) as left,
    ):
        three.bind(path)
        three.listen()
        first, second = f"127.0.0.1:{one.getsockname()[1]}", f"[::1]:{two.getsockname()[1]}"
        said = activated(
            _BY_ADDRESS,
            [left, three, two, one],
            "left:a:a:a",
            first,
            second,
            f"unix:{path},mode=0666",
            first,
            "systemd:a",
        )
        assert said == [
            f"(6, '{first}')",
            f"(5, '{second}')",
            f"(4, 'unix:{path}')",
            # Its owner holds it: a second listener cannot have it, nor make another one.
            f"cannot listen on {first}: the address is in use by another program",
            "cannot listen on systemd:a: another listener has it already",
            f"['127.0.0.1:{left.getsockname()[1]}']",
        ]
        # systemd made the path, so it is not removed.
        assert (tmp_path / "s").exists()


def test_sockets_for_another_process_are_not_ours() -> None:
    with pytest.raises(ListenError, match="no such socket was passed"):
        inherited("imap", {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "imap"})
