"""Passwords by the API: hashes that were made elsewhere, and passwords that others know."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import bcrypt
import pytest
from aiohttp import web

from duckmail.config.outbound import Outbound
from duckmail.config.schema import Auth, Config
from duckmail.services.access import SYSTEM
from tests.support.house import House, open_house

KNOWN, UNKNOWN = "password1", "tr0ub4dor&3-unheard"


@dataclass
class Ranges:
    """A server of breached passwords. `status`: of its answers. `slow`: it answers when this is set."""

    status: int = 200
    body: bytes | None = None
    asked: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        begin = request.match_info["begin"]
        self.asked.append(begin)
        self.headers.append(request.headers.get("Add-Padding", ""))
        digest = hashlib.sha1(KNOWN.encode()).hexdigest().upper()
        padded = hashlib.sha1(UNKNOWN.encode()).hexdigest().upper()[5:]
        lines = ["0" * 35 + ":3", f"{padded}:0", *([f"{digest[5:]}:99"] if begin == digest[:5] else [])]
        return web.Response(status=self.status, body=self.body or "\r\n".join(lines).encode())


@asynccontextmanager
async def _ranges() -> AsyncIterator[Ranges]:
    found = Ranges()
    app = web.Application()
    app.router.add_get("/range/{begin}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}/range/"
    try:
        yield found
    finally:
        await runner.cleanup()


@pytest.fixture
async def ranges() -> AsyncIterator[Ranges]:
    async with _ranges() as found:
        yield found


@pytest.fixture
async def house(mongo_uri: str, database_name: str, ranges: Ranges) -> AsyncIterator[House]:
    config = Config(auth=Auth(breach_url=ranges.url), outbound=Outbound(allow_networks=("127.0.0.0/8",)))
    async with open_house(mongo_uri, database_name, config=config) as opened:
        yield opened


async def test_a_password_that_others_know_is_refused_where_that_is_asked_for(house: House, ranges: Ranges) -> None:
    user = await house.make_user()
    new = {"username": "bert", "password": KNOWN, "allowUnsafe": False}
    refused = await house.call("POST", "/users", new)
    assert (refused.status, refused.json["code"]) == (403, "InsecurePasswordError")
    refused = await house.call("PUT", f"/users/{user}", {"password": KNOWN, "allowUnsafe": False})
    assert (refused.status, refused.json["code"]) == (403, "InsecurePasswordError")
    assert (await house.imap())[1].startswith("a OK")  # with the old one
    assert ranges.asked == [hashlib.sha1(KNOWN.encode()).hexdigest().upper()[:5]] * 2
    assert ranges.headers == ["true"] * 2
    assert (await house.call("POST", "/users", {**new, "password": UNKNOWN})).status == 200
    assert (await house.call("PUT", f"/users/{user}", {"password": KNOWN})).status == 200
    assert (await house.call("PUT", f"/users/{user}", {"name": "x", "allowUnsafe": False})).status == 200
    assert len(ranges.asked) == 3


@pytest.mark.parametrize("status", [404, 500, 302], ids=str)
async def test_without_an_answer_the_password_is_taken(house: House, ranges: Ranges, status: int) -> None:
    ranges.status = status
    reply = await house.call("POST", "/users", {"username": "bert", "password": KNOWN, "allowUnsafe": False})
    assert reply.status == 200


async def test_too_long_an_answer_is_none(house: House, ranges: Ranges) -> None:
    ranges.body = b"0" * (2 << 20)
    reply = await house.call("POST", "/users", {"username": "bert", "password": KNOWN, "allowUnsafe": False})
    assert reply.status == 200


async def test_without_a_list_nothing_is_asked(mongo_uri: str, database_name: str) -> None:
    async with open_house(mongo_uri, database_name) as house:
        reply = await house.call("POST", "/users", {"username": "bert", "password": KNOWN, "allowUnsafe": False})
    assert reply.status == 200


async def _until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_a_hash_made_elsewhere_signs_in_and_is_replaced(house: House) -> None:
    def made(password: str) -> str:
        return bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()

    hashed = {"username": "bert", "password": made("first-secret"), "hashedPassword": True}
    user = (await house.call("POST", "/users", hashed)).json["id"]
    for password in ("first-secret", "second-secret"):

        async def replaced() -> bool:
            return (await house.services.users.get(user, SYSTEM)).password_hash.startswith("$argon2id$")

        assert (await house.imap("bert", "wrong"))[1].startswith("a NO")
        assert (await house.imap("bert", password))[1].startswith("a OK")
        await _until(replaced)
        assert (await house.pop3("bert", password))[1].startswith("+OK")
        changed = {"password": made("second-secret"), "hashedPassword": True}
        assert (await house.call("PUT", f"/users/{user}", changed)).status == 200
    refused = await house.call("PUT", f"/users/{user}", {"password": "plain", "hashedPassword": True})
    assert (refused.status, refused.json["code"]) == (500, "HashError")


async def test_a_temporary_password_may_be_a_hash(house: House) -> None:
    hashed = bcrypt.hashpw(b"for-now", bcrypt.gensalt(4)).decode()
    new = {"username": "bert", "password": hashed, "hashedPassword": True, "requirePasswordChange": True}
    assert (await house.call("POST", "/users", new)).status == 200
    signed_in = await house.call("POST", "/authenticate", {"username": "bert", "password": "for-now"})
    assert signed_in.json["requirePasswordChange"] is True
    assert (await house.imap("bert", "for-now"))[1].startswith("a NO")  # the API alone


async def test_existing_password_is_checked_where_it_is_given(house: House) -> None:
    user = await house.make_user()
    path = f"/users/{user}"
    wrong = await house.call("PUT", path, {"password": "changedvalue", "existingPassword": "wrong"})
    assert (wrong.status, wrong.json["code"]) == (500, "AuthFail")
    assert (await house.imap())[1].startswith("a OK")
    log = (await house.call("GET", f"{path}/authlog?action=password%20change")).json["results"]
    assert [each["result"] for each in log] == ["fail"]
    right = await house.call("PUT", path, {"password": "changedvalue", "existingPassword": "secretvalue"})
    assert right.status == 200
    assert (await house.imap(password="changedvalue"))[1].startswith("a OK")
    assert (await house.imap())[1].startswith("a NO")
