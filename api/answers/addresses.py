"""What operations of the tag Addresses answer."""

from api.answers.base import Answer, Anything, Date, Operation, absent
from api.answers.shared import Forwards, SuccessResponse


class GetAddressesResult(Answer):
    id: str
    name: str
    address: str
    user: str = absent()
    forwarded: bool
    forwardedDisabled: bool
    targets: list[str] = absent()
    tags: list[str]
    metaData: Anything = absent()
    internalData: Anything = absent()


class GetAddressesResponse(Answer):
    success: bool
    query: str = absent()
    total: int
    page: int
    previousCursor: str | bool
    nextCursor: str | bool
    results: list[GetAddressesResult]


class CreateUserAddressResponse(Answer):
    success: bool
    id: str


class GetUserAddressesResult(Answer):
    id: str
    name: str
    address: str
    main: bool
    created: Date
    tags: list[str]
    metaData: Anything = absent()
    internalData: Anything = absent()


class GetUserAddressesResponse(Answer):
    success: bool
    results: list[GetUserAddressesResult]


class GetUserAddressResponse(Answer):
    success: bool
    id: str
    name: str
    address: str
    main: bool
    created: Date
    tags: list[str]
    metaData: Anything = absent()
    internalData: Anything = absent()


class GetUserAddressesregisterResult(Answer):
    id: str
    name: str = absent()
    address: str


class GetUserAddressregisterResponse(Answer):
    success: bool
    results: list[GetUserAddressesregisterResult]


class CreateForwardedAddressResponse(Answer):
    success: bool
    id: str


class AddressLimits(Answer):
    forwards: Forwards


class AutoreplyInfo(Answer):
    status: bool
    name: str
    subject: str
    text: str
    html: str
    start: Date | bool = absent()
    end: Date | bool = absent()
    created: Date = absent()


class GetForwardedAddressResponse(Answer):
    success: bool
    id: str
    address: str
    name: str
    targets: list[str] = absent()
    limits: AddressLimits
    autoreply: AutoreplyInfo
    created: Date
    tags: list[str]
    metaData: Anything = absent()
    internalData: Anything = absent()
    forwardedDisabled: bool = absent()


class ResolveAddressResponse(Answer):
    success: bool
    user: str = absent()
    id: str
    address: str
    name: str
    targets: list[str] = absent()
    limits: AddressLimits = absent()
    autoreply: AutoreplyInfo = absent()
    tags: list[str]
    created: Date
    metaData: Anything = absent()
    internalData: Anything = absent()


class ResolveDomainAddressesResponse(Answer):
    success: bool
    modifiedAddresses: int
    modifiedUsers: int
    modifiedDkim: int
    modifiedAliases: int


OPERATIONS = {
    "GET /addresses": Operation("getAddresses", GetAddressesResponse),
    "POST /users/{user}/addresses": Operation("createUserAddress", CreateUserAddressResponse),
    "GET /users/{user}/addresses": Operation("getUserAddresses", GetUserAddressesResponse),
    "GET /users/{user}/addresses/{address}": Operation("getUserAddress", GetUserAddressResponse),
    "DELETE /users/{user}/addresses/{address}": Operation("deleteUserAddress", SuccessResponse),
    "PUT /users/{user}/addresses/{id}": Operation("updateUserAddress", SuccessResponse),
    "GET /users/{user}/addressregister": Operation("getUserAddressregister", GetUserAddressregisterResponse),
    "POST /addresses/forwarded": Operation("createForwardedAddress", CreateForwardedAddressResponse),
    "PUT /addresses/forwarded/{id}": Operation("updateForwardedAddress", SuccessResponse),
    "DELETE /addresses/forwarded/{address}": Operation("deleteForwardedAddress", SuccessResponse),
    "GET /addresses/forwarded/{address}": Operation("getForwardedAddress", GetForwardedAddressResponse),
    "GET /addresses/resolve/{address}": Operation("resolveAddress", ResolveAddressResponse),
    "PUT /addresses/renameDomain": Operation("renameDomain", ResolveDomainAddressesResponse),
}
