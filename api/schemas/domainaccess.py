"""Requests of the tag DomainAccess."""

from typing import Annotated

from api.schemas.base import Traced
from api.schemas.types import domain, identifier, text

Tag = Annotated[str, text(128)]


class PutDomain(Traced):
    tag: Tag
    domain: Annotated[str, domain()]


class ListDomains(Traced):
    tag: Tag


class OneDomain(Traced):
    domain: Annotated[str, identifier()]
