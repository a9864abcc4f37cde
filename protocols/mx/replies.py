"""Domain errors as the MX listener says them; the rest is in `protocols.smtp.replies`."""

from collections.abc import Mapping

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

# What is counted, in the words of `metrics.MX_REFUSED`.
REASONS: Mapping[type, str] = {
    refusals.TooFast: "rate",
    refusals.Greylisted: "greylisted",
    refusals.Deferred: "deferred",
    refusals.RelayDenied: "relay",
    refusals.BadName: "name",
    refusals.Listed: "listed",
    refusals.Disowned: "dmarc",
    refusals.SpamRefused: "spam",
}
