"""Requests of the tag Export."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from api.schemas.base import Traced
from api.schemas.types import identifier, text


def _wrapped(value: object) -> object:
    """A form cannot say that one value is a list."""
    return (value,) if isinstance(value, str) else value


class CreateExport(Traced):
    users: Annotated[tuple[Annotated[str, identifier()], ...], BeforeValidator(_wrapped), Field(max_length=10_000)] = ()
    tags: Annotated[tuple[Annotated[str, text(128)], ...], BeforeValidator(_wrapped), Field(max_length=1_000)] = ()


class CreateImport(Traced):
    """The file is the body."""
