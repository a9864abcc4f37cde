import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pymongo
import pytest
import redis.asyncio
from pymongo import AsyncMongoClient

from storage.embedded.child import EmbeddedError
from storage.embedded.folders import DataLock, make_socket_folder, socket_folder
from storage.embedded.mongod import Mongod, has_avx
from storage.embedded.servers import Embedded, addresses_of, running
from storage.embedded.valkey import Valkey
from tests.support.servers import new_data_folder

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "var"
    folder.mkdir()
    return folder


async def test_transactions_work_on_the_servers_of_the_run(mongo_uri: str, database_name: str) -> None:
    async with AsyncMongoClient[dict[str, Any]](mongo_uri) as client:
        async with client.start_session() as session, await session.start_transaction():
            await client[database_name].things.insert_one({"_id": 1}, session=session)
        assert await client[database_name].things.count_documents({}) == 1
        parameters = await client.admin.command({"getParameter": 1, "transactionLifetimeLimitSeconds": 1})
        assert parameters["transactionLifetimeLimitSeconds"] == 5


async def test_valkey_of_the_run_answers(redis_url: str, redis_prefix: str) -> None:
    client = redis.asyncio.Redis.from_url(redis_url)
    try:
        await client.set(redis_prefix + "k", "v", ex=10)
        assert await client.get(redis_prefix + "k") == b"v"
    finally:
        await client.aclose()


def _tcp_listeners(pid: int) -> list[str]:
    inodes = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [line[1] for line in lines if line[9] in inodes and line[3] == "0A"]


async def test_no_tcp_port_and_sockets_are_private(embedded: Embedded) -> None:
    for server in embedded.servers:
        assert _tcp_listeners(server.child.pid) == []
    with socket.create_server(("127.0.0.1", 0)):
        assert _tcp_listeners(os.getpid())  # the look itself sees listeners
    run = Path(embedded.addresses.redis_url.removeprefix("unix://")).parent
    assert run.stat().st_mode & 0o777 == 0o700


async def test_data_survive_a_restart_and_a_moved_folder(data: Path) -> None:
    async with (
        Embedded(data, valkey=False) as servers,
        AsyncMongoClient[dict[str, Any]](servers.addresses.mongo_uri) as client,
    ):
        await client.keep.things.insert_one({"_id": 1})
    moved = data.with_name("moved")
    data.rename(moved)
    async with (
        Embedded(moved, valkey=False) as servers,
        AsyncMongoClient[dict[str, Any]](servers.addresses.mongo_uri) as client,
    ):
        assert await client.keep.things.find_one({}) == {"_id": 1}
        hello = await client.admin.command("hello")
        assert hello["hosts"] == [str(socket_folder(moved) / "mongod.sock")]


async def _is_primary(client: AsyncMongoClient[dict[str, Any]]) -> bool:
    try:
        return bool((await client.admin.command("hello"))["isWritablePrimary"])
    except pymongo.errors.ConnectionFailure:
        return False


async def test_a_killed_server_comes_back_with_its_data(data: Path) -> None:
    async with Embedded(data) as servers, AsyncMongoClient[dict[str, Any]](servers.addresses.mongo_uri) as client:
        things = client.keep.get_collection("things", write_concern=pymongo.WriteConcern("majority", j=True))
        await things.insert_one({"_id": 1})
        pids = [server.child.pid for server in servers.servers]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(120):
            while any(server.child.pid in pids for server in servers.servers):
                await asyncio.sleep(0.05)
            while not await _is_primary(client):  # it recovers from its journal first
                await asyncio.sleep(0.05)
        assert await things.find_one({}) == {"_id": 1}


async def test_logs_are_limited_while_the_servers_run(
    embedded: Embedded, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.embedded.mongod.LOG_OCTETS", 0)
    monkeypatch.setattr("storage.embedded.valkey.LOG_OCTETS", 0)
    folder = Path(redis_url.removeprefix("unix://")).parents[1]
    for server in embedded.servers:
        server.limit_log()
    client = redis.asyncio.Redis.from_url(redis_url)
    try:
        with contextlib.suppress(redis.exceptions.ResponseError):  # one is under way: its end is a line too
            await client.execute_command("BGREWRITEAOF")  # makes Valkey write a line
    finally:
        await client.aclose()
    async with asyncio.timeout(120):
        while not all((folder / name).exists() for name in ("mongod.log", "valkey.log")):
            await asyncio.sleep(0.02)
    assert (folder / "mongod.log.1").exists()


async def test_folder_in_use_is_one_line_naming_the_holder(data: Path) -> None:
    with DataLock(data):
        assert running(data) == addresses_of(data)
        with pytest.raises(EmbeddedError, match=f"in use by another duckmail .process {os.getpid()}.$"):
            async with Embedded(data):
                pass
    assert running(data) is None


async def test_database_folder_in_use_by_a_foreign_mongod(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.embedded.mongod.IN_USE_SECONDS", 0.5)
    run, other_run = data / "a", data / "b"
    run.mkdir(mode=0o700)
    other_run.mkdir(mode=0o700)
    first, second = Mongod(data / "mongod", run), Mongod(data / "mongod", other_run)
    await first.start()
    try:
        with pytest.raises(EmbeddedError, match="in use by another mongod"):
            await second.start()
    finally:
        await first.stop()


OWNER = """
import asyncio, sys
from pathlib import Path
from storage.embedded.servers import Embedded
async def main():
    async with Embedded(Path(sys.argv[1])) as servers:
        print([server.child.pid for server in servers.servers], flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return state == "Z"  # ended; whoever inherited it has not looked yet


async def test_children_die_with_a_killed_owner_and_the_folder_is_free(data: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(data)], cwd=ROOT, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    pids = json.loads(await asyncio.to_thread(owner.stdout.readline))
    assert len(pids) == 2
    owner.kill()
    owner.communicate()
    deadline = time.monotonic() + 60
    while not all(map(_gone, pids)):
        assert time.monotonic() < deadline, "the servers outlive their owner"
        await asyncio.sleep(0.02)
    async with Embedded(data):
        pass


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        pytest.param(
            "echo 'mongod: error while loading shared libraries: libcurl.so.4: cannot open' >&2; exit 127",
            "libcurl.so.4: apt-get install libcurl4$",
            id="missing-libcurl",
        ),
        pytest.param("kill -ILL $$", "AVX", id="illegal-instruction"),
        pytest.param("exit 3", r"ended at once \(status 3\); see ", id="anything-else"),
    ],
)
async def test_a_mongod_that_cannot_run_says_why_in_one_line(data: Path, script: str, expected: str) -> None:
    binary = data / "mongod-broken"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o700)
    with pytest.raises(EmbeddedError, match=expected) as caught:
        await Mongod(data / "mongod", data, binary=binary).start()
    assert "\n" not in caught.value.text


async def test_a_valkey_that_cannot_run_says_so(data: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"Valkey ended at once \(status 1\)"):
        await Valkey(data / "valkey", data, binary=Path("/bin/false")).start()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("processor: 0\nflags\t\t: fpu sse avx avx2\n", True, id="has-avx"),
        pytest.param("processor: 0\nflags\t\t: fpu sse avx2x\n", False, id="has-not"),
        pytest.param("Features: neon\n", True, id="tells-nothing"),
    ],
)
def test_has_avx(text: str, expected: bool) -> None:
    assert has_avx(text) is expected


def test_a_long_data_path_gets_its_sockets_elsewhere(tmp_path: Path) -> None:
    data = tmp_path / ("x" * 60) / ("y" * 60)
    data.mkdir(parents=True)
    folder = make_socket_folder(data)
    try:
        assert len(os.fsencode(folder / "mongodb-27017.sock")) <= 107
        assert not folder.is_relative_to(data)
        assert folder == socket_folder(data)
        assert folder.stat().st_mode & 0o777 == 0o700
        folder.chmod(0o755)
        assert make_socket_folder(data).stat().st_mode & 0o777 == 0o700
        folder.rmdir()
        folder.symlink_to(tmp_path)
        with pytest.raises(EmbeddedError, match="belongs to somebody else"):
            make_socket_folder(data)
    finally:
        folder.unlink() if folder.is_symlink() else folder.rmdir()


def test_abandoned_test_folders_are_removed_and_used_ones_kept() -> None:
    used, abandoned, new = new_data_folder(), new_data_folder(), new_data_folder()
    with DataLock(used):
        for folder in (abandoned, new):
            with DataLock(folder):
                pass
        for folder in (used, abandoned):
            os.utime(folder, (0, 0))
        new_data_folder().rmdir()
        assert used.exists()
        assert new.exists()
        assert not abandoned.exists()
    for folder in (used, new):
        os.utime(folder, (0, 0))
    new_data_folder().rmdir()
    assert not used.exists()
