"""Domain errors as the MX listener says them; the rest is in `protocols.smtp.replies`."""

from duckmail.services.reception import errors as refusals
from protocols.smtp.replies import Rows

ROWS: Rows = {
    refusals.TooFast: (450, "4.7.1"),
    refusals.Greylisted: (450, "4.7.1"),
    refusals.Deferred: (451, "4.7.1"),
    # RFC 5321 §3.6.2: whose mail is not relayed.
    refusals.RelayDenied: (550, "5.7.1"),
    refusals.BadName: (550, "5.7.1"),
}
