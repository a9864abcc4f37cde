"""Domain errors and faults of a message as SMTP replies: rows of one table."""

from collections.abc import Mapping

from duckmail import errors
from protocols.smtp.wire.body import Fault
from protocols.smtp.wire.reply import Reply, reply

Rows = Mapping[type, tuple[int, str]]  # class of a domain error -> code and enhanced status code

_NOTHING: Rows = {}
_ERRORS: Rows = {
    errors.NotFound: (550, "5.1.1"),
    errors.AccountDisabled: (550, "5.2.1"),
    errors.OverQuota: (552, "5.2.2"),
    errors.TooLarge: (552, "5.3.4"),
    errors.NotPermitted: (550, "5.7.1"),
    errors.InvalidInput: (554, "5.6.0"),
    errors.LimitReached: (452, "4.5.3"),
    errors.RateLimited: (450, "4.2.1"),
    errors.InUse: (450, "4.2.0"),
}

FAULTS: Mapping[Fault, Reply] = {
    Fault.TOO_LARGE: reply(552, "5.3.4", "Message larger than allowed, or than declared"),
    # RFC 5321 §2.3.8: CR and LF only together; §4.1.1.4: LF.LF and the like do not end the data.
    Fault.BARE_LINE_END: reply(550, "5.6.11", "Message has a bare CR or LF"),
    Fault.NO_ROOM: reply(452, "4.3.1", "Too much mail is being received, try again later"),
}

# What the table does not hold is temporary: an error that nobody thought of here must not become a bounce.
LOCAL_ERROR = reply(451, "4.3.0", "Temporary failure, try again later")


def error_reply(error: errors.DuckmailError, otherwise: Rows = _NOTHING) -> Reply:
    """The reply for a domain error, by its nearest class in the table. `otherwise`: rows that go before the table's."""
    for kind in type(error).__mro__:
        row = otherwise.get(kind) or _ERRORS.get(kind)
        if row is not None:
            return reply(*row, error.text)
    return reply(LOCAL_ERROR.code, LOCAL_ERROR.status, error.text) if error.temporary else LOCAL_ERROR
