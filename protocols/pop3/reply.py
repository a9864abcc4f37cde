"""Answers to commands, and the one table from domain errors to them."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from duckmail import errors

Body = AsyncGenerator[bytes, None]


@dataclass(frozen=True, slots=True)
class Reply:
    """`+OK` or `-ERR`, a response code without its brackets or "", and a text.

    `body`: the octets of a multi-line response in pieces, before dots are doubled; None for a response of one line.
    """

    positive: bool
    text: str = ""
    code: str = ""
    body: Body | None = None


def ok(text: str = "", body: Body | None = None) -> Reply:
    return Reply(True, text, body=body)


def err(text: str, code: str = "") -> Reply:
    return Reply(False, text, code)


# The first row whose class fits is taken: subclasses stand above their base.
_CODES: tuple[tuple[type[errors.DuckmailError], str], ...] = (
    # RFC 3206 §4: AUTH for whatever is wrong with the credentials; without it clients must not ask for a password.
    (errors.AuthenticationFailed, "AUTH"),
    (errors.AccountDisabled, "AUTH"),
    (errors.InUse, "IN-USE"),  # RFC 2449 §8.1.2
    (errors.LimitReached, "SYS/TEMP"),
    (errors.Corrupted, "SYS/PERM"),  # RFC 3206 §4: somebody has to look after it
    (errors.TemporaryError, "SYS/TEMP"),
)

INTERNAL = err("Internal error, it has been logged", "SYS/TEMP")


def failure(error: errors.DuckmailError) -> Reply:
    """The answer to a command that ended with `error`."""
    return err(error.text, next((code for kind, code in _CODES if isinstance(error, kind)), ""))
