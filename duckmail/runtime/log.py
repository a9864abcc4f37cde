"""Structured logs: one JSON object per line on one stream.

Keys: `time` (ISO 8601, UTC, milliseconds), `level`, `logger`, `message`, then the fields of the event; for an exception
`error` (class and text) and `stack`. Values are cut at `LONGEST` characters: no client decides how long a line is.
Writing a line never raises.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TextIO

import orjson

from duckmail.errors import DuckmailError

LONGEST = 512  # characters of a value
_STACK = 8 * 1024  # characters of a stack; its end is kept, there stands the cause
_ITEMS = 64  # items of a list or mapping
_DEPTH = 4  # levels of lists and mappings

_RESERVED = frozenset({"time", "level", "logger", "message", "error", "stack"})

ExcInfo = bool | BaseException | None


def setup(level: str, stream: TextIO) -> None:
    """Send all logs of the process to `stream`; may be called again (another level, another stream).

    Args:
        level: of the `duckmail.*` loggers: `debug`, `info`, `warning`, `error`. Other libraries log from `warning` on.
    """
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if isinstance(handler, _Handler)]:
        root.removeHandler(old)
    root.addHandler(_Handler(stream))
    root.setLevel(logging.WARNING)
    logging.getLogger("duckmail").setLevel(level.upper())


def event(logger: logging.Logger, level: int, message: str, /, **fields: object) -> None:
    """Log `message` with named `fields`; `message` is constant text, everything variable is a field.

    The field `exc_info` (True, or an exception) is logging's: it adds `error` and `stack`.
    """
    if logger.isEnabledFor(level):
        exc_info = fields.pop("exc_info", None)
        if exc_info is True:
            exc_info = sys.exc_info()
        elif isinstance(exc_info, BaseException):
            exc_info = (type(exc_info), exc_info, exc_info.__traceback__)
        # Not `logger.log`: it walks the stack for the caller's name and line, which no line of ours tells.
        record = logging.LogRecord(logger.name, level, "", 0, message, None, exc_info)  # type: ignore[arg-type]
        record.fields = fields
        logger.handle(record)


def unraisable(ignored: "sys.UnraisableHookArgs") -> None:
    """For `sys.unraisablehook`: one line for what was raised where nobody could catch it. A client can cause that (H9),
    so there is no stack."""
    where = "" if ignored.object is None else repr(ignored.object)
    event(logging.getLogger("duckmail"), logging.WARNING, "ignored", reason=repr(ignored.exc_value), where=where)


class _Handler(logging.StreamHandler[TextIO]):
    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self.setFormatter(JsonFormatter())

    def handleError(self, record: logging.LogRecord) -> None:
        """A log that cannot be written (full disk, closed pipe) is no reason for anything else to fail."""


class JsonFormatter(logging.Formatter):
    """Turns a record into one line of JSON; falls back step by step instead of raising."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z",
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        try:
            return _dumps({**line, "message": _short(record.getMessage()), **_fields(record), **_failure(record)})
        except Exception as error:  # a value whose own methods raise must not take the log down
            return _dumps({**line, "message": "log record could not be formatted", "error": type(error).__name__})


def _dumps(line: Mapping[str, object]) -> str:
    try:
        return orjson.dumps(line, default=_text, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # lone surrogates and integers over 64 bits: the standard library writes both
        return json.dumps(line, default=_text)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = getattr(record, "fields", None)
    if not isinstance(fields, dict):
        return {}
    return {f"{key}_" if key in _RESERVED else str(key): _plain(value, _DEPTH) for key, value in fields.items()}


def _failure(record: logging.LogRecord) -> dict[str, object]:
    if not isinstance(record.exc_info, tuple) or record.exc_info[1] is None:
        return {}
    error = record.exc_info[1]
    stack = "".join(traceback.format_exception(error))
    private = (
        {"error_fields": _plain(error.fields, _DEPTH)} if isinstance(error, DuckmailError) and error.fields else {}
    )
    return {"error": _short(f"{type(error).__name__}: {error}"), **private, "stack": stack[-_STACK:]}


def _plain(value: object, depth: int) -> object:
    """`value` as something JSON can hold, bounded in length, items and depth."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, bytes | bytearray):
        return _short(bytes(value[: LONGEST + 1]).decode("utf-8", "backslashreplace"))
    if isinstance(value, Mapping) and depth:
        return {_text(key): _plain(item, depth - 1) for key, item in islice(value.items(), _ITEMS)}
    if isinstance(value, list | tuple | set | frozenset) and depth:
        return [_plain(item, depth - 1) for item in islice(_iterable(value), _ITEMS)]
    return _text(value)


def _iterable(value: Iterable[object]) -> Iterable[object]:
    return value


def _text(value: object) -> str:
    return _short(str(value))


def _short(value: str) -> str:
    return value if len(value) <= LONGEST else f"{value[:LONGEST]}… ({len(value)} characters)"
