"""Where mail can be sent on to: mail addresses, and relays named by a URL."""

import re

from duckmail.errors import InvalidInput
from duckmail.services.queue.routing import parse_relay

_ADDRESS = re.compile("(?!.*://)[^\x00-\x20<>\x7f-\xa0]+@[^\x00-\x20<>@\x7f-\xa0]+")


def usable(target: str) -> bool:
    """Whether mail can go there. What is posted to by HTTP is kept with an account, and nothing is sent to it."""
    if _ADDRESS.fullmatch(target):
        return True
    if not target.startswith(("smtp://", "smtps://")):
        return False
    try:
        return parse_relay(target, "may") is not None
    except InvalidInput:
        return False
