"""Requests of the tag TwoFactorAuth."""

import re
from typing import Annotated

from pydantic import AfterValidator

from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, identifier, text, violation

_CODE_LENGTH = 6
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f]*")


def _code(value: str) -> str:
    if len(value) != _CODE_LENGTH:
        raise violation(f'"{{label}}" length must be {_CODE_LENGTH} characters long')
    return value


def _printable(value: str) -> str:
    if not _PRINTABLE.fullmatch(value) or ":" in value:
        # A colon divides issuer and label in what authenticators read.
        raise violation('"{label}" must not contain colons or control characters')
    return value


class OneAccount(Traced):
    user: Annotated[str, identifier()]


class SetupTotp(OneAccount):
    label: Annotated[str, text(255), AfterValidator(_printable), EMPTY_IS_ABSENT] = ""
    issuer: Annotated[str, text(255), AfterValidator(_printable)]


class TotpCode(OneAccount):
    token: Annotated[str, text(255), AfterValidator(_code)]
