"""The benchmark and the soak run, in small: what they measure is another matter."""

import asyncio
import json
from pathlib import Path

import pytest

from bench import __main__ as bench
from bench import soak
from bench.clients.pop3 import Pop3Client, Pop3Error
from bench.clients.sink import Sink
from bench.content import Mails
from bench.runner import percentile


def test_bench_runs_and_writes_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures" / "bench.json"
    works = ["lmtp-4k-many", "append-4k", "push", "open-warm", "fetch-structure", "search-text"]
    works += ["search-10k-foreign", "search-100k-flag", "store-flags", "copy"]
    works += ["pop3-retr", "pop3-retr-pipelined", "submission-4k-local", "submission-4k-relay", "queue-drain"]
    arguments = ["--quick", "--count", "1", "--servers", "duckmail", "--only", ",".join(works)]
    assert bench.main([*arguments, "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert [result["work"] for result in figures["results"]] == works
    assert all(result["rate"] > 0 and not result["error"] for result in figures["results"])
    told = capsys.readouterr().out
    assert "LMTP 4 KB, many mailboxes" in told
    assert "SEARCH UNDELETED FLAGGED takes less than 200 ms" in told


def test_soak_finds_nothing(tmp_path: Path) -> None:
    file = tmp_path / "soak.json"
    assert soak.main(["--seed", "7", "--count", "120", "--json", str(file)]) == 0
    figures = json.loads(file.read_text())
    assert figures["broken"] == []
    assert "no differences" in figures["fsck"]
    assert figures["operations"]["probe"]["count"] > 0


def test_soak_tells_what_is_broken() -> None:
    grown = [80 << 20] * 40 + [160 << 20] * 20
    assert soak.Record(memory=grown).broken == ["memory grew by 80 MiB from the middle third to the last"]
    assert soak.Record(memory=grown[:20]).broken == []
    assert soak.Record(fsck="1 differences", fsck_status=1).broken == ["fsck: 1 differences"]
    assert soak.Record(errors=["store: refused"]).broken == ["1 operations failed, the first: store: refused"]


@pytest.mark.parametrize("size", [2600, 4096, 20_000], ids=str)
def test_mails_have_their_size_and_clean_line_ends(size: int) -> None:
    mails, again = Mails(1), Mails(1)
    for _ in range(30):
        mail = mails.small(size)
        assert len(mail) == size
        assert mail == again.small(size)
        assert mail.count(b"\r\n") == mail.count(b"\n") == mail.count(b"\r")
        assert b"\r\n." not in mail  # nothing to stuff
        assert mail.endswith(b"\r\n")


def test_submitted_mails_are_from_their_sender() -> None:
    mail = Mails(1).small(sender="anna@mail.test")
    header = mail.partition(b"\r\n\r\n")[0]
    assert b"<anna@mail.test>" in header
    assert b"Received:" not in header
    assert len(mail) == 4096


class Wire(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""

    def write(self, data: "bytes | bytearray | memoryview") -> None:
        self.written += bytes(data)

    def close(self) -> None:
        self.written += b"(closed)"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000], ids=str)
async def test_sink_counts_messages_however_they_are_cut(size: int) -> None:
    sink, wire = Sink(), Wire()
    session = sink.session()
    session.connection_made(wire)
    message = b"Subject: x\r\n\r\n..\r\n\r\n..\r\nend"
    one = b"MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA\r\n" + message + b"\r\n.\r\n"
    stream = b"EHLO x\r\n" + 3 * one + b"QUIT\r\n"
    for start in range(0, len(stream), size):
        session.data_received(stream[start : start + size])
    assert sink.taken == 3
    assert sink.octets == 3 * len(message)
    assert wire.written.count(b"354 ") == 3
    assert wire.written.endswith(b"221 2.0.0 Bye\r\n(closed)")


async def test_a_paused_sink_greets_when_it_is_resumed() -> None:
    sink, wire = Sink(), Wire()
    sink.pause()
    sink.session().connection_made(wire)
    assert wire.written == b""
    sink.resume()
    assert wire.written.startswith(b"220 ")


async def feed(client: Pop3Client, stream: bytes, size: int) -> None:
    for start in range(0, len(stream), size):
        await asyncio.sleep(0)
        client.data_received(stream[start : start + size])


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 64, 10_000], ids=str)
async def test_pop3_client_finds_the_ends_however_they_are_cut(size: int) -> None:
    client, wire = Pop3Client(), Wire()
    client.connection_made(wire)
    one = b"+OK\r\nSubject: x\r\n\r\n-ERR\r\n..\r\n\r\n..\r\n.\r\n"
    async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
        tasks.create_task(feed(client, 3 * one, size))
        await client.retrieve([1, 2, 3])
        assert client.octets == 3 * len(one)
    assert wire.written == b"RETR 1\r\nRETR 2\r\nRETR 3\r\n"


@pytest.mark.parametrize("size", [1, 4, 10_000], ids=str)
async def test_pop3_client_tells_a_refusal(size: int) -> None:
    client = Pop3Client()
    client.connection_made(Wire())
    async with asyncio.timeout(40), asyncio.TaskGroup() as tasks:
        tasks.create_task(feed(client, b"+OK\r\nx\r\n.\r\n-ERR no such message\r\n", size))
        with pytest.raises(Pop3Error, match=r"^-ERR no such message$"):
            await client.retrieve([1, 2])


def test_large_mails_are_nearly_as_large_as_asked_for() -> None:
    assert 99_800 <= len(Mails(1).large(100_000)) <= 100_000


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([], 0.5, 0.0, id="nothing"),
        pytest.param([3.0], 0.99, 3.0, id="one"),
        pytest.param([4.0, 1.0, 3.0, 2.0], 0.5, 3.0, id="median-of-four"),
        pytest.param([1.0] * 99 + [9.0], 0.99, 9.0, id="the-worst"),
    ],
)
def test_percentile(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == expected
