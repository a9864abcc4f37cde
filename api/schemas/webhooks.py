"""Requests of the tag Webhooks."""

from typing import Annotated

from pydantic import AfterValidator, Field, PlainValidator

from api.paging import Paged
from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, identifier, target, text, violation

Type = Annotated[str, text(128), AfterValidator(lambda value: value.strip().lower())]
Types = Annotated[tuple[Type, ...], Field(min_length=1, max_length=100)]


def webhook_url() -> PlainValidator:
    """What can be posted to: the reference takes mail URLs too, and nothing would ever come there."""
    inner = target().func

    def check(value: object) -> str:
        found = str(inner(value))  # type: ignore[call-arg]
        if not found.startswith(("http://", "https://")):
            raise violation('"{label}" must be a valid uri with a scheme matching the http|https pattern')
        return found

    return PlainValidator(check)


class ListWebhooks(Paged):
    type: Annotated[Type, EMPTY_IS_ABSENT] = ""
    user: Annotated[str, identifier(), EMPTY_IS_ABSENT] = ""


class CreateWebhook(Traced):
    type: Types
    user: Annotated[str, identifier(), EMPTY_IS_ABSENT] = ""
    url: Annotated[str, webhook_url()]


class OneWebhook(Traced):
    webhook: Annotated[str, identifier()]
