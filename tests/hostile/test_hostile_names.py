"""H8: address patterns are anchored. H9: server names cost nothing. H11: no name selects a codec or an operator."""

import asyncio
import codecs
import ssl
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import pytest

from duckmail.app.listeners import IMAPS
from duckmail.model import address as addresses
from duckmail.services.access import SYSTEM
from tests.support.hostile import DOMAIN, House, Wire
from tests.support.net import client_context

# H8

PATTERNS = ("*@wild.test", "sales*@exact.test", "*-team@exact.test", "abuse@*")


@pytest.fixture(scope="module")
async def patterns(shared_house: House) -> None:
    user = await shared_house.services.users.resolve("anna", SYSTEM)
    for pattern in PATTERNS:
        await shared_house.services.store.addresses.insert(pattern, pattern, user)


@pytest.mark.parametrize(
    ("recipient", "reply"),
    [
        pytest.param("anybody@wild.test", "250", id="H8-domain"),
        pytest.param("anybody@wild.test.evil.example", "550", id="H8-domain-goes-on"),
        pytest.param("anybody@sub.wild.test", "550", id="H8-below-the-domain"),
        pytest.param("anybody@notwild.test", "550", id="H8-domain-begins-earlier"),
        pytest.param("anybody@wild-test", "550", id="H8-dot-is-a-dot"),
        pytest.param("*@wild.test", "550", id="H8-the-pattern-itself"),
        pytest.param("x*y@wild.test", "550", id="H8-a-star-in-an-address"),
        pytest.param("sales-eu@exact.test", "250", id="H8-prefix"),
        pytest.param("presales@exact.test", "550", id="H8-prefix-in-the-middle"),
        pytest.param("sales@exact.test.evil.example", "550", id="H8-prefix-of-another-domain"),
        pytest.param("red-team@exact.test", "250", id="H8-suffix"),
        pytest.param("red-teams@exact.test", "550", id="H8-suffix-in-the-middle"),
        pytest.param("abuse@anything.example", "250", id="H8-any-domain"),
        pytest.param("abuses@anything.example", "550", id="H8-any-domain-local-part-goes-on"),
        pytest.param("abuse@*", "5", id="H8-any-domain-itself"),
        pytest.param('"anybody@wild.test"@other.example', "550", id="H8-domain-in-quotes"),
        pytest.param('"sales(a+)+$"@exact.test', "250", id="H8-no-regular-expression"),
        pytest.param(".*@exact.test", "550", id="H8-no-expression-of-the-client"),
    ],
)
async def test_h8_address_patterns(house: House, patterns: None, recipient: str, reply: str) -> None:
    async with house.lmtp() as client:
        await client.ask("MAIL FROM:<a@example.org>")
        answer = await client.ask(f"RCPT TO:<{recipient}>")
        assert answer.startswith(reply), answer


@pytest.mark.parametrize("path", ["/users"])
async def test_h8_nobody_gives_himself_a_pattern(house: House, path: str) -> None:
    for address in ("*@wild.test", "x*@exact.test", "abuse@*"):
        body = {"username": "mallory", "password": "x", "address": address}
        status, text = await house.api("POST", path, json=body)
        assert status == 400, text
    assert addresses.view("x@wild.test") not in PATTERNS


# H9


class CountingNames(dict[str, ssl.SSLContext]):
    """Server names to contexts, which counts how often it was asked."""

    asked = 0

    def get(self, key: str, default: ssl.SSLContext | None = None) -> ssl.SSLContext | None:  # type: ignore[override]
        self.asked += 1
        return super().get(key, default)


@pytest.fixture
def names(house: House) -> Iterator[CountingNames]:
    tls = house.server.tls
    counting = CountingNames({"other.test": tls.server})
    before, tls.names = tls.names, counting
    yield counting
    tls.names = before


def client_hello(name: bytes) -> bytes:
    """A ClientHello with these octets as the server's name; those of another name of the same length are replaced."""
    fake = (b"abcdefghi." * 26)[: len(name) - 1] + b"z"
    outgoing = ssl.MemoryBIO()
    client = client_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=fake.decode())
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    hello = outgoing.read()
    assert hello.count(fake) == 1
    return hello.replace(fake, name)


@pytest.mark.parametrize(
    ("name", "answered"),
    [
        pytest.param(b"unknown.example", True, id="H9-unknown"),
        pytest.param(b"OTHER.test", True, id="H9-known-in-upper-case"),
        pytest.param(b"a" * 240, True, id="H9-long-label"),
        pytest.param(b"." * 250, True, id="H9-dots"),
        pytest.param(b"*.*.*.*", True, id="H9-stars"),
        pytest.param(b"../../etc/passwd", True, id="H9-path"),
        pytest.param(b"192.0.2.1", True, id="H9-address"),
        pytest.param(b"a\0b.example", False, id="H9-nul"),
    ],
)
async def test_h9_server_names(house: House, names: CountingNames, name: bytes, answered: bool) -> None:
    client = await Wire.open(house.ports[IMAPS])
    await client.send(client_hello(name))
    async with asyncio.timeout(40):
        first = await client.reader.read(1)
    assert first == (b"\x16" if answered else b"\x15"), "a ServerHello, or an alert"
    assert names.asked <= 2
    await client.close()
    good = await Wire.open(house.ports[IMAPS], ssl=client_context(), server_hostname=DOMAIN)
    assert (await good.line()).startswith(b"* OK")
    await good.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("several", [pytest.param(False, id="H9-one-certificate"), pytest.param(True, id="H9-several")])
async def test_h9_octets_that_are_no_name(house: House, request: pytest.FixtureRequest, several: bool) -> None:
    """With one certificate nobody looks at the name; with several, an alert is the answer, and one line of log."""
    if several:
        request.getfixturevalue("names")
    client = await Wire.open(house.ports[IMAPS])
    await client.send(client_hello(b"xn--\xff\xfe\xfd"))
    async with asyncio.timeout(40):
        assert await client.reader.read(1) == (b"\x15" if several else b"\x16")
    await client.close()
    async with house.imap("bert"):
        pass


async def test_h9_names_leave_nothing_behind(house: House, names: CountingNames) -> None:
    before = dict(names)
    for number in range(50):
        client = await Wire.open(house.ports[IMAPS])
        await client.send(client_hello(b"host-%d.example" % number))
        assert await client.reader.read(1) == b"\x16"
        await client.close()
    assert names == before


# H11

MARKER = "x_hostile_marker"
CODECS = (
    *("punycode", "idna", "zlib", "zip", "bz2", "rot13", "rot_13", "hex", "base64", "uu", "quopri", "mbcs", "oem"),
    *("unicode_escape", "raw_unicode_escape", "unicode-escape", "undefined", "string_escape", "charmap", "utf_8_sig"),
    *("../../encodings/zlib_codec", "zlib_codec\0", "a" * 1000, "$where", ".*", "(a+)+$"),
)
NEVER = ("zlib_codec", "bz2_codec", "rot_13", "hex_codec", "base64_codec", "uu_codec", "quopri_codec", "undefined")


@pytest.fixture
async def looked_up() -> AsyncIterator[list[str]]:
    """The names that anybody asked the codec registry for and that it did not know."""
    found: list[str] = []

    def search(name: str) -> None:
        found.append(name)

    codecs.register(search)
    yield found
    codecs.unregister(search)


def message(charset: str) -> bytes:
    word = f"=?{charset}?b?w6Q=?=".encode()
    return b"\r\n".join(
        (
            b"Subject: " + word + b" =?" + MARKER.encode() + b"*en?q?=C3=A4?=",
            b"From: " + word + b" <a@b.example>",
            b'Content-Type: text/plain; charset="' + charset.encode() + b'"; name*=' + charset.encode() + b"''%C3%A4",
            b"Content-Transfer-Encoding: base64",
            b"",
            b"bmVlZGxlIMOk",  # "needle ä"
        )
    )


async def test_h11_charsets_of_messages_select_nothing(house: House, looked_up: list[str]) -> None:
    before = set(sys.modules)
    async with house.lmtp() as lmtp, house.imap("bert") as client:
        for charset in (MARKER, *CODECS):
            assert (await lmtp.deliver(message(charset), f"bert@{DOMAIN}")).startswith("250")
        await client.command("SELECT INBOX")
        for command in ("FETCH 1:* (ENVELOPE BODYSTRUCTURE)", "FETCH 1:* BODY.PEEK[]"):
            assert (await client.command(command)).startswith("OK")
        found = await client.answers('SEARCH BODY "needle \xc3\xa4" NOT SUBJECT nothing')
        assert len(found[0].split()) == len(CODECS) + 3, "all are text: guessed as UTF-8"
    assert MARKER not in looked_up
    assert not {f"encodings.{name}" for name in NEVER} & (set(sys.modules) - before)


@pytest.mark.parametrize("charset", [pytest.param(name, id=f"H11-{name[:20]!a}") for name in (MARKER, *CODECS[:-3])])
async def test_h11_charsets_of_searches_select_nothing(house: House, looked_up: list[str], charset: str) -> None:
    async with house.imap("carl") as client:
        await client.command("APPEND INBOX {1+}\r\nx")
        await client.command("SELECT INBOX")
        answer = await client.command(f'SEARCH CHARSET "{charset}" BODY x')
        assert answer.startswith(("NO [BADCHARSET", "BAD")), answer
    assert MARKER not in looked_up


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        pytest.param("POST", "/authenticate", {"json": {"username": {"$gt": ""}, "password": "x"}}, id="H11-username"),
        pytest.param(
            "POST", "/authenticate", {"json": {"username": "anna", "password": {"$ne": 1}}}, id="H11-password"
        ),
        pytest.param("GET", "/users?query[$ne]=x", {}, id="H11-query"),
        pytest.param("GET", "/users?tags[$ne]=x", {}, id="H11-tags"),
        pytest.param("GET", "/users?limit[$gt]=1", {}, id="H11-limit"),
        pytest.param("GET", "/users/[$ne]", {}, id="H11-path"),
        pytest.param("GET", "/users?next=" + "eyIkZ3QiOiIifQ", {}, id="H11-cursor"),
    ],
)
async def test_h11_no_operators_from_the_api(house: House, method: str, path: str, options: dict[str, object]) -> None:
    status, text = await house.api(method, path, **options)
    assert status in (400, 404), text


@pytest.mark.parametrize(
    "name",
    [
        pytest.param('{"$gt":""}', id="H11-operator"),
        pytest.param(".*", id="H11-regular-expression"),
        pytest.param("anna\\@mail", id="H11-escape"),
        pytest.param("a*", id="H11-wildcard"),
    ],
)
async def test_h11_login_names_are_names(house: House, name: str) -> None:
    async with house.imap() as client:
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        assert (await client.command(f'LOGIN "{quoted}" secret')).startswith("NO [AUTHENTICATIONFAILED]")
