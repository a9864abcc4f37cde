"""Requests of the tag Authentication."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, model_validator

from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, boolean, login_name, text, violation
from duckmail.model.credentials import Trace
from duckmail.services.attempts import MASTER


def _uri(value: str) -> str:
    try:
        valid = bool(urlsplit(value).scheme)
    except ValueError:
        valid = False
    if not valid:
        raise violation('"{label}" must be a valid uri')
    return value


class PreAuth(Traced):
    username: Annotated[str, login_name()]
    scope: Annotated[str, text(255)] = MASTER


class Authenticate(PreAuth):
    password: Annotated[str, text(256)]
    protocol: Annotated[str, text(255)] = "API"
    app_id: Annotated[str, text(2048), AfterValidator(_uri)] = ""
    token: Annotated[bool, boolean(), EMPTY_IS_ABSENT] = False

    @property
    def trace(self) -> Trace:
        return Trace(self.ip, self.sess, self.app_id)

    @model_validator(mode="after")
    def _token_needs_master(self) -> "Authenticate":
        if self.token and self.scope != MASTER:
            raise violation('"{label}" must be [master]', at="scope")
        return self
