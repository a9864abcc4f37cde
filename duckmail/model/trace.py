"""The story of one message: what happened to it here, step by step. Never its content."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

LONGEST_ID = 500  # characters of a Message-ID that are looked at


class Step(Enum):
    DELIVERY = "delivery"  # it came in for one recipient
    REFUSED = "refused"  # it came in and was not taken
    QUEUED = "queued"  # it is to go out
    ATTEMPT = "attempt"  # it was tried to send it


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """`message_id`: normalised. `user`: whose message it is here, "" for the server's own. `about`: of JSON's types."""

    message_id: str
    user: str
    step: Step
    at: datetime
    about: Mapping[str, object] = field(default_factory=dict)
    id: str = ""


def normal_id(message_id: str) -> str:
    """A Message-ID as it is kept and looked for: without white space and angle brackets around it; "" for none."""
    return message_id.strip().removeprefix("<").removesuffix(">")[:LONGEST_ID].encode("utf-8", "replace").decode()
