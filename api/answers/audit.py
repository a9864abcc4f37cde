"""What operations of the tag Audit answer."""

from pydantic import Field

from api.answers.base import Answer, Date, Operation, absent


class CreateAuditResponse(Answer):
    success: bool
    id: str


class GetAuditResponseImport(Answer):
    status: str
    failed: int
    copied: int


class GetAuditResponse(Answer):
    success: bool
    id: str
    user: str
    start: Date | bool = absent()
    end: Date | bool = absent()
    expires: Date
    import_: GetAuditResponseImport = Field(alias="import")


OPERATIONS = {
    "POST /audit": Operation("createAudit", CreateAuditResponse),
    "GET /audit/{audit}": Operation("getAudit", GetAuditResponse),
    "GET /audit/{audit}/export.mbox": Operation("getAuditEmails", media="application/octet-stream"),
}
