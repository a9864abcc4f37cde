"""Requests about who else may use a mailbox: operations of our own, beside the contract."""

from typing import Annotated

from pydantic import PlainValidator

from api.schemas.described import described
from api.schemas.mailboxes import OneMailbox
from api.schemas.types import text, violation
from duckmail.errors import InvalidInput
from duckmail.model.sharing import ALL_RIGHTS, OBSOLETE, parse_rights

MAX_IDENTIFIER = 256
_LETTERS = ALL_RIGHTS + "".join(OBSOLETE)


def _rights() -> PlainValidator:
    """In their order, obsolete ones as what they stand for."""

    def check(value: object) -> str:
        try:
            return parse_rights(value if isinstance(value, str) else "?")
        except InvalidInput:
            raise violation(f'"{{label}}" must be letters of {_LETTERS}') from None

    return described(check, type="string", pattern=f"^[{_LETTERS}]*$")


class OneGrant(OneMailbox):
    """`identifier`: a user name or `anyone`; with `-` in front, the rights are taken away."""

    identifier: Annotated[str, text(MAX_IDENTIFIER)]


class PutGrant(OneGrant):
    rights: Annotated[str, _rights()]
