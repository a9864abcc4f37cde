"""Large JSON bodies: the same value as from one parser, and others go on meanwhile."""

import asyncio
import base64
import os
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import largejson
from api.largejson import TooMuchStructure, parse
from duckmail.runtime.tasks import Tasks
from duckmail.runtime.threads import Pool
from tests.support.api import Api, open_api

LIMIT = 1 << 20
MIB = 1 << 20

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | _TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(_TEXT, inner, max_size=5),
    max_leaves=20,
)


@pytest.mark.parametrize("ascii_only", [False, True], ids=["utf-8", "escaped"])
@given(value=_VALUE, long=st.integers(0, 8), window=st.integers(13, 40))
@settings(max_examples=100, deadline=None)
def test_the_same_as_at_once(ascii_only: bool, value: Any, long: int, window: int) -> None:
    """With windows so small that every sign and escape is at a boundary once."""
    import json  # noqa: PLC0415 -- the one that escapes

    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(largejson, "WINDOW", window)
        patch.setattr(largejson, "LONG", long)
        assert parse(body, LIMIT) == orjson.loads(body) == parse(bytearray(body), LIMIT)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b'{"a"', b'{"a": "', b'"' + b"x" * 9000, b'"' + b"x" * 9000 + b"\\", b'"' + b"x" * 9000 + b'\\u12"',
        b'"' + b"\xff" * 9000 + b'"', b'{"a": "' + b"\\ud800" * 2000 + b'"}', b'["' + b"x" * 9000 + b'" "y"]',
        b'"' + b"x" * 9000 + b'\n"', b'"\\q"', b'{"a": "' + b"\\u00zz" * 2000 + b'"}',
    ],
)  # fmt: skip
def test_what_is_no_json(body: bytes) -> None:
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(body)
    with pytest.raises(orjson.JSONDecodeError):
        parse(body, LIMIT)


@pytest.mark.parametrize("body", [b"[" + b"[]," * MIB + b"[]]", b'["a' + b'","a' * MIB + b'"]'], ids=["lists", "words"])
def test_structure_has_a_limit(body: bytes) -> None:
    with pytest.raises(TooMuchStructure):
        parse(body, LIMIT)


@pytest.mark.parametrize(
    ("unit", "size"),
    [
        pytest.param(b"eHh4", 40 * MIB, id="base64"),
        pytest.param(b"\\r\\nx", 8 * MIB, id="lines"),
        pytest.param("ä".encode(), 8 * MIB, id="utf-8"),
        pytest.param(b'\\"\\\\', 8 * MIB, id="quotes"),
    ],
)
async def test_the_loop_goes_on(unit: bytes, size: int) -> None:
    """A heart that beats whenever the loop comes round: often while the body is parsed, not once before and behind."""
    body = b'{"raw": "' + unit * (size // len(unit)) + b'"}'
    pool, ticks, ended = Pool("test", 1), 0, False

    async def beat() -> None:
        nonlocal ticks
        while not ended:
            ticks += 1
            await asyncio.sleep(0.001)

    async with Tasks("test") as tasks:
        tasks.start(beat(), "heart")
        value = await pool.run(parse, body, LIMIT)
        ended = True
    pool.close()
    assert value == orjson.loads(body)
    assert ticks > 5, ticks


@pytest.fixture
async def api(mongo_uri: str, database_name: str) -> Any:
    async with open_api(mongo_uri, database_name) as opened:
        yield opened


async def test_a_large_message_by_json(api: Api) -> None:
    user = await api.make_user()
    (inbox, *_) = (await api.call("GET", f"/users/{user}/mailboxes")).json["results"]
    at = f"/users/{user}/mailboxes/{inbox['id']}/messages"
    octets = os.urandom(3 * MIB)
    body = {"subject": "large", "attachments": [{"content": base64.b64encode(octets).decode(), "filename": "x.bin"}]}
    made = await api.call("POST", at, body)
    assert made.status == 200, made.text
    number = made.json["message"]["id"]
    url = f"{api.base}{at}/{number}/attachments/ATT00001"
    async with api.session.get(url, headers={"X-Access-Token": api.token}) as response:
        assert await response.read() == octets
    crowd = await api.call("POST", at, {"attachments": [{}] * 500, "headers": [{"key": "a", "value": ""}] * 200_000})
    assert (crowd.status, crowd.json["code"]) == (413, "RequestEntityTooLarge")
