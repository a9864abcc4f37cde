"""Tagged answers, and the one table from domain errors to them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from duckmail import errors
from duckmail.model.annotation import MAX_VALUE


@dataclass(frozen=True, slots=True)
class Reply:
    """A tagged answer: `OK`, `NO` or `BAD`, a response code without its brackets or "", and a text.

    `expunge`: EXPUNGE may be sent ahead of it, if its command allows that. `after`: runs when the answer was handed to
    the connection, for what must not happen before (STARTTLS).
    """

    status: str
    text: str
    code: str = ""
    after: Callable[[], Awaitable[None]] | None = None
    expunge: bool = True


def ok(text: str, code: str = "", after: Callable[[], Awaitable[None]] | None = None) -> Reply:
    return Reply("OK", text, code, after)


def no(text: str, code: str = "") -> Reply:
    return Reply("NO", text, code)


def bad(text: str, code: str = "") -> Reply:
    return Reply("BAD", text, code)


# RFC 5530 §3 unless said otherwise. The first row whose class fits is taken: subclasses stand above their base.
_CODES: tuple[tuple[type[errors.DuckmailError], str], ...] = (
    (errors.NotFound, "NONEXISTENT"),
    (errors.AlreadyExists, "ALREADYEXISTS"),
    (errors.NotPermitted, "NOPERM"),
    (errors.SpecialUseTaken, "USEATTR"),  # RFC 6154 §5.2
    (errors.Cannot, "CANNOT"),
    (errors.UnknownEncoding, "UNKNOWN-CTE"),  # RFC 3516 §4.3
    (errors.InvalidInput, "CANNOT"),
    (errors.AnnotationTooLarge, f"METADATA MAXSIZE {MAX_VALUE}"),  # RFC 5464 §4.3
    (errors.TooManyAnnotations, "METADATA TOOMANY"),
    (errors.LimitReached, "LIMIT"),
    (errors.OverQuota, "OVERQUOTA"),
    (errors.TooLarge, "TOOBIG"),  # RFC 4469 §4.2
    (errors.ReadOnly, "READ-ONLY"),
    (errors.AuthenticationFailed, "AUTHENTICATIONFAILED"),
    (errors.AccountDisabled, "CONTACTADMIN"),  # AUTHORIZATIONFAILED is for who would act as another
    (errors.InUse, "INUSE"),
    (errors.Corrupted, "CORRUPTION"),
    (errors.RateLimited, "UNAVAILABLE"),  # waiting helps: clients must not ask for another password
    (errors.TemporaryError, "UNAVAILABLE"),
)

SERVERBUG = no("Internal error, it has been logged", "SERVERBUG")
TAG_REUSED = bad("Tag reuse")  # RFC 5267 §4.3
EXPUNGE_ISSUED = no("Some of the requested messages no longer exist", "EXPUNGEISSUED")


def failure(error: errors.DuckmailError, *, try_create: bool = False) -> Reply:
    """The answer to a command that ended with `error`.

    Args:
        try_create: the mailbox that was not found is a target that CREATE would bring into being (RFC 3501 §7.1).
    """
    if try_create and isinstance(error, errors.NotFound):
        return no(error.text, "TRYCREATE")
    return no(error.text, next((code for kind, code in _CODES if isinstance(error, kind)), ""))
