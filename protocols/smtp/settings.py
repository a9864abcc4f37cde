"""Limits and timeouts that every SMTP-like edge has."""

from dataclasses import dataclass

MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class SmtpSettings:
    """Sizes in octets, times in seconds. The timeouts are those of RFC 5321 §4.5.3.2.

    `hostname`: in the greeting. `postmaster`: who `<postmaster>` without domain is; empty: postmaster@hostname.
    `size_limit`: of one message. `refuse_bare`: refuse messages with a CR or LF alone.
    `message_timeout`: for all the octets of one message, however steadily they drip.
    """

    hostname: str
    postmaster: str = ""
    size_limit: int = 64 * 1024 * 1024
    refuse_bare: bool = True
    max_recipients: int = 1000
    max_errors: int = 20
    command_timeout: float = 5 * MINUTE
    data_timeout: float = 3 * MINUTE
    message_timeout: float = 30 * MINUTE
    reserve_timeout: float = 2 * MINUTE
    write_timeout: float = 5 * MINUTE
    free_octets: int = 64 * 1024
