"""What is to listen where, and the sockets for it."""

from collections.abc import Sequence
from dataclasses import dataclass

from duckmail.config.schema import Config
from protocols.net.sockets import ListenError, ListeningSocket, listen

# The kinds of listeners, as people are told of them.
IMAP, IMAPS = "IMAP, STARTTLS", "IMAP, TLS"
POP3, POP3S = "POP3, STLS", "POP3, TLS"
SUBMISSION, SUBMISSIONS = "Submission, STARTTLS", "Submission, TLS"
LMTP, MX, API, API_TLS, METRICS = "LMTP", "MX", "API", "API, TLS", "Metrics"


@dataclass(frozen=True, slots=True)
class Opened:
    """The listening sockets of one kind of listener (`wanted`)."""

    label: str
    sockets: list[ListeningSocket]


def wanted(config: Config) -> list[tuple[str, Sequence[str]]]:
    """What is to listen where: (label, listeners)."""
    kinds: list[tuple[bool, str, Sequence[str]]] = [
        (config.imap.enabled, IMAP, config.imap.listen),
        (config.imap.enabled, IMAPS, config.imap.listen_tls),
        (config.pop3.enabled, POP3, config.pop3.listen),
        (config.pop3.enabled, POP3S, config.pop3.listen_tls),
        (config.submission.enabled, SUBMISSION, config.submission.listen),
        (config.submission.enabled, SUBMISSIONS, config.submission.listen_tls),
        (config.lmtp.enabled, LMTP, config.lmtp.listen),
        (True, MX, config.mx.listen),
        (config.api.enabled, API, config.api.listen),
        (config.api.enabled, API_TLS, config.api.listen_tls),
        (config.metrics.enabled, METRICS, config.metrics.listen),
    ]
    return [(label, specs) for enabled, label, specs in kinds if enabled]


def open_listeners(config: Config) -> list[Opened]:
    """Opens all of them; nobody accepts there yet. Raises: ListenError, with none left open."""
    opened: list[Opened] = []
    try:
        for label, specs in wanted(config):
            opened += [Opened(label, listen(spec)) for spec in specs]
    except ListenError:
        close_listeners(opened)
        raise
    return opened


def close_listeners(opened: Sequence[Opened]) -> None:
    for one in opened:
        for each in one.sockets:
            each.close()
