"""Requests of the tag DKIM."""

import re
from typing import Annotated

from pydantic import PlainValidator

from api.paging import Paged
from api.schemas.base import Traced
from api.schemas.types import domain, identifier, number, one_of, text, violation
from duckmail.services.dkim.dkim import DEFAULT
from duckmail.services.dkim.keys import ED25519, RSA

_LABEL = "[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
# RFC 6376 §3.1: labels of DNS with dots between them.
_SELECTOR = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_KEY = 16_384  # characters: an RSA key of 4096 bits has 3,300


def domain_or_default() -> PlainValidator:
    inner = domain().func

    def check(value: object) -> str:
        return DEFAULT if value == DEFAULT else str(inner(value))  # type: ignore[call-arg]

    return PlainValidator(check)


def selector() -> PlainValidator:
    """Lower-cased."""
    inner = text(255).func

    def check(value: object) -> str:
        found = str(inner(value)).strip().lower()  # type: ignore[call-arg]
        if not _SELECTOR.fullmatch(found):
            raise violation('"{label}" must be labels of a domain name')
        return found

    return PlainValidator(check)


class ListKeys(Paged):
    query: Annotated[str, text(255, empty=True)] = ""


class PutKey(Traced):
    """`overlap`: seconds. It and `algorithm` are our own."""

    domain: Annotated[str, domain_or_default()]
    selector: Annotated[str, selector()]
    private_key: Annotated[str, text(_KEY, empty=True)] = ""
    description: Annotated[str, text(255, empty=True)] = ""
    algorithm: Annotated[str, one_of(RSA, ED25519)] = RSA
    overlap: Annotated[int, number(0, 365 * 86400)] | None = None


class ResolveDomain(Traced):
    domain: Annotated[str, domain_or_default()]


class OneKey(Traced):
    dkim: Annotated[str, identifier()]
