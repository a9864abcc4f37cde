"""What a dialog file cannot say: time, failing parts, room for large messages, the log."""

import asyncio
import logging
from dataclasses import replace

import pytest

from tests.support.lmtp import LmtpWorld
from tests.support.memory import MemoryClient, MemoryConnection

HEADER = "Subject: secret words"


async def test_a_peer_that_is_not_listed_may_try_again_later() -> None:
    world = LmtpWorld()
    server = replace(world.server, peers=lambda peer: peer.host == "192.0.2.1")
    connection = MemoryConnection()
    await server.serve(connection)  # type: ignore[arg-type]
    client = MemoryClient(connection)
    assert (await client.line(40)).startswith(b"421 4.7.1 ")
    assert await client.line(40) == b""


async def test_idle_for_too_long() -> None:
    async with LmtpWorld(command_timeout=0.05).session() as client:
        await client.replies("220", "421 4.4.2 ", "")


async def test_message_octets_that_stop_coming() -> None:
    world = LmtpWorld(data_timeout=0.05)
    async with world.session() as client:
        await client.open("alice@example.com")
        await client.data()
        await client.send(HEADER)
        await client.replies("421 4.4.2 ", "")
    assert world.postbox.stored == []


async def test_message_octets_that_drip() -> None:
    world = LmtpWorld(message_timeout=0.1)
    async with world.session() as client:
        await client.open("alice@example.com")
        await client.data()
        for _ in range(20):
            await client.octets(b"x")
            await asyncio.sleep(0.01)
        await client.replies("421 4.4.2 ", "")
    assert world.postbox.stored == []


async def test_the_end_of_the_stream_is_not_the_end_of_the_data() -> None:
    world = LmtpWorld()
    async with world.session() as client:
        await client.open("alice@example.com")
        await client.data()
        await client.send(HEADER, "", "all but the dot")
        client.end()
        await client.replies("")
    assert world.postbox.stored == []


async def test_what_is_being_committed_is_answered_before_the_goodbye() -> None:
    world = LmtpWorld()
    world.postbox.commits.clear()
    async with world.session() as client:
        await client.open("alice@example.com")
        await client.data()
        await client.send(HEADER, ".", "NOOP")
        assert await client.silent()
        assert client.connection.on_drain is not None
        client.connection.on_drain()
        assert await client.silent()
        world.postbox.commits.set()
        await client.replies("250 2.0.0 OK id=m1", "421 4.3.2 ", "")
    assert len(world.postbox.stored) == 1


async def test_a_database_that_is_down_is_never_a_bounce() -> None:
    world = LmtpWorld()
    async with world.session() as client:
        await client.open("alice@example.com", "bob@example.com")
        world.postbox.down = True
        # Not alice or bob: they are remembered for a second.
        await client.send("RCPT TO:<carol@example.com>", "DATA", HEADER, ".", "NOOP")
        await client.replies("451 4.3.0", "354", "451 4.3.0", "451 4.3.0", "250")


@pytest.mark.parametrize("query", ["find", "append"])
async def test_a_defect_of_ours_is_never_a_bounce(
    query: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    world = LmtpWorld()

    def break_down(name: str, keys: int) -> None:
        if name == query:
            raise KeyError("a defect")

    async with world.session() as client:
        await client.open("alice@example.com")
        monkeypatch.setattr(world.postbox, "_ask", break_down)
        await client.send("RCPT TO:<bob@example.com>")
        await client.replies("451 4.3.0 Temporary" if query == "find" else "250")
        await client.send("DATA", HEADER, ".")
        await client.replies("354", *(["250"] if query == "find" else ["451 4.3.0 Temporary"] * 2))
        await client.send("NOOP")
        await client.replies("250")
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


# Large messages

LINE = b"x" * 998 + b"\r\n"


async def test_a_large_message_waits_for_room_and_gives_it_back() -> None:
    world = LmtpWorld(budget=1_000_000)
    async with world.session() as client:
        await client.open("alice@example.com")
        await client.data()
        async with world.budget.reserve(500_000, 1):
            sending = asyncio.get_running_loop().create_task(client.octets(LINE * 700 + b".\r\n"))
            while not world.budget.waiting:
                await asyncio.sleep(0.01)
            # Without room nothing is read: the client is held up by what it has sent.
            assert len(client.connection.incoming.buffer) > 256 * 1024
            assert not sending.done()
        await sending
        await client.replies("250 2.0.0 ")
        assert world.budget.used == 0
    assert world.postbox.stored[0].octets == LINE * 700


async def test_a_small_message_needs_no_room() -> None:
    world = LmtpWorld(budget=1_000)
    async with world.budget.reserve(1_000, 1), world.session() as client:
        await client.open("alice@example.com")
        await client.data()
        await client.octets(LINE * 60 + b".\r\n")
        await client.replies("250 2.0.0 ")


async def test_the_declared_size_is_what_is_reserved() -> None:
    world = LmtpWorld(size_limit=10_000_000, budget=10_000_000)
    async with world.session() as client:
        await client.open("alice@example.com", size=400_000)
        await client.data()
        await client.octets(LINE * 300)
        while not world.budget.used:
            await asyncio.sleep(0.01)
        assert 400_000 < world.budget.used < 600_000
        await client.octets(b".\r\n")
        await client.replies("250 2.0.0 ")
        assert world.budget.used == 0


async def test_no_room_in_time_is_temporary_and_the_rest_is_read() -> None:
    world = LmtpWorld(reserve_timeout=0.05)
    async with world.session() as client, world.budget.reserve(1_000_000, 1):
        await client.open("alice@example.com")
        await client.data()
        await client.octets(LINE * 600 + b".\r\n")
        await client.replies("452 4.3.1 ")
        await client.send("NOOP")
        await client.replies("250")
    assert world.postbox.stored == []


async def test_a_client_that_leaves_gives_its_room_back() -> None:
    world = LmtpWorld()
    async with world.session() as client:
        await client.open("alice@example.com")
        await client.data()
        await client.octets(LINE * 300)
        while not world.budget.used:
            await asyncio.sleep(0.01)
    assert world.budget.used == 0


async def test_chunks_share_one_reservation() -> None:
    world = LmtpWorld()
    async with world.session() as client:
        await client.open("alice@example.com")
        for _ in range(3):
            await client.octets(b"BDAT 200000\r\n" + LINE * 200)
            await client.replies("250 2.0.0 200000 octets")
        assert world.budget.used in (0, 1_000_000)
        await client.octets(b"BDAT 0 LAST\r\n")
        await client.replies("250 2.0.0 OK")
    assert world.budget.used == 0
    assert world.postbox.stored[0].octets == LINE * 600


async def test_a_client_that_never_reads_is_not_served_for_ever() -> None:
    world = LmtpWorld(write_timeout=0.1)
    async with world.session() as client:
        sending = asyncio.get_running_loop().create_task(client.octets(b"NOOP\r\n" * 500_000))
        await asyncio.wait_for(client.connection.closing.wait(), 60)
        await sending
    assert len(client.connection.outgoing.buffer) < 1_000_000


# The log


async def test_one_line_per_transaction_and_no_content(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "duckmail")
    world = LmtpWorld()
    async with world.session() as client:
        await client.open("alice@example.com", "bob@example.com")
        await client.send("DATA", HEADER, "", "secret body", ".", "QUIT")
        await client.replies("354", "250", "250", "221")
    lines = [record for record in caplog.records if record.getMessage() == "message"]
    assert len(lines) == 1
    fields = lines[0].fields
    assert fields["connection"] == client.connection.id
    assert fields["sender"] == "a@b.example"
    assert fields["recipients"] == ["alice@example.com", "bob@example.com"]
    assert fields["results"] == {"250 2.0.0": 2}
    assert fields["ids"] == ["m1", "m2"]
    assert fields["size"] == len("Subject: secret words\r\n\r\nsecret body\r\n")
    assert not [record for record in caplog.records if "secret" in str(record.__dict__)]


async def test_a_refused_recipient_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "duckmail")
    async with LmtpWorld().session() as client:
        await client.open()
        await client.send("RCPT TO:<nobody@example.com>")
        await client.replies("550 5.1.1")
    (record,) = [record for record in caplog.records if record.getMessage() == "recipient refused"]
    assert (record.fields["recipient"], record.fields["reply"][:9]) == ("nobody@example.com", "550 5.1.1")
