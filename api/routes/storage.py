"""Files kept for the messages that an account writes."""

import re

from aiohttp import web

from api.answer import Json, iso, without_none
from api.errors import Rows
from api.paging import text_cursors, text_spot
from api.permissions import Permission
from api.route import UPLOAD_LIMIT, Call, Route, route
from api.schemas.storage import DeleteFile, DownloadFile, ListFiles, UploadFile
from api.stored import STORED
from duckmail.errors import NotFound
from duckmail.model.userfile import FilePlace, FileQuery, UserFile
from duckmail.services.files import OCTET_STREAM, Upload

_NAME = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
_MEDIA_TYPE = re.compile(rf"{_NAME}/{_NAME}(?:; ?charset=[A-Za-z0-9_.:-]{{1,40}})?")


async def upload(call: Call, request: UploadFile) -> Json:
    new = Upload(request.content, request.encoding, request.filename, request.content_type, request.cid)
    return {"success": True, "id": await call.services.files.upload(request.user, new, call.by)}


async def list_files(call: Call, request: ListFiles) -> Json:
    at = text_spot(request)
    query = FileQuery(
        request.limit,
        request.query,
        FilePlace(*at.after) if at.after else None,
        FilePlace(*at.before) if at.before else None,
    )
    found = await call.services.files.page(request.user, query, call.by)
    return {
        "success": True,
        **({"query": request.query} if request.query else {}),
        "total": found.total,
        **text_cursors(at.page, [(each.filename, each.id) for each in found.files], found.has_previous, found.has_next),
        "results": [_row(each) for each in found.files],
    }


def _row(file: UserFile) -> Json:
    return without_none(
        id=file.id,
        filename=file.filename,
        contentType=file.content_type,
        cid=file.cid or None,
        size=file.size,
        created=iso(file.created),
        md5=file.md5,
    )


async def download(call: Call, request: DownloadFile) -> web.StreamResponse:
    file, octets = await call.services.files.open(request.user, request.file, call.by)
    # It is what somebody has said at some time: only what a header can hold.
    content_type = file.content_type if _MEDIA_TYPE.fullmatch(file.content_type) else OCTET_STREAM
    return web.Response(body=octets, headers={**STORED, "Content-Type": content_type})


async def delete(call: Call, request: DeleteFile) -> Json:
    await call.services.files.delete(request.user, request.file, call.by)
    return {"success": True}


_FILES = "/users/{user}/storage"
_FILE = f"{_FILES}/{{file}}"
_NO_USER: Rows = {NotFound: (404, "UserNotFound")}

ROUTES: tuple[Route, ...] = (
    route(
        "POST",
        _FILES,
        UploadFile,
        upload,
        Permission("storage", "create"),
        errors=_NO_USER,
        body_limit=UPLOAD_LIMIT,
        raw="content",
    ),
    route("GET", _FILES, ListFiles, list_files, Permission("storage", "read"), errors=_NO_USER),
    route("GET", _FILE, DownloadFile, download, Permission("storage", "read")),
    route("DELETE", _FILE, DeleteFile, delete, Permission("storage", "delete")),
)
