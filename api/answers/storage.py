"""What operations of the tag Storage answer."""

from api.answers.base import Answer, Date, Operation, absent
from api.answers.shared import SuccessResponse


class UploadFileResponse(Answer):
    success: bool
    id: str


class GetFilesResult(Answer):
    id: str
    filename: str | bool
    contentType: str | bool
    cid: str = absent()
    size: int
    created: Date
    md5: str


class GetFilesResponse(Answer):
    success: bool
    query: str = absent()
    total: int
    page: int
    previousCursor: str | bool
    nextCursor: str | bool
    results: list[GetFilesResult]


OPERATIONS = {
    "POST /users/{user}/storage": Operation("uploadFile", UploadFileResponse),
    "GET /users/{user}/storage": Operation("getFiles", GetFilesResponse),
    "DELETE /users/{user}/storage/{file}": Operation("deleteFile", SuccessResponse),
    "GET /users/{user}/storage/{file}": Operation("getFile", media="application/octet-stream"),
}
