"""A client that speaks lines over a real socket, with or without TLS: for what proper clients never do."""

import socket
import ssl
from types import TracebackType

from tests.support.net import client_context

SECONDS = 60.0


class Lines:
    """`with Lines(port) as peer`: connected to loopback.

    Args:
        source: the local address to come from.
        first: octets to send before anything else, a TLS handshake included.
        tls: start with the handshake.
    """

    def __init__(self, port: int, *, source: str = "127.0.0.1", first: bytes = b"", tls: bool = False) -> None:
        self.socket: socket.socket = socket.create_connection(("127.0.0.1", port), SECONDS, (source, 0))
        self.send(first)
        if tls:
            self.start_tls()
        else:
            self._file = self.socket.makefile("rb")

    def start_tls(self) -> None:
        self.socket = client_context().wrap_socket(self.socket, server_hostname="mail.test")
        self._file = self.socket.makefile("rb")

    @property
    def certificate(self) -> bytes:
        """The server's, in DER."""
        assert isinstance(self.socket, ssl.SSLSocket)
        return self.socket.getpeercert(binary_form=True) or b""

    def send(self, data: bytes | str) -> None:
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def line(self) -> str:
        """The next line without its end; "" also when the peer has closed."""
        return self._read().decode().rstrip("\r\n")

    def _read(self) -> bytes:
        try:
            return self._file.readline()
        except (ConnectionResetError, ssl.SSLEOFError):
            return b""

    def until(self, *beginnings: str) -> str:
        """Reads to the first line that begins with one of these; gives it."""
        while octets := self._read():
            if (line := octets.decode().rstrip("\r\n")).startswith(beginnings):
                return line
        raise AssertionError(f"the connection ended before {beginnings}")

    def rest(self) -> list[str]:
        """All lines to the end of the connection."""
        return [octets.decode().rstrip("\r\n") for octets in iter(self._read, b"")]

    def ask(self, command: str) -> str:
        """Sends a tagged IMAP command; gives its tagged answer."""
        tag = command.partition(" ")[0]
        self.send(f"{command}\r\n")
        return self.until(f"{tag} ")

    def __enter__(self) -> "Lines":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self.socket.close()
