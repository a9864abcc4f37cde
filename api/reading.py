"""A request's input: path, query and body as one dictionary.

Path beats query beats body. Everything is bounded: the body's octets and the time it takes, the number of keys, the
depth of bracketed ones.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from urllib.parse import parse_qsl

import orjson
from aiohttp import BodyPartReader, web

from api.errors import FrameworkError, ValidationFailed
from api.largejson import SMALL, TooMuchStructure, parse
from duckmail.runtime.threads import Pool

BODY_SECONDS = 60.0
UPLOAD_SECONDS = 600.0
STRUCTURE_LIMIT = 4 << 20  # octets of JSON beside its long strings
FIELD_LIMIT = 2 << 20  # octets of a form's field that is no file
MAX_KEYS = 1000  # of a query or a form
_DEPTH = 5
_STEP = re.compile(r"\[([^\[\]]*)\]|\.([^.\[\]]+)")
_WITH_BODY = frozenset({"POST", "PUT", "DELETE"})

Input = dict[str, object]


async def read_input(request: web.Request, body_limit: int, threads: Pool, raw: str = "") -> Input:
    """`threads`: for large bodies. `raw`: the key of a body that is neither JSON nor a form, "" where such a body is
    not looked at.

    Raises: ValidationFailed, FrameworkError.
    """
    values: Input = dict(request.match_info)
    _merge(values, nest((key, value) for key, value in request.query.items() if key != "accessToken"))
    if request.method in _WITH_BODY and request.can_read_body:
        _merge(values, await _read_body(request, body_limit, threads, raw))
    return values


async def stream(request: web.Request) -> AsyncIterator[bytes]:
    """The body in pieces, where it was not read as parameters. Raises: FrameworkError."""
    while True:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                piece = await request.content.readany()
        except TimeoutError:
            raise FrameworkError(408, "RequestTimeout", "The body did not arrive in time") from None
        except web.PayloadAccessError:
            raise FrameworkError(400, "InvalidContent", "The body could not be read") from None
        if not piece:
            return
        yield piece


def _merge(values: Input, more: Mapping[str, object]) -> None:
    for key, value in more.items():
        values.setdefault(key, value)


async def _read_body(request: web.Request, limit: int, threads: Pool, raw: str) -> Mapping[str, object]:
    kind = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        return await _json(await _octets(request, limit, UPLOAD_SECONDS if raw else BODY_SECONDS), threads)
    if kind == "application/x-www-form-urlencoded":
        text = (await _octets(request, limit)).decode("utf-8", "replace")
        try:
            return nest(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_KEYS))
        except ValueError:
            raise FrameworkError(400, "InvalidContent", "Too many fields") from None
    if raw and kind == "multipart/form-data":
        return await _form(request, limit, raw)
    if raw:
        body = bytes(await _octets(request, limit, UPLOAD_SECONDS))
        return {raw: body} if body else {}
    return {}  # neither JSON nor a form: no parameters


async def _form(request: web.Request, limit: int, raw: str) -> Mapping[str, object]:
    """Fields by name; a file, whatever its field is called, is `raw`, and its name `filename`."""
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    values: Input = {}
    try:
        async with asyncio.timeout(UPLOAD_SECONDS):
            reader = await request.multipart()
            while (part := await reader.next()) is not None:
                if len(values) >= MAX_KEYS:
                    raise FrameworkError(400, "InvalidContent", "Too many fields")
                if not isinstance(part, BodyPartReader):
                    continue
                body = await _part(part, limit if part.filename else FIELD_LIMIT)
                limit -= len(body)
                if part.filename:
                    values.setdefault("filename", part.filename)
                    values.setdefault(raw, body)
                elif part.name:
                    values.setdefault(part.name, body.decode("utf-8", "replace"))
    except TimeoutError:
        raise _too_late() from None
    except (web.PayloadAccessError, ValueError):
        raise FrameworkError(400, "InvalidContent", "The form could not be read") from None
    return values


async def _part(part: BodyPartReader, limit: int) -> bytes:
    body = bytearray()
    while chunk := await part.read_chunk(65536):
        body += chunk
        if len(body) > limit:
            raise _too_large(limit)
    return bytes(body)


async def _octets(request: web.Request, limit: int, seconds: float = BODY_SECONDS) -> bytearray:
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            # Counted after decompression: aiohttp has undone a Content-Encoding by now.
            async for chunk in request.content.iter_any():
                body += chunk
                if len(body) > limit:
                    raise _too_large(limit)
    except TimeoutError:
        raise _too_late() from None
    except web.PayloadAccessError:
        raise FrameworkError(400, "InvalidContent", "The body could not be read") from None
    return body


def _too_late() -> FrameworkError:
    return FrameworkError(408, "RequestTimeout", "The body did not arrive in time")


def _too_large(limit: int) -> FrameworkError:
    return FrameworkError(413, "RequestEntityTooLarge", f"The body may have at most {limit} bytes")


async def _json(body: bytearray, threads: Pool) -> Mapping[str, object]:
    if len(body) <= SMALL and not body.strip():
        return {}
    try:
        value = orjson.loads(body) if len(body) <= SMALL else await threads.run(parse, body, STRUCTURE_LIMIT)
    except TooMuchStructure:
        raise _too_large(STRUCTURE_LIMIT) from None
    except orjson.JSONDecodeError as error:
        raise FrameworkError(400, "InvalidContent", f"Invalid JSON: {str(error)[:100]}") from None
    if not isinstance(value, dict):
        message = '"value" must be of type object'
        raise ValidationFailed([message], {"": message})
    return value


def nest(pairs: Iterable[tuple[str, str]]) -> Input:
    """`or.from=x`, `or[from]=x` as `{"or": {"from": "x"}}`; repeated keys, and `a[]`, as lists.

    Raises:
        FrameworkError: too many keys.
    """
    values: Input = {}
    for count, (key, value) in enumerate(pairs):
        if count >= MAX_KEYS:
            raise FrameworkError(400, "InvalidContent", "Too many fields")
        _put(values, _path(key), value)
    return values


def _path(key: str) -> list[str]:
    """The key's steps; "" for `[]`. A key that is not well formed, or too deep, is one step."""
    head = re.match(r"[^.\[\]]+", key)
    if head is None:
        return [key]
    steps, end = [head[0]], head.end()
    for match in _STEP.finditer(key, end):
        if match.start() != end or len(steps) >= _DEPTH:
            return [key]
        steps.append(match[1] if match[1] is not None else match[2])
        end = match.end()
    return steps if end == len(key) else [key]


def _put(values: Input, path: list[str], value: str) -> None:
    step, *rest = path
    if rest and (rest[0] == "" or rest[0].isdecimal()):
        items = values.setdefault(step, [])
        if isinstance(items, list) and len(rest) == 1:
            items.append(value)
        return
    if rest:
        inner = values.setdefault(step, {})
        if isinstance(inner, dict):
            _put(inner, rest, value)
        return
    present = values.get(step)
    if step not in values:
        values[step] = value
    elif isinstance(present, list):
        present.append(value)
    else:
        values[step] = [present, value]
