"""What operations of the tag Export answer."""

from api.answers.base import Answer, Operation


class ImportResult(Answer):
    entries: int
    imported: int
    failed: int
    existing: int


class CreateImportResponse(Answer):
    result: ImportResult


OPERATIONS = {
    "POST /data/export": Operation("createExport", media="application/octet-stream"),
    "POST /data/import": Operation("createImport", CreateImportResponse),
}
