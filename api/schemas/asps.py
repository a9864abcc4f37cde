"""Requests of the tag ApplicationPasswords."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, boolean, identifier, local_email, number, one_of, text, violation
from duckmail.model.credentials import MAIL_SCOPES

_PASSWORD = re.compile(r"[a-z]{16}")
_LONGEST_TTL = 100 * 365 * 86400  # seconds


def _split(value: Any) -> Any:  # noqa: ANN401 -- whatever JSON holds
    """The one list that may come as text between commas."""
    return tuple(item.strip() for item in value.split(",") if item.strip()) if isinstance(value, str) else value


def _letters(value: str) -> str:
    if not _PASSWORD.fullmatch(value):
        raise violation(f'"{{label}}" with value "{value[:1]}..." fails to match the required pattern: /^[a-z]{{16}}$/')
    return value


Scope = Annotated[Literal["imap", "pop3", "smtp", "*"], one_of(*MAIL_SCOPES, "*")]


class ListAsps(Traced):
    user: Annotated[str, identifier()]
    show_all: Annotated[bool, boolean(), EMPTY_IS_ABSENT] = False


class OneAsp(Traced):
    user: Annotated[str, identifier()]
    asp: Annotated[str, identifier()]


class CreateAsp(Traced):
    user: Annotated[str, identifier()]
    description: Annotated[str, text(255)]
    scopes: Annotated[tuple[Scope, ...], BeforeValidator(_split), Field(max_length=8)] = ()
    address: Annotated[str, local_email(), EMPTY_IS_ABSENT] = ""
    password: Annotated[str, text(256), AfterValidator(_letters), EMPTY_IS_ABSENT] = ""
    generate_mobileconfig: Annotated[bool, boolean(), EMPTY_IS_ABSENT] = False
    ttl: Annotated[int, number(0, _LONGEST_TTL), EMPTY_IS_ABSENT] = 0
