"""Log lines: their shape, their limits, and that writing one never raises."""

import io
import json
import logging
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from duckmail.errors import NotFound
from duckmail.runtime.log import LONGEST, JsonFormatter, event, setup, unraisable

logger = logging.getLogger("duckmail.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    duckmail = logging.getLogger("duckmail")
    before = root.handlers[:], root.level, duckmail.level
    lines = io.StringIO()
    setup("info", lines)
    yield lines
    root.handlers[:], root.level, duckmail.level = before


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]


def test_line_has_its_keys_in_order(stream: io.StringIO) -> None:
    event(logger, logging.INFO, "delivered", connection="abc", octets=12, tls=True, none=None)
    [line] = _lines(stream)
    assert list(line) == ["time", "level", "logger", "message", "connection", "octets", "tls", "none"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert (line["level"], line["logger"], line["message"]) == ("info", "duckmail.test", "delivered")
    assert (line["octets"], line["tls"], line["none"]) == (12, True, None)


def test_level_of_duckmail_and_of_others(stream: io.StringIO) -> None:
    event(logger, logging.DEBUG, "quiet")
    logging.getLogger("other").info("quiet")
    logging.getLogger("other").warning("other %s", "speaks")
    setup("debug", stream)
    event(logger, logging.DEBUG, "loud")
    assert [line["message"] for line in _lines(stream)] == ["other speaks", "loud"]


def test_setting_up_again_replaces_the_stream(stream: io.StringIO) -> None:
    second = io.StringIO()
    setup("info", second)
    event(logger, logging.INFO, "once")
    assert stream.getvalue() == ""
    assert len(_lines(second)) == 1


def test_exception_has_class_text_fields_and_stack(stream: io.StringIO) -> None:
    try:
        raise NotFound("No such mailbox", path="Sent")
    except NotFound:
        event(logger, logging.ERROR, "failed", exc_info=True)
    [line] = _lines(stream)
    assert line["error"] == "NotFound: No such mailbox"
    assert line["error_fields"] == {"path": "Sent"}
    assert "test_runtime_log.py" in line["stack"]


class _Hostile:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __hash__(self) -> int:
        return 1


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        pytest.param("x" * 513, "x" * LONGEST + "… (513 characters)", id="long-text"),
        pytest.param("a\r\nb\x00\u2028", "a\r\nb\x00\u2028", id="control-characters"),
        pytest.param("\ud800", "\ud800", id="lone-surrogate"),
        pytest.param(b"caf\xe9", "caf\\xe9", id="octets"),
        pytest.param(bytes(10_000_000), "\0" * LONGEST + "… (513 characters)", id="many-octets"),
        pytest.param(2**70, 2**70, id="large-integer"),
        pytest.param(["x" * 600], ["x" * LONGEST + "… (600 characters)"], id="long-text-in-list"),
        pytest.param({1: {"a": (1, 2)}}, {"1": {"a": [1, 2]}}, id="nested"),
        pytest.param(list(range(100)), list(range(64)), id="long-list"),
        pytest.param(ValueError("x"), "x", id="object"),
    ],
)
def test_values(stream: io.StringIO, value: object, wanted: object) -> None:
    event(logger, logging.INFO, "m", value=value)
    [line] = _lines(stream)
    assert line["value"] == wanted


def test_nesting_has_an_end(stream: io.StringIO) -> None:
    deep: list[Any] = []
    deep.append(deep)
    event(logger, logging.INFO, "m", value=deep)
    assert len(stream.getvalue()) < 1000


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"msg": "m", "fields": {"value": _Hostile()}}, id="value"),
        pytest.param({"msg": "%d", "args": ("not a number",)}, id="message"),
    ],
)
def test_what_cannot_be_formatted_still_gives_a_line(given: dict[str, object]) -> None:
    line = json.loads(JsonFormatter().format(logging.makeLogRecord(given)))
    assert line["message"] == "log record could not be formatted"


def test_fields_never_replace_the_lines_own_keys(stream: io.StringIO) -> None:
    event(logger, logging.INFO, "m", time="x", logger="y", stack="z")
    [line] = _lines(stream)
    assert (line["time_"], line["logger_"], line["stack_"], line["logger"]) == ("x", "y", "z", "duckmail.test")


def test_closed_stream_raises_nothing(stream: io.StringIO) -> None:
    stream.close()
    event(logger, logging.INFO, "m")


class _FailsAtItsEnd:
    def __del__(self) -> None:
        raise ValueError("x" * 10_000)


def test_what_nobody_can_catch_is_one_line(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "unraisablehook", unraisable)
    _FailsAtItsEnd()
    [line] = _lines(stream)
    assert (line["level"], line["message"], "stack" in line) == ("warning", "ignored", False)
    assert line["reason"].startswith("ValueError('xxx")
    assert "_FailsAtItsEnd.__del__" in line["where"]
    assert len(line["reason"]) < LONGEST + 50
