"""Requests about reports of others: operations of our own, beside the contract."""

from typing import Annotated

from api.paging import Paged
from api.schemas.base import Traced
from api.schemas.types import EMPTY_IS_ABSENT, identifier, one_of
from api.schemas.types import domain as domain_name


class ListReports(Paged):
    type: Annotated[str, one_of("dmarc", "tls"), EMPTY_IS_ABSENT] = ""
    domain: Annotated[str, domain_name(), EMPTY_IS_ABSENT] = ""


class OneReport(Traced):
    report: Annotated[str, identifier()]
