"""What a mechanism says at each step of an exchange, and what it cannot read."""

from collections.abc import Callable
from dataclasses import dataclass, field

from duckmail.model.credentials import ScramProof


class SaslError(ValueError):
    """The client's response is not what the mechanism allows; the text is public."""


class ActingAsAnother(SaslError):
    """The client signs in as one user to act as another, which nobody may here."""


class Cancelled(SaslError):
    """The client gave up with `*` (RFC 9051 §6.2.2)."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the client wants to sign in with; not checked yet."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Lookup:
    """The next challenge needs the salt and the number of iterations of a login name: `challenge` makes it of them."""

    username: str
    challenge: Callable[[bytes, int], bytes] = field(repr=False)


# The next challenge (not yet base64), what it is made of, or what is to be checked.
Step = bytes | Lookup | Credentials | ScramProof


def text_of(octets: bytes) -> str:
    """Raises: SaslError."""
    # RFC 4616 §2, RFC 5802 §5.1: UTF-8 without NUL.
    if b"\0" in octets:
        raise SaslError("NUL is not allowed")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SaslError("Invalid UTF-8") from None
