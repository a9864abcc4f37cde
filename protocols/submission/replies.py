"""Domain errors as submission says them, by the command that met them; the rest is in `protocols.smtp.replies`."""

from duckmail import errors
from protocols.smtp.replies import Rows

# RFC 4954 §6: 535 for credentials that are not right, 454 for a failure that passes.
AUTH: Rows = {
    errors.AuthenticationFailed: (535, "5.7.8"),
    errors.AccountDisabled: (535, "5.7.8"),
    errors.LimitReached: (454, "4.7.0"),
    errors.RateLimited: (454, "4.7.0"),
    errors.TemporaryError: (454, "4.7.0"),
}

MAIL: Rows = {
    errors.NotPermitted: (553, "5.7.1"),
    errors.AccountDisabled: (550, "5.7.1"),
}

RCPT: Rows = {
    errors.InvalidInput: (550, "5.1.2"),
    # Of today's recipients: a client that waits a few minutes gains nothing.
    errors.LimitReached: (550, "5.7.1"),
}

MESSAGE: Rows = {
    errors.NotPermitted: (553, "5.7.1"),
    errors.InvalidInput: (550, "5.6.0"),
    errors.LimitReached: (550, "5.7.1"),
}
