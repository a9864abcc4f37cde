"""Where mail can be sent on to: mail addresses, and relays and receivers of HTTP named by a URL."""

import re
from urllib.parse import urlsplit

from duckmail.errors import InvalidInput
from duckmail.services.queue.routing import parse_relay

_ADDRESS = re.compile("(?!.*://)[^\x00-\x20<>\x7f-\xa0]+@[^\x00-\x20<>@\x7f-\xa0]+")


def usable(target: str) -> bool:
    """Whether mail can go there."""
    if _ADDRESS.fullmatch(target):
        return True
    if target.startswith(("http://", "https://")):
        return _posted(target)
    if not target.startswith(("smtp://", "smtps://")):
        return False
    try:
        return parse_relay(target, "may") is not None
    except InvalidInput:
        return False


def _posted(target: str) -> bool:
    try:
        parts = urlsplit(target)
        _ = parts.port
    except ValueError:
        return False
    return bool(parts.hostname) and target.isascii() and target.isprintable() and " " not in target
