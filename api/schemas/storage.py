"""Requests of the tag Storage."""

from typing import Annotated

from pydantic import Field, PlainValidator

from api.paging import Paged
from api.schemas.base import Request, Traced
from api.schemas.types import EMPTY_IS_ABSENT, identifier, one_of, text, violation
from duckmail.mime.written import ENCODINGS

Id = Annotated[str, identifier()]
Text255 = Annotated[str, text(255), EMPTY_IS_ABSENT]


def content() -> PlainValidator:
    """Octets, or a text that stands for some."""

    def check(value: object) -> str | bytes:
        if not isinstance(value, str | bytes):
            raise violation('"{label}" must be a string')
        if not value:
            raise violation('"{label}" is not allowed to be empty')
        return value

    return PlainValidator(check)


Octets = Annotated[str | bytes, content(), Field(repr=False)]


class UploadFile(Traced):
    user: Id
    content: Octets
    filename: Text255 = ""
    content_type: Text255 = ""
    encoding: Annotated[str, one_of(*ENCODINGS), EMPTY_IS_ABSENT] = "utf8"
    cid: Text255 = ""


class ListFiles(Paged):
    user: Id
    query: Text255 = ""


class DownloadFile(Request):
    user: Id
    file: Id


class DeleteFile(Traced):
    user: Id
    file: Id
