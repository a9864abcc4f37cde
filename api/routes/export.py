"""Accounts as a file, and back."""

from dataclasses import asdict

from aiohttp import web

from api.answer import Json
from api.errors import Rows
from api.route import Call, Route, route
from api.schemas.export import CreateExport, CreateImport
from duckmail.errors import InvalidInput

_HEADERS = {"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff"}


async def create_export(call: Call, request: CreateExport) -> web.StreamResponse:
    octets = await call.services.transfer.export(request.users, request.tags, call.by)
    return web.Response(body=octets, headers=_HEADERS)


async def create_import(call: Call, _: CreateImport) -> Json:
    """As clients of the contract know it: nested, and without `success`."""
    return {"result": asdict(await call.services.transfer.load(call.body, call.by))}


_NO_FILE: Rows = {InvalidInput: (500, "INVALID_DATA")}

ROUTES: tuple[Route, ...] = (
    route("POST", "/data/export", CreateExport, create_export),
    route("POST", "/data/import", CreateImport, create_import, errors=_NO_FILE),
)
