"""Trace fields (RFC 5321 §4.4): the Received line of a message that comes in."""

import re
from datetime import datetime
from email.utils import format_datetime

_HELO = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*|\[[A-Za-z0-9:.]{1,60}\]")
_LONGEST_FOR = 256  # characters


def client(helo: str, address: str) -> str:
    """From-domain with TCP-info. `helo`: what the client called itself, which may be anything. `address`: "" for
    none."""
    name = helo if _HELO.fullmatch(helo) else "unknown"
    return f"{name} ([{'IPv6:' if ':' in address else ''}{address}])" if address else name


def received(*, client: str, hostname: str, protocol: str, identifier: str, now: datetime, only: str = "") -> bytes:
    """The whole line. `protocol`: as RFC 3848 names it. `only`: the one recipient, "" where there are more."""
    for_ = f"\r\n\tfor <{only}>" if only and len(only) <= _LONGEST_FOR else ""
    return (
        f"Received: from {client}\r\n"
        f"\tby {hostname} with {protocol} id {identifier}{for_};\r\n"
        f"\t{format_datetime(now)}\r\n"
    ).encode()
