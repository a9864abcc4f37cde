"""The largest messages, over real LMTP and IMAP: stored and returned octet for octet, in bounded memory.

`DUCKMAIL_LONG=1` sends 32 messages of 50 MB at once instead of 8 of 20 MB.
"""

import asyncio
import base64
import hashlib
import json
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from tests.faults.rig import HOST, PASSWORD, Rig, Serve, rig
from tests.faults.wire import Imap, Lmtp, fetched, imap, lmtp, ok
from tests.support.contents import attachment, multipart, octets
from tests.support.giants import GIANTS, MIB

LONG = bool(os.environ.get("DUCKMAIL_LONG"))
CONNECTIONS, SIZE = (32, 50 * MIB) if LONG else (8, 20 * MIB)
RESIDENT = 1024 * MIB
NEIGHBOUR_MS = 20_000  # what another connection may notice, on a machine that runs all of the tests: not to stand still


@pytest.fixture(scope="module")
async def servers() -> AsyncIterator[Rig]:
    async with rig(1, accounts=("anna", "bert")) as running:
        yield running


class Neighbour:
    """Another client while a giant is on its way; `waits`: what `tests.faults.neighbour` prints."""

    def __init__(self) -> None:
        self.waits: dict[str, float] = {}


@asynccontextmanager
async def neighbour(serve: Serve) -> AsyncIterator[Neighbour]:
    seen = Neighbour()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.faults.neighbour", str(serve.imap), "bert", PASSWORD),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    try:
        yield seen
    finally:
        output, _ = await process.communicate(b"")
    seen.waits = json.loads(output)


async def same(client: Imap, path: str, raw: bytes) -> None:
    """The last message of a mailbox ends with exactly these octets, as a whole and in pieces."""
    exists = (await ok(client, f"SELECT {path}")).untagged
    number = next(int(line.text.split()[1]) for line in exists if line.text.endswith(b"EXISTS"))
    [whole] = fetched(await ok(client, f"FETCH {number} (RFC822.SIZE BODY.PEEK[])"))
    stored = whole.literals[0]
    prefix = len(stored) - len(raw)
    assert prefix >= 0
    assert hashlib.sha256(stored[prefix:]).digest() == hashlib.sha256(raw).digest()
    assert all(line.split(b":")[0] in (b"Return-Path", b"Delivered-To") for line in stored[:prefix].splitlines())
    del stored, whole
    start = random.Random(len(raw)).randrange(len(raw))
    [piece] = fetched(await ok(client, f"FETCH {number} BODY.PEEK[]<{prefix + start}.100000>"))
    assert piece.literals[0] == raw[start : start + 100_000]
    for item in ("ENVELOPE", "BODYSTRUCTURE", "BODY", "BODY.PEEK[HEADER.FIELDS (SUBJECT)]"):
        assert len(fetched(await ok(client, f"FETCH {number} {item}"))) == 1


def thousand_parts() -> bytes:
    """Under the default limit of a message's size."""
    return multipart(*(attachment(octets(40_000, number), f"{number}.bin") for number in range(1000)))


@pytest.mark.parametrize("giant", GIANTS)
async def test_a_giant_comes_back_as_it_was(servers: Rig, giant: str) -> None:
    serve = servers.serves[0]
    raw = thousand_parts() if giant == "1000-parts" else GIANTS[giant]()
    if not raw.endswith(b"\r\n"):
        raw += b"\r\n"  # what DATA ends with
    took = []
    async with neighbour(serve) as other, imap(serve.imap, "anna", PASSWORD) as client:
        begun = time.monotonic()
        async with lmtp(serve.lmtp) as relay:
            outcome = await relay.deliver("a@b.example", [f"anna@{HOST}"], raw)
        assert [code for code, _ in outcome.values()] == [250], outcome
        took.append(time.monotonic() - begun)
        begun = time.monotonic()
        await same(client, "INBOX", raw)
        took.append(time.monotonic() - begun)
        begun = time.monotonic()
        await ok(client, "APPEND Junk", raw)
        took.append(time.monotonic() - begun)
        await same(client, "Junk", raw)
    seconds = " ".join(f"{one:.2f}" for one in took)
    print(f"{giant}: {len(raw):,} octets; LMTP, FETCH, APPEND {seconds} s; neighbour {other.waits} ms")
    assert other.waits["longest"] < NEIGHBOUR_MS


def chunks(number: int) -> Iterator[bytes]:
    """A message of `SIZE` octets, different for each number: text or an attachment, ready for DATA."""
    kind = "text/plain" if number % 2 else "application/octet-stream"
    encoding = "7bit" if number % 2 else "base64"
    head = (
        f"From: a@b.example\r\nMessage-ID: <big-{number}@b.example>\r\nSubject: big {number}\r\n"
        f"MIME-Version: 1.0\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n"
    ).encode()
    yield head
    chance, left = random.Random(number), SIZE - len(head)
    while left > 0:
        block = base64.encodebytes(chance.randbytes(57 * 1024)).replace(b"\n", b"\r\n")
        yield block
        left -= len(block)


async def send(serve: Serve, number: int) -> float:
    """Delivers message `number`; the seconds that took."""
    begun = time.monotonic()
    client = await Lmtp.connect(serve.lmtp)
    try:
        assert (await client.say("MAIL FROM:<a@b.example>"))[0] == 250
        assert (await client.say(f"RCPT TO:<anna@{HOST}>"))[0] == 250
        assert (await client.say("DATA"))[0] == 354
        for chunk in chunks(number):
            client.stream.writer.write(chunk)
            async with asyncio.timeout(300):  # reading pauses while the octet budget is spent
                await client.stream.writer.drain()
        await client.stream.send(b".\r\n")
        async with asyncio.timeout(300):
            code, text = await client.reply()
        assert code == 250, text
    finally:
        client.close()
    return time.monotonic() - begun


@pytest.mark.timeout(900)
async def test_many_giants_at_once_stay_in_memory() -> None:
    """One process-wide octet budget: over it, reading pauses."""
    async with rig(1, accounts=("anna", "bert")) as servers:
        serve = servers.serves[0]
        before = serve.memory("VmRSS")
        begun = time.monotonic()
        async with neighbour(serve) as other:
            took = await asyncio.gather(*(send(serve, number) for number in range(CONNECTIONS)))
        seconds, peak = time.monotonic() - begun, serve.memory("VmHWM")
        print(
            f"{CONNECTIONS} x {SIZE // MIB} MiB in {seconds:.1f} s, the slowest {max(took):.1f} s; resident "
            f"{before // MIB} -> {peak // MIB} MiB at most, {serve.memory('VmRSS') // MIB} after; "
            f"neighbour {other.waits} ms"
        )
        assert peak < RESIDENT
        async with imap(serve.imap, "anna", PASSWORD) as client:
            await ok(client, "SELECT INBOX")
            for number in range(0, CONNECTIONS, 7):
                wanted = hashlib.sha256(b"".join(chunks(number))).hexdigest()
                uid = (await ok(client, f"UID SEARCH HEADER Message-ID <big-{number}@")).untagged[0].text.split()[2:]
                assert len(uid) == 1
                [row] = fetched(await ok(client, f"UID FETCH {int(uid[0])} BODY.PEEK[]"))
                body = row.literals[0]
                assert hashlib.sha256(body[body.index(b"From: a@b") :]).hexdigest() == wanted
                del row, body
        assert serve.memory("VmHWM") < RESIDENT
