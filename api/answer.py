"""Answers: JSON as clients of the contract know it, with the headers that each has."""

from datetime import UTC, datetime

import orjson
from aiohttp import web

Json = dict[str, object]

_OPTIONS = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE


def iso(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and `Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def without_none(**values: object) -> Json:
    """The values that are there: the contract leaves out what is not set."""
    return {key: value for key, value in values.items() if value is not None}


def json_response(body: Json, status: int = 200) -> web.Response:
    """Pretty-printed by two spaces, with a newline at the end."""
    return web.Response(
        body=orjson.dumps(body, option=_OPTIONS),
        status=status,
        headers={"Content-Type": "application/json; charset=utf-8"},
    )
