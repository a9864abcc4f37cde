"""H2: nothing said in plaintext counts in TLS. H3: little before login. H4: every read has its limit."""

import asyncio
import gzip
from io import BytesIO

import pytest

from duckmail.mime.scan import MAX_DEPTH, MAX_PARTS
from protocols.imap.wire.framer import AFTER_LOGIN, BEFORE_LOGIN
from protocols.imap.wire.parser import MAX_NESTING
from protocols.net import listener
from tests.support.hostile import DOMAIN, PASSWORD, House

KIB = 1024
LOGIN = f"LOGIN anna@{DOMAIN} {PASSWORD}".encode()

SENDER, RECIPIENT = b"MAIL FROM:<a@b.example>", b"RCPT TO:<anna@mail.test>"

# H2


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"x " + LOGIN + b"\r\n", id="H2-a-command"),
        pytest.param(b"x NO", id="H2-half-a-command"),
        pytest.param(b"x LOGIN {3}\r\n", id="H2-a-literal-to-come"),
        pytest.param(b"x LOGIN {100000+}\r\n", id="H2-octets-to-be-dropped"),
        pytest.param(b"\x16\x03\x01\x00", id="H2-half-a-client-hello"),
    ],
)
async def test_h2_imap(house: House, behind: bytes) -> None:
    async with house.imap() as client:
        await client.send(b"s STARTTLS\r\n" + behind)
        assert (await client.line()).startswith(b"s OK")
        await client.start_tls()
        assert (await client.answers("NOOP"))[-1].startswith("OK"), "the first line in TLS answers the first command"
        assert (await client.command("SELECT INBOX")).startswith("BAD")
        await client.login()


async def test_h2_imap_more_than_one_read(house: House) -> None:
    """What comes in plaintext while TLS is awaited spoils the handshake, and is no command either."""
    async with house.imap() as client:
        await client.send(b"s STARTTLS\r\n" + b"x NOOP\r\n" * 50_000)
        said = await client.rest()
        assert said.startswith(b"s OK")
        assert b"x " not in said


@pytest.mark.parametrize(
    "behind",
    [
        pytest.param(b"LHLO evil.test\r\nMAIL FROM:<evil@example.org>\r\n", id="H2-a-transaction"),
        pytest.param(b"MAIL FROM:<ev", id="H2-half-a-command"),
        pytest.param(b"BDAT 100000\r\n", id="H2-octets-to-be-dropped"),
    ],
)
async def test_h2_lmtp(house: House, behind: bytes) -> None:
    async with house.lmtp() as client:
        await client.send(b"STARTTLS\r\n" + behind)
        assert (await client.reply()).startswith("220 2.0.0")
        await client.start_tls()
        assert (await client.ask("NOOP")).startswith("250")
        assert (await client.ask(f"RCPT TO:<anna@{DOMAIN}>")).startswith("503")
        assert (await client.ask("MAIL FROM:<a@example.org>")).startswith("503"), "what LHLO said is forgotten too"


# H3


@pytest.mark.parametrize(
    ("octets", "answers"),
    [
        pytest.param(b"a LOGIN {8193}\r\n", ["a NO"], id="H3-literal"),
        pytest.param(b"a LOGIN {8200+}\r\n" + b"x NOOP\r\n" * 1025 + b"\r\n", ["a NO"], id="H3-literal-plus"),
        pytest.param(
            b"a LOGIN {8192+}\r\n" + b"x NOOP\r\n" * 1024 + b" secret\r\n", ["a NO"], id="H3-with-its-line-too-large"
        ),
        pytest.param(
            b"a LOGIN {5000+}\r\n" + b"n" * 5000 + b" {5000+}\r\n" + b"x NOOP\r\n" * 625 + b"\r\n",
            ["a NO"],
            id="H3-two-literals-together",
        ),
        pytest.param(
            b"a LOGIN {8193+}\r\n" + b"n" * 8193 + b" {16+}\r\nx NOOP\r\nx NOOP\r\n\r\n",
            ["a NO"],
            id="H3-and-those-behind",
        ),
        pytest.param(b"a LOGIN " + b"n" * 8 * KIB + b" x\r\n", ["a BAD"], id="H3-line"),
        pytest.param(b"a LOGIN " + b"n" * 900 * KIB + b" x\r\n", ["a BAD"], id="H3-very-long-line"),
        pytest.param(b"a LOGIN" + b" {0+}\r\n" * 65 + b"\r\n", ["a BAD"], id="H3-many-literals"),
        pytest.param(
            b"a AUTHENTICATE PLAIN\r\n" + b"n" * 9 * KIB + b"\r\n", ["+", "a BAD"], id="H3-line-of-a-sasl-exchange"
        ),
        pytest.param(
            b"a APPEND INBOX {20+}\r\nx NOOP\r\nx NOOP\r\nxxxx\r\n", ["a BAD"], id="H3-append-before-login"
        ),
    ],
)  # fmt: skip
async def test_h3_imap(house: House, octets: bytes, answers: list[str]) -> None:
    """8 KiB before login, lines and literals together; what is refused is not executed."""
    assert BEFORE_LOGIN.max_command == BEFORE_LOGIN.max_line == BEFORE_LOGIN.max_literal == 8 * KIB
    async with house.imap() as client:
        await client.send(octets + b"e NOOP\r\n")
        said = [await client.line() for _ in [*answers, "e OK"]]
        for line, wanted in zip(said, [*answers, "e OK"], strict=True):
            assert line.startswith(wanted.encode()), said
        await client.login()


async def test_h3_an_octet_now_and_then_keeps_no_connection(strict_house: House) -> None:
    """One time limit for all that comes before login: 1 s here."""
    async with strict_house.imap(preamble=strict_house.proxied()) as client:
        said = asyncio.get_running_loop().create_task(client.rest(60))
        while not said.done():
            client.writer.write(b"a")
            await asyncio.sleep(0.1)
        assert (await said).startswith(b"* BYE")


async def test_h3_lmtp_lines(house: House) -> None:
    async with house.lmtp() as client:
        await client.send(b"MAIL FROM:<" + b"a" * 100_000 + b">\r\nNOOP\r\n")
        assert (await client.reply()).startswith("500 5.5.2")
        assert (await client.reply()).startswith("250")


# H4


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        pytest.param(b"NOOP" + b" " * AFTER_LOGIN.max_line, "BAD Command line too long", id="H4-line"),
        pytest.param(b"SELECT {65537+}\r\n" + b"x NOOP\r\n" * 8192 + b"x", "NO [TOOBIG]", id="H4-literal"),
        pytest.param(b"SELECT {9999999999999999999999}", "NO [TOOBIG]", id="H4-endless-literal"),
        pytest.param(b"SEARCH" + b" SUBJECT {0+}\r\n" * 1001, "BAD Too many literals", id="H4-number-of-literals"),
        pytest.param(
            b"SEARCH" + b"".join(b" SUBJECT {60000+}\r\n" + b"x" * 60_000 for _ in range(5)),
            "NO [TOOBIG]",
            id="H4-literals-together",
        ),
        pytest.param(b"SEARCH " + b"(" * (MAX_NESTING + 1), "BAD Nested too deeply", id="H4-nesting"),
        pytest.param(b"SEARCH " + b"NOT " * 15_000 + b"ALL", "BAD Nested too deeply", id="H4-nested-not"),
        pytest.param(b"SEARCH " + b"OR (" * 15_000, "BAD Nested too deeply", id="H4-nested-or"),
        pytest.param(
            b"FETCH 1 (" + b" ".join(b"BODY[%d]" % number for number in range(1, 258)) + b")",
            "BAD Too many FETCH items",
            id="H4-items",
        ),
        pytest.param(b"FETCH 1 BODY[" + b"1." * 20_000 + b"1]", "OK", id="H4-deep-section-is-no-part"),
        pytest.param(b"STORE 1 +FLAGS (" + b"k" * 256 + b")", "BAD Keyword too long", id="H4-keyword"),
        pytest.param(
            b"STORE 1 +FLAGS (" + b" ".join(b"k%d" % number for number in range(10_000)) + b")",
            "NO [LIMIT]",
            id="H4-number-of-keywords",
        ),
        pytest.param(b"FETCH 1:99999999999999999999 UID", "BAD", id="H4-number"),
        pytest.param(b"SEARCH LARGER " + b"9" * 60_000, "BAD Number too large", id="H4-digits"),
        pytest.param(b"CREATE " + b"/".join([b"x"] * 129), "NO [CANNOT]", id="H4-levels"),
        pytest.param(b"CREATE " + b"x" * 513, "NO [CANNOT]", id="H4-level"),
        pytest.param(b"CREATE " + b"/".join([b"x" * 500] * 9), "NO [CANNOT]", id="H4-path"),
        pytest.param(b"APPEND INBOX {67108865}", "NO [TOOBIG]", id="H4-message"),
        pytest.param(b"APPEND INBOX {99999999999999999999999}", "NO [TOOBIG]", id="H4-endless-message"),
        pytest.param(b"ID (" + b'"a" "b" ' * 31 + b')', "BAD", id="H4-fields-of-id"),
    ],
)  # fmt: skip
async def test_h4_imap(house: House, octets: bytes, answer: str) -> None:
    async with house.imap("carl") as client:
        await client.command("APPEND INBOX {1+}\r\nx")
        await client.command("SELECT INBOX")
        assert (await client.command(octets)).startswith(answer)
        assert (await client.command("NOOP")).startswith("OK")


async def test_h4_too_many_errors_end_a_session(house: House) -> None:
    async with house.imap() as client:
        await client.send(b"x NONSENSE\r\n" * 1000)
        said = await client.rest()
    assert said.count(b"x BAD") == 50
    assert said.splitlines()[-1].startswith(b"* BYE")
    async with house.lmtp() as lmtp:
        await lmtp.send(b"NONSENSE\r\n" * 1000)
        assert (await lmtp.rest()).splitlines()[-1].startswith(b"421")


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        pytest.param([b"MAIL FROM:<a@b.example> SIZE=99999999999"], "552 5.3.4", id="H4-declared-size"),
        pytest.param([b"MAIL FROM:<" + b"a" * 2000 + b"@b.example>"], "5", id="H4-sender"),
        pytest.param([SENDER, *[RECIPIENT] * 101], "452 4.5.3", id="H4-recipients"),
        pytest.param([SENDER, RECIPIENT, b"BDAT " + b"9" * 30], "5", id="H4-chunk"),
    ],
)  # fmt: skip
async def test_h4_lmtp(strict_house: House, lines: list[bytes], reply: str) -> None:
    async with strict_house.lmtp(preamble=strict_house.proxied("127.0.0.2")) as client:
        for line in lines:
            answer = await client.ask(line)
        assert answer.startswith(reply)


async def test_h4_lmtp_message_is_read_on_and_refused(strict_house: House) -> None:
    """1 MiB is the most here: what follows is message, not commands."""
    async with strict_house.lmtp(preamble=strict_house.proxied("127.0.0.2")) as client:
        assert (await client.deliver(b"Subject: x\r\n\r\n" + b"QUIT\r\n" * 200_000, f"anna@{DOMAIN}")).startswith(
            "552 5.3.4"
        )
        assert (await client.deliver(b"Subject: x\r\n\r\nx", f"anna@{DOMAIN}")).startswith("250")


@pytest.mark.parametrize(
    "octets",
    [
        pytest.param(b"PROXY TCP4 " + b"1" * 200, id="H4-proxy-line-without-end"),
        pytest.param(b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2" + b" " * 80 + b"\r\n", id="H4-proxy-line-too-long"),
        pytest.param(b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff" + b"x" * 600, id="H4-proxy-binary-too-long"),
        pytest.param(b"PROXY TCP4 evil 192.0.2.8 1 2\r\n", id="H4-proxy-no-address"),
        pytest.param(b"a NOOP\r\n", id="H4-no-proxy-header"),
    ],
)
async def test_h4_proxy_header(strict_house: House, octets: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "PROXY_TIMEOUT", 600.0)
    client = await strict_house.connect()
    await client.send(octets)
    assert await client.rest(60) == b"", "dropped before a greeting, and before the time for a header is over"
    await client.close()
    async with strict_house.imap("carl", preamble=strict_house.proxied()):
        pass


JSON = {"Content-Type": "application/json"}


FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        pytest.param("/users", {"data": BytesIO(b" " * (5 << 20)), "headers": JSON}, 413, id="H4-body"),
        pytest.param(
            "/users",
            {"data": BytesIO(gzip.compress(b" " * (50 << 20))), "headers": JSON | {"Content-Encoding": "gzip"}},
            413,
            id="H4-body-that-grows",
        ),
        pytest.param("/users", {"data": BytesIO(b"[" * 100_000), "headers": JSON}, 400, id="H4-depth-of-json"),
        pytest.param("/users", {"data": "username=anna&" * 1001, "headers": FORM}, 400, id="H4-fields"),
        pytest.param("/health?" + "a=1&" * 1001, {}, 400, id="H4-keys-of-a-query"),
        pytest.param("/health?" + "a" * 20_000, {}, 400, id="H4-request-line"),
        pytest.param("/health", {"headers": {"X-Long": "x" * 9000}}, 400, id="H4-header"),
        pytest.param("/health", {"headers": {f"X-{number}": "x" for number in range(500)}}, 400, id="H4-headers"),
        pytest.param("/users/" + "a" * 200, {}, 404, id="H4-segment"),
    ],
)
async def test_h4_http(house: House, path: str, options: dict[str, object], status: int) -> None:
    """`/health` takes everything else, so it is the limit that says no; what /users says no to is told by its code."""
    found, text = await house.api("GET" if path.startswith("/health") else "POST", path, **options)
    assert found == status
    assert "InputValidationError" not in text
    assert (await house.api("GET", "/health"))[0] == 200


def many_parts(count: int) -> bytes:
    part = b"--b\r\nContent-Type: text/plain\r\n\r\nx\r\n"
    return b"Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + part * count + b"--b--"


def deep(levels: int) -> bytes:
    heads = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(levels))
    return heads + b"\r\nx"


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(many_parts(MAX_PARTS + 2000), id="H4-mime-parts"),
        pytest.param(deep(MAX_DEPTH * 5), id="H4-mime-depth"),
        pytest.param(b"Content-Type: message/rfc822\r\n\r\n" * 2000 + b"x", id="H4-messages-in-messages"),
        pytest.param(b"To: " + b"a@b.example,\r\n " * 50_000 + b"c@d.example\r\n\r\nx", id="H4-addresses"),
        pytest.param(b"A: x\r\n" * 200_000 + b"\r\nx", id="H4-header-fields"),
        pytest.param(b"Content-Type: x/y; " + b"a*0*=%41; " * 50_000 + b"\r\n\r\nx", id="H4-parameters"),
        pytest.param(b"Subject: " + b"=?utf-8?q?=41?= " * 50_000 + b"\r\n\r\nx", id="H4-encoded-words"),
        pytest.param(b"Subject: x\r\n\r\n" + b"x" * 2_000_000, id="H4-one-line"),
    ],
)
async def test_h4_mime(house: House, message: bytes) -> None:
    """Whatever limits it meets, a message is stored exactly and described."""
    async with house.lmtp() as lmtp, house.imap("carl") as client:
        assert (await lmtp.deliver(message, f"carl@{DOMAIN}")).startswith("250")
        await client.command("SELECT INBOX")
        assert (await client.command("FETCH * (ENVELOPE BODYSTRUCTURE BODY)")).startswith("OK")
        await client.send(b"f FETCH * BODY.PEEK[]\r\n")
        size = int((await client.line()).rpartition(b"{")[2].rstrip(b"}"))
        octets = await client.reader.readexactly(size)
        assert octets.endswith(message + b"\r\n")
        assert (await client.until("f"))[-1].startswith("OK")
