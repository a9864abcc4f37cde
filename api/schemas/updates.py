"""Requests of the updates of an account."""

from typing import Annotated

from pydantic import Field

from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, identifier


class FollowUser(Traced):
    user: Annotated[str, identifier()]
    last_event_id: Annotated[str, identifier(), EMPTY_IS_ABSENT] = Field("", alias="Last-Event-ID")
