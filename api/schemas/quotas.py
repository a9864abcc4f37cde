"""Requests about what an account may hold: operations of our own, beside the contract."""

from typing import Annotated

from api.schemas.types import number
from api.schemas.users import OneUser


class PutQuota(OneUser):
    """`messages`: in all mailboxes; 0 for the server's limit."""

    messages: Annotated[int, number(0)]
