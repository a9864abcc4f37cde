"""What operations of the tag DomainAliases answer."""

from api.answers.base import Answer, Date, Operation, absent
from api.answers.shared import SuccessResponse


class GetDomainAliasesResult(Answer):
    id: str
    alias: str
    domain: str


class GetDomainAliasesResponse(Answer):
    success: bool
    query: str = absent()
    total: int
    page: int
    previousCursor: str | bool
    nextCursor: str | bool
    results: list[GetDomainAliasesResult]


class CreateDomainAliasResponse(Answer):
    success: bool
    id: str


class ResolveDomainAliasResponse(Answer):
    success: bool
    id: str


class GetDomainAliasResponse(Answer):
    success: bool
    id: str
    alias: str
    domain: str
    created: Date


OPERATIONS = {
    "GET /domainaliases": Operation("getDomainAliases", GetDomainAliasesResponse),
    "POST /domainaliases": Operation("createDomainAlias", CreateDomainAliasResponse),
    "GET /domainaliases/resolve/{alias}": Operation("resolveDomainAlias", ResolveDomainAliasResponse),
    "GET /domainaliases/{alias}": Operation("getDomainAlias", GetDomainAliasResponse),
    "DELETE /domainaliases/{alias}": Operation("deleteDomainAlias", SuccessResponse),
}
