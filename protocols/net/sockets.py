"""Where to listen: `host:port`, `unix:/path`, `systemd:NAME`; and the listening sockets made of that."""

import errno
import grp
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

BACKLOG = 1024  # connections the kernel completes ahead of us; it cuts this to net.core.somaxconn
_FIRST_INHERITED = 3  # sd_listen_fds(3): SD_LISTEN_FDS_START
_UNIX_PATH_LIMIT = 107  # octets: unix(7), sun_path without its final NUL
_PROBE_TIMEOUT = 1.0  # seconds to find out whether somebody answers on an existing unix socket


class ListenError(Exception):
    """It is not possible to listen there; the text names the address and the reason, in one line."""


@dataclass(frozen=True, slots=True)
class ListenSpec:
    """One entry of a listener list.

    Forms: `127.0.0.1:1143`, `[::1]:1143`, `mail.example:1143` (every address of the name),
    `unix:/run/duckmail/lmtp.sock,mode=0660,group=postfix` (both options may be left out, the default mode is 0660),
    `systemd:NAME` (all sockets that systemd passed under this `FileDescriptorName=`).
    """

    text: str
    host: str = ""
    port: int = 0
    path: str = ""
    mode: int = 0o660
    group: str = ""
    inherited: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError, with the text in it."""
        scheme, _, rest = text.partition(":")
        if scheme == "unix":
            return cls._parse_unix(text, rest)
        if scheme == "systemd":
            if not rest:
                raise ValueError(f"{text!r}: the name of the inherited socket is missing")
            return cls(text, inherited=rest)
        host, _, port = text.rpartition(":")
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if not bare or (":" in bare) != (bare != host):
            raise ValueError(f"{text!r} is not host:port, [IPv6 address]:port, unix:/path or systemd:NAME")
        if not (port.isascii() and port.isdigit() and int(port) <= 65535):
            raise ValueError(f"{text!r}: the port must be a number from 0 to 65535")
        return cls(text, host=bare, port=int(port))

    @classmethod
    def _parse_unix(cls, text: str, rest: str) -> Self:
        path, *options = rest.split(",")
        if not path.startswith("/") or len(os.fsencode(path)) > _UNIX_PATH_LIMIT:
            raise ValueError(f"{text!r}: needs an absolute path of at most {_UNIX_PATH_LIMIT} octets")
        given = dict(option.partition("=")[::2] for option in options)
        mode = given.pop("mode", "0660")
        group = given.pop("group", "")
        if given or any(digit not in "01234567" for digit in mode) or not 1 <= len(mode) <= 4:
            raise ValueError(f"{text!r}: the options are mode=0660 (octal) and group=NAME")
        return cls(text, path=path, mode=int(mode, 8), group=group)


class ListeningSocket:
    """A bound, listening, non-blocking socket with its address as text; `close` also removes its unix path."""

    def __init__(self, sock: socket.socket, made_path: str = "") -> None:
        """`made_path`: the unix path that this process made, and so removes."""
        self.sock = sock
        self._path = made_path
        self._inode = _inode(made_path) if made_path else None
        sock.setblocking(False)
        sock.set_inheritable(False)

    @property
    def address(self) -> str:
        """`127.0.0.1:1143`, `[::1]:1143` (with the real port where 0 was asked for) or `unix:/path`."""
        return _text(self.sock.family, self.sock.getsockname())

    def close(self) -> None:
        """Stop listening. A path that another process has made its own since is left alone."""
        self.sock.close()
        if self._path and _inode(self._path) == self._inode:
            Path(self._path).unlink(missing_ok=True)


def _text(family: int, name: str | tuple[str, int]) -> str:
    """As `ListenSpec` has it. `name`: what getsockname(2) gives, or its first two parts."""
    if not isinstance(name, tuple):
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def _inode(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def listen(spec: ListenSpec | str) -> list[ListeningSocket]:
    """Open the sockets of one entry; a host name may give several.

    A socket that systemd passed for just this address is taken instead of a new one, so the same entry is right with
    socket activation and without. Blocks while a host name is looked up: for the start of the process.

    Raises:
        ListenError: nothing stays open.
    """
    if isinstance(spec, str):
        try:
            spec = ListenSpec.parse(spec)
        except ValueError as error:
            raise ListenError(f"cannot listen on {error}") from error
    if spec.inherited:
        return inherited(spec.inherited, os.environ)
    if spec.path:
        return [_passed_at(socket.AF_UNIX, spec.path) or _listen_unix(spec)]
    return _listen_tcp(spec)


def _listen_tcp(spec: ListenSpec) -> list[ListeningSocket]:
    try:
        found = socket.getaddrinfo(spec.host, spec.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(f"cannot listen on {spec.text}: {error.strerror}") from error
    opened: list[ListeningSocket] = []
    missing: OSError | None = None
    for family, address in dict.fromkeys((entry[0], entry[4]) for entry in found):
        try:
            opened.append(_passed_at(family, address) or _open_tcp(family, address))
        except OSError as error:
            # `localhost` also names ::1 on machines without IPv6: one address that works is enough
            if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                missing = error
                continue
            _close_all(opened)
            raise ListenError(f"cannot listen on {spec.text}: {_reason(error)}") from error
    if missing is not None and not opened:
        raise ListenError(f"cannot listen on {spec.text}: {_reason(missing)}") from missing
    return opened


def _open_tcp(family: int, address: object) -> ListeningSocket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # so that `[::]:143` and `0.0.0.0:143` stand side by side
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)  # type: ignore[arg-type]  # as getaddrinfo gave it
        sock.listen(BACKLOG)
    except BaseException:
        sock.close()
        raise
    return ListeningSocket(sock)


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use by another program"
    return error.strerror or str(error)


def _close_all(opened: list[ListeningSocket]) -> None:
    for one in opened:
        one.close()


def _listen_unix(spec: ListenSpec) -> ListeningSocket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        group = grp.getgrnam(spec.group).gr_gid if spec.group else -1
        _remove_stale(spec.path)
        # Nobody else may connect between `bind` and `chmod`.
        before = os.umask(0o177)
        try:
            sock.bind(spec.path)
        finally:
            os.umask(before)
        if spec.group:
            os.chown(spec.path, -1, group)
        os.chmod(spec.path, spec.mode)
        sock.listen(BACKLOG)
    except KeyError as error:
        sock.close()
        raise ListenError(f"cannot listen on {spec.text}: no group {spec.group}") from error
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {spec.text}: {_reason(error)}") from error
    return ListeningSocket(sock, made_path=spec.path)


def _remove_stale(path: str) -> None:
    """Make room at `path` if what is there is a socket on which nobody listens. Raises OSError otherwise."""
    try:
        kind = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(kind):
        raise FileExistsError(errno.EEXIST, "a file that is not a socket is in the way")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_TIMEOUT)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except BlockingIOError:  # its backlog is full: somebody is there, and busy
            pass
    raise OSError(errno.EADDRINUSE, "in use")


def inherited(name: str, environment: Mapping[str, str]) -> list[ListeningSocket]:
    """The listening stream sockets that systemd passed to this process under `name` (sd_listen_fds(3)).

    Raises:
        ListenError: there is none, or one is of another kind or taken already.
    """
    found = [fd for fd, fd_name in _passed(environment) if fd_name == name]
    if not found:
        raise ListenError(f"cannot listen on systemd:{name}: no such socket was passed to this process")
    opened: list[ListeningSocket] = []
    for fd in found:
        wrong = _place(fd) is None
        if wrong or _taken(fd):
            _close_all(opened)
            reason = "it is not a listening stream socket" if wrong else "another listener has it already"
            raise ListenError(f"cannot listen on systemd:{name}: {reason}")
        opened.append(ListeningSocket(socket.socket(fileno=fd)))
    return opened


def unclaimed(environment: Mapping[str, str]) -> list[str]:
    """The addresses of passed sockets that no listener has taken: clients would connect there and wait for ever."""
    left = [(fd, _place(fd)) for fd, _ in _passed(environment)]
    return [_text(*place) for fd, place in left if place is not None and not _taken(fd)]


def _passed(environment: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """Every file that systemd passed to this process, with its name."""
    count = environment.get("LISTEN_FDS", "")
    if environment.get("LISTEN_PID") != str(os.getpid()) or not count.isdecimal():
        return
    names = environment.get("LISTEN_FDNAMES", "").split(":")
    for number in range(int(count)):
        yield _FIRST_INHERITED + number, names[number] if number < len(names) else ""


def _passed_at(family: int, address: object) -> ListeningSocket | None:
    """The passed socket that is bound to `address`, as getaddrinfo or a unix path gives it, unless it is taken."""
    wanted = address[:2] if isinstance(address, tuple) else address
    for fd, _ in _passed(os.environ):
        if _place(fd) == (family, wanted) and not _taken(fd):
            return ListeningSocket(socket.socket(fileno=fd))
    return None


def _place(fd: int) -> tuple[int, str | tuple[str, int]] | None:
    """Family and address of a listening stream socket; None for any other file."""
    try:
        probe = socket.socket(fileno=fd)
    except OSError:
        return None
    try:
        if probe.type != socket.SOCK_STREAM or not probe.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            return None
        name = probe.getsockname()
        return probe.family, name[:2] if isinstance(name, tuple) else name
    finally:
        probe.detach()  # looked at only: it stays open


def _taken(fd: int) -> bool:
    """What is passed can be inherited, else it would not have come through `exec`; `ListeningSocket` ends that."""
    return not os.get_inheritable(fd)
