"""What operations of the tag DKIM answer."""

from api.answers.base import Answer, Date, Operation
from api.answers.shared import ResolveIdResponse, SuccessResponse


class GetDkimKeysResult(Answer):
    id: str
    domain: str
    selector: str
    description: str
    fingerprint: str
    created: Date


class GetDkimKeysResponse(Answer):
    success: bool
    total: int
    page: int
    previousCursor: str | bool
    nextCursor: str | bool
    query: str
    results: list[GetDkimKeysResult]


class DnsTxt(Answer):
    name: str
    value: str


class DkimKey(Answer):
    """One of a domain's keys; `signs`: now."""

    selector: str
    algorithm: str
    fingerprint: str
    dnsTxt: DnsTxt
    created: Date
    since: Date
    signs: bool


class UpdateDkimKeyResponse(Answer):
    success: bool
    id: str
    domain: str
    selector: str
    description: str
    fingerprint: str
    publicKey: str
    dnsTxt: DnsTxt


class GetDkimKeyResponse(Answer):
    success: bool
    id: str
    domain: str
    selector: str
    description: str
    fingerprint: str
    publicKey: str
    dnsTxt: DnsTxt
    created: Date
    keys: list[DkimKey]


OPERATIONS = {
    "GET /dkim": Operation("getDkimKeys", GetDkimKeysResponse),
    "POST /dkim": Operation("updateDkimKey", UpdateDkimKeyResponse),
    "GET /dkim/resolve/{domain}": Operation("resolveDkim", ResolveIdResponse),
    "GET /dkim/{dkim}": Operation("getDkimKey", GetDkimKeyResponse),
    "DELETE /dkim/{dkim}": Operation("deleteDkimKey", SuccessResponse),
}
