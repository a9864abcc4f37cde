"""PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login, obsolete but still asked for)."""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

MAX_RESPONSE = 4096  # octets of base64: two names and a password of 1,024 octets each


class SaslError(ValueError):
    """The client's response is not what the mechanism allows; the text is public."""


class Cancelled(SaslError):
    """The client gave up with `*` (RFC 9051 §6.2.2)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client wants to sign in with; not checked yet."""

    username: str
    password: str = field(repr=False)


class Mechanism(Protocol):
    """One exchange: `step` is called with each decoded response, the initial one or the answer to a challenge."""

    def first_challenge(self) -> bytes:
        """What the server sends when there was no initial response; often empty."""
        ...

    def step(self, response: bytes) -> bytes | Credentials:
        """The next challenge (not yet base64), or the result. Raises: SaslError."""
        ...


class Plain:
    """RFC 4616 §2: message = [authzid] NUL authcid NUL passwd."""

    def first_challenge(self) -> bytes:
        return b""

    def step(self, response: bytes) -> Credentials:
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise SaslError("Invalid PLAIN response")
        authorization, name, password = (_text(part) for part in parts)
        # RFC 4616 §2: authzid asks to act as somebody else, which nobody may here.
        if authorization not in ("", name):
            raise SaslError("Acting as another user is not supported")
        return _credentials(name, password)


class PlainClientToken(Plain):
    """PLAIN with a fourth part, which is the program's business: it is neither kept nor written anywhere."""

    def step(self, response: bytes) -> Credentials:
        plain, separator, _token = response.rpartition(b"\0")
        if not separator:
            raise SaslError("Invalid PLAIN-CLIENTTOKEN response")
        return super().step(plain)


class Login:
    """Two questions; their texts are what old clients look for. Some send the user name as initial response."""

    def __init__(self) -> None:
        self._name: str | None = None

    def first_challenge(self) -> bytes:
        return b"Username:"

    def step(self, response: bytes) -> bytes | Credentials:
        if self._name is None:
            self._name = _text(response)
            return b"Password:"
        return _credentials(self._name, _text(response))


MECHANISMS: Mapping[str, Callable[[], Mechanism]] = {
    "PLAIN": Plain,
    "PLAIN-CLIENTTOKEN": PlainClientToken,
    "LOGIN": Login,
}


def start(name: str) -> Mechanism | None:
    """A new exchange of the mechanism, named without regard to case; None when it is not offered."""
    factory = MECHANISMS.get(name.upper())
    return None if factory is None else factory()


def decode(line: bytes) -> bytes:
    """The octets of a response line (without its CRLF). `=` alone is an empty initial response (RFC 4422 §4).

    Raises:
        Cancelled: `*`.
        SaslError: too long, or not base64.
    """
    if line == b"*":
        raise Cancelled("Authentication cancelled")
    if line == b"=":
        return b""
    if len(line) > MAX_RESPONSE:
        raise SaslError("Response too long")
    try:
        return b64decode(line, validate=True)
    except binascii.Error:
        raise SaslError("Invalid base64") from None


def _credentials(name: str, password: str) -> Credentials:
    if not name or not password:
        raise SaslError("User name and password are needed")
    return Credentials(name, password)


def _text(octets: bytes) -> str:
    # RFC 4616 §2: UTF-8 without NUL.
    if b"\0" in octets:
        raise SaslError("NUL is not allowed")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("Invalid UTF-8") from None
