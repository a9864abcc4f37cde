"""Requests of the tag Audit."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator

from api.schemas.base import Request, Traced
from api.schemas.types import EMPTY_IS_ABSENT, identifier, moment, violation

Id = Annotated[str, identifier()]


def _future(value: datetime) -> datetime:
    if value <= datetime.now(UTC):
        raise violation('"{label}" must be greater than "now"')
    return value


class CreateAudit(Traced):
    user: Id
    start: Annotated[datetime | None, moment(), EMPTY_IS_ABSENT] = None
    end: Annotated[datetime | None, moment(), EMPTY_IS_ABSENT] = None
    expires: Annotated[datetime, moment(required=True), AfterValidator(_future)]


class OneAudit(Request):
    audit: Id


class DeleteAudit(Traced):
    audit: Id
