"""Requests of the tag Autoreplies, and what other tags say of autoreplies."""

from datetime import datetime
from typing import Annotated, Any

from api.schemas.base import Request, Traced
from api.schemas.types import EMPTY_IS_ABSENT, boolean, identifier, moment, text

_ATTRIBUTES = ("status", "name", "subject", "text", "html", "start", "end")
_LONG = 128 * 1024  # characters

Flag = Annotated[bool, boolean(), EMPTY_IS_ABSENT]
Body = Annotated[str, text(_LONG, empty=True)]
Moment = Annotated[datetime | None, moment(), EMPTY_IS_ABSENT]


class AutoreplyOf(Request):
    """`start`, `end`: `false` takes the limit away."""

    status: Flag = True
    name: Annotated[str, text(128, empty=True)] = ""
    subject: Annotated[str, text(2048, empty=True)] = ""
    text: Body = ""
    html: Body = ""
    start: Moment = None
    end: Moment = None

    def attributes(self) -> dict[str, Any]:
        """All attributes of `Autoreply`."""
        return {name: getattr(self, name) for name in _ATTRIBUTES}

    def changes(self) -> dict[str, Any]:
        """Attributes of `Autoreply` that were given."""
        return self.given(*_ATTRIBUTES)


class UpdateAutoreply(AutoreplyOf, Traced):
    user: Annotated[str, identifier()]


class OneAutoreply(Traced):
    user: Annotated[str, identifier()]
