"""Requests of the tag TwoFactorAuth that are about WebAuthn. Binary values are hexadecimal digits."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, PlainValidator

from api.schemas.base import Traced
from api.schemas.described import described
from api.schemas.types import EMPTY_IS_ABSENT, boolean, identifier, one_of, text, violation

_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")
_SHORT = 2048  # digits of challenges and of the names of keys
_LONG = 1 << 20  # digits of what a browser made


def _binary(most: int) -> PlainValidator:
    """Hexadecimal digits, as octets."""

    def check(value: object) -> bytes:
        if not isinstance(value, str):
            raise violation('"{label}" must be a string')
        if not value:
            raise violation('"{label}" is not allowed to be empty')
        messages = []
        if len(value) > most:
            messages.append(f'"{{label}}" length must be less than or equal to {most} characters long')
        elif not _HEX.fullmatch(value):
            messages.append('"{label}" must only contain hexadecimal characters')
        if messages:
            raise violation(*messages)
        return bytes.fromhex(value)

    return described(check, type="string", pattern=_HEX.pattern, maxLength=most)


def _origin(value: str) -> str:
    """Scheme, host and port alone, as a browser writes them."""
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise violation('"{label}" must be a valid uri') from None
    if not parts.scheme or not parts.hostname or not value.isascii() or not value.isprintable():
        raise violation('"{label}" must be a valid uri')
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{port}" if port and (parts.scheme, port) not in _USUAL else "")


_USUAL = (("https", 443), ("http", 80))
_Attachment = Annotated[str, one_of("platform", "cross-platform"), EMPTY_IS_ABSENT]
_RpId = Annotated[str, text(255), EMPTY_IS_ABSENT]


class OneAccount(Traced):
    user: Annotated[str, identifier()]


class OneKey(OneAccount):
    credential: Annotated[str, identifier()]


class AskAuthentication(OneAccount):
    origin: Annotated[str, text(1024), AfterValidator(_origin)]
    authenticator_attachment: _Attachment = "cross-platform"
    rp_id: _RpId = ""


class AskRegistration(AskAuthentication):
    description: Annotated[str, text(1024)]


class _Answer(OneAccount):
    challenge: Annotated[bytes, _binary(_SHORT)]
    raw_id: Annotated[bytes, _binary(_SHORT)]
    client_data: Annotated[bytes, _binary(_LONG)] = Field(alias="clientDataJSON")
    rp_id: _RpId = ""


class Attestation(_Answer):
    attestation_object: Annotated[bytes, _binary(_LONG)]


class Assertion(_Answer):
    authenticator_data: Annotated[bytes, _binary(_LONG)]
    signature: Annotated[bytes, _binary(_LONG)]
    token: Annotated[bool, boolean(), EMPTY_IS_ABSENT] = False
