"""Listener addresses: their grammar, unix sockets that are stale or alive, sockets inherited from systemd."""

import os
import re
import socket
import subprocess
import sys
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


def test_sockets_from_systemd_are_found_by_name() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as two,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
    ):
        places = {3: one.fileno(), 4: two.fileno(), 5: datagram.fileno()}

        def hand_over() -> None:
            copies = {place: os.dup(fd) for place, fd in places.items()}
            high = {place: os.dup2(fd, place + 100) for place, fd in copies.items()}
            for place, fd in high.items():
                os.dup2(fd, place)

        done = subprocess.run(
            [sys.executable, "-c", _SERVICE, "imap", "lmtp", "wrong", "none"],
            env={**os.environ, "LISTEN_FDS": "3", "LISTEN_FDNAMES": "imap:lmtp:wrong", "PYTHONPATH": os.getcwd()},
            pass_fds=(3, 4, 5),
            preexec_fn=hand_over,
            capture_output=True,
            check=True,
            timeout=30,
        )
        assert done.stdout.decode().splitlines() == [
            f"127.0.0.1:{one.getsockname()[1]}",
            f"127.0.0.1:{two.getsockname()[1]}",
            "cannot listen on systemd:wrong: it is not a listening stream socket",
            "cannot listen on systemd:none: no such socket was passed to this process",
        ]


def test_sockets_for_another_process_are_not_ours() -> None:
    with pytest.raises(ListenError, match="no such socket was passed"):
        inherited("imap", {"LISTEN_PID": "1", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "imap"})
