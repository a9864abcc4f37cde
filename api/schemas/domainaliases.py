"""Requests of the tag DomainAliases."""

from typing import Annotated

from api.paging import Paged
from api.schemas.base import Traced
from api.schemas.types import domain, identifier, text


class ListAliases(Paged):
    query: Annotated[str, text(255, empty=True)] = ""


class CreateAlias(Traced):
    alias: Annotated[str, domain()]
    domain: Annotated[str, domain()]


class ResolveAlias(Traced):
    alias: Annotated[str, domain()]


class OneAlias(Traced):
    alias: Annotated[str, identifier()]
