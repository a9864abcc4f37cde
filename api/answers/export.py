"""What operations of the tag Export answer."""

from api.answers.base import Answer, Operation, absent


class CreateImportResponse(Answer):
    entries: int = absent()
    imported: int = absent()
    failed: int = absent()
    existing: int = absent()


OPERATIONS = {
    "POST /data/export": Operation("createExport", media="application/octet-stream"),
    "POST /data/import": Operation("createImport", CreateImportResponse),
}
