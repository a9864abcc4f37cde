"""Requests of the tag Certs."""

from typing import Annotated

from pydantic import Field, PlainValidator

from api.paging import Paged
from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, boolean, identifier, text, violation
from duckmail.model.address import ascii_domain
from duckmail.services.certs.chain import MOST_CERTIFICATES, is_server_name

_PEM = 262_144  # characters


def server_name() -> PlainValidator:
    """A host name or a wildcard, in lower-case A-labels."""
    inner = text(255).func

    def check(value: object) -> str:
        found = str(inner(value)).strip().lower()  # type: ignore[call-arg]
        star, plain = ("*.", found[2:]) if found.startswith("*.") else ("", found)
        try:
            found = star + ascii_domain(plain).lower()
        except ValueError:
            found = ""
        if not is_server_name(found):
            raise violation('"{label}" must be a valid hostname')
        return found

    return PlainValidator(check)


class ListCertificates(Paged):
    query: Annotated[str, text(255, empty=True)] = ""
    alt_names: Annotated[bool, boolean(), EMPTY_IS_ABSENT] = False


class PutCertificate(Traced):
    servername: Annotated[str, server_name()]
    private_key: Annotated[str, text(_PEM, empty=True)] = ""
    cert: Annotated[str, text(_PEM, empty=True)] = ""
    ca: Annotated[tuple[Annotated[str, text(_PEM)], ...], Field(max_length=MOST_CERTIFICATES)] = ()
    description: Annotated[str, text(1024, empty=True)] = ""
    acme: Annotated[bool, boolean(), EMPTY_IS_ABSENT] = False


class ResolveServerName(Traced):
    servername: Annotated[str, server_name()]


class OneCertificate(Traced):
    cert: Annotated[str, identifier()]
