"""The mechanisms by name, and which are offered; PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login, obsolete but
still asked for)."""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from protocols.sasl.scram import Scram
from protocols.sasl.steps import ActingAsAnother, Cancelled, Credentials, SaslError, Step
from protocols.sasl.steps import text_of as _text

MAX_RESPONSE = 4096  # octets of base64: two names and a password of 1,024 octets each


class Mechanism(Protocol):
    """One exchange: `step` is called with each decoded response, the initial one or the answer to a challenge."""

    def first_challenge(self) -> bytes:
        """What the server sends when there was no initial response; often empty."""
        ...

    def step(self, response: bytes) -> Step:
        """Raises: SaslError, AuthenticationFailed."""
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
            raise ActingAsAnother("Acting as another user is not supported")
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

    def step(self, response: bytes) -> Step:
        if self._name is None:
            self._name = _text(response)
            return b"Password:"
        return _credentials(self._name, _text(response))


SCRAM, SCRAM_PLUS = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"

_PASSWORDS: Mapping[str, Callable[[], Mechanism]] = {
    "PLAIN": Plain,
    "PLAIN-CLIENTTOKEN": PlainClientToken,
    "LOGIN": Login,
}


@dataclass(frozen=True, slots=True)
class Offer:
    """What a protocol offers. `passwords`: mechanisms that send the password. `scram`, `plus`: SCRAM-SHA-256, and with
    channel binding where there is something to bind to.
    """

    passwords: tuple[str, ...]
    scram: bool = False
    plus: bool = False

    def names(self, end_point: bytes) -> tuple[str, ...]:
        """In upper case. `end_point`: the channel binding of the connection, empty where there is none.

        What works for all accounts comes first: some clients take the first that they know.
        """
        if not self.scram:
            return self.passwords
        return (*self.passwords, SCRAM, *([SCRAM_PLUS] if self.plus and end_point else []))

    def start(self, name: str, end_point: bytes) -> Mechanism | None:
        """A new exchange of the mechanism, named without regard to case; None when it is not offered."""
        wanted = name.upper()
        offered = self.names(end_point)
        if wanted not in offered:
            return None
        if wanted in (SCRAM, SCRAM_PLUS):
            bound = end_point if SCRAM_PLUS in offered else b""
            return Scram(plus=wanted == SCRAM_PLUS, end_point=bound)
        return _PASSWORDS[wanted]()


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
