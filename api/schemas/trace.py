"""Requests for the story of a message: an operation of our own, beside the contract."""

from typing import Annotated

from api.schemas.base import Traced
from api.schemas.types import number, text

MOST = 1000


class OneStory(Traced):
    message_id: Annotated[str, text(998)]
    limit: Annotated[int, number(1, MOST)] = 250
