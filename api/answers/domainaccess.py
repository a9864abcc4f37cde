"""What operations of the tag DomainAccess answer."""

from api.answers.base import Answer, Operation


class CreateAllowedDomainResponse(Answer):
    success: bool
    id: str


class GetAllowedDomainResult(Answer):
    id: str
    domain: str
    action: str


class GetAllowedDomainsResponse(Answer):
    success: bool
    results: list[GetAllowedDomainResult]


class CreateBlockedDomainResponse(Answer):
    success: bool
    id: str


class GetBlockedDomainResult(Answer):
    id: str
    domain: str
    action: str


class GetBlockedDomainsResponse(Answer):
    success: bool
    results: list[GetBlockedDomainResult]


class DeleteDomainListingResponse(Answer):
    success: bool
    deleted: str


OPERATIONS = {
    "POST /domainaccess/{tag}/allow": Operation("createAllowedDomain", CreateAllowedDomainResponse),
    "GET /domainaccess/{tag}/allow": Operation("getAllowedDomains", GetAllowedDomainsResponse),
    "POST /domainaccess/{tag}/block": Operation("createBlockedDomain", CreateBlockedDomainResponse),
    "GET /domainaccess/{tag}/block": Operation("getBlockedDomains", GetBlockedDomainsResponse),
    "DELETE /domainaccess/{domain}": Operation("deleteDomainListing", DeleteDomainListingResponse),
}
