"""What the story of mail has of refusals: in the dialogue, before there is a message, and of the message itself."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum

from duckmail.errors import (
    AccountDisabled,
    DailyLimitReached,
    DuckmailError,
    NotFound,
    NotPermitted,
    OverQuota,
    RateLimited,
)
from duckmail.model.envelope import Envelope, Recipient
from duckmail.model.network import wide_network
from duckmail.services.reception.errors import REASONS
from duckmail.services.tracing import Tracing

_REASONS: Mapping[type, str] = {
    NotFound: "unknown",
    AccountDisabled: "disabled",
    OverQuota: "full",
    RateLimited: "rate",
    DailyLimitReached: "limit",
    NotPermitted: "sender",
    **REASONS,
}


class Stage(Enum):
    """How far it came."""

    NAME = "name"  # EHLO
    SENDER = "sender"
    RECIPIENT = "recipient"
    MESSAGE = "message"


def reason(error: DuckmailError) -> str:
    """In one word."""
    return _REASONS.get(type(error), "unavailable" if error.temporary else "refused")


def source(envelope: Envelope) -> str:
    """Whose refusals count together: those of the client's network. "" where only a relay of ours is known."""
    return wide_network(envelope.client_address or (envelope.host if envelope.direct else ""))


def whence(envelope: Envelope) -> dict[str, object]:
    """Of the connection alone."""
    return {
        "protocol": envelope.protocol,
        "from": envelope.host,
        "helo": envelope.helo,
        "client": envelope.client_address,
        "clientHelo": envelope.client_helo,
        "connection": envelope.connection,
    }


@contextmanager
def told(
    tracing: Tracing | None, stage: Stage, envelope: Envelope, recipient: str = "", user: str = ""
) -> Iterator[None]:
    """Tells what is refused within. `user`: whose mail it would be, if that is known and the error does not say."""
    try:
        yield
    except DuckmailError as error:
        if tracing is not None:
            about = {"stage": stage.value, **whence(envelope), "recipient": recipient, "error": error.text}
            if stage is not Stage.NAME:
                about["sender"] = envelope.sender or "<>"
            owner = str(error.fields.get("account", user))
            tracing.refuse(source(envelope) or user, reason(error), "", owner, about)
        raise


def tell_unread(
    tracing: Tracing | None, envelope: Envelope, recipients: Sequence[Recipient], text: str, user: str = ""
) -> None:
    """Of a message that was too large, or no message, and was thrown away. `text`: what the client was told."""
    if tracing is None:
        return
    about = {"stage": Stage.MESSAGE.value, **whence(envelope), "sender": envelope.sender or "<>", "size": envelope.size}
    for recipient in recipients or (None,):
        owner = user or (recipient.owner if recipient is not None else "")
        said = {**about, "recipient": recipient.address if recipient is not None else "", "error": text}
        tracing.refuse(source(envelope) or user, "unread", "", owner, said)
