"""Requests for the story of a message: an operation of our own, beside the contract."""

from datetime import datetime
from typing import Annotated

from pydantic import model_validator

from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, moment, number, text, violation
from duckmail.model.trace import Wanted

MOST = 1000
LONGEST_ADDRESS = 1000
LONGEST_WORD = 256


class OneStory(Traced):
    message_id: Annotated[str, text(998), EMPTY_IS_ABSENT] = ""
    address: Annotated[str, text(LONGEST_ADDRESS), EMPTY_IS_ABSENT] = ""
    session: Annotated[str, text(LONGEST_WORD), EMPTY_IS_ABSENT] = ""
    queue: Annotated[str, text(LONGEST_WORD), EMPTY_IS_ABSENT] = ""
    client: Annotated[str, text(LONGEST_WORD), EMPTY_IS_ABSENT] = ""
    after: Annotated[datetime | None, moment(), EMPTY_IS_ABSENT] = None
    before: Annotated[datetime | None, moment(), EMPTY_IS_ABSENT] = None
    limit: Annotated[int, number(1, MOST)] = 250

    @property
    def wanted(self) -> Wanted:
        return Wanted(
            self.message_id, self.address, self.session, self.queue, self.client, after=self.after, before=self.before
        )

    @model_validator(mode="after")
    def _is_about_something(self) -> "OneStory":
        if not any((self.message_id, self.address, self.session, self.queue, self.client)):
            raise violation('"value" must contain at least one of [messageId, address, session, queue, client]')
        return self
