"""NOTIFY (RFC 3461 §4.1) as the queue has it."""

from duckmail.model.queue import NOTIFY_DEFAULT, Notify
from protocols.smtp.wire.parameters import RcptParameters


def notify_of(parameters: RcptParameters) -> Notify:
    """What was asked for; without NOTIFY, what is usual."""
    if not parameters.notify:
        return NOTIFY_DEFAULT
    found = Notify.NEVER
    for name in parameters.notify:
        found |= Notify[name]
    return found
