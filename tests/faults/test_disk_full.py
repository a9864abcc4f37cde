"""The database's disk is full: a relay is told to try again, nothing acknowledged is lost, and it goes on by itself.

Needs the right to mount a small tmpfs.
"""

import asyncio
import base64
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from storage.embedded.child import EmbeddedError
from storage.fsck import check
from tests.faults.rig import HOST, PASSWORD, rig
from tests.faults.wire import LostError, fetched, imap, lmtp, ok
from tests.support.servers import new_data_folder

MIB = 1024 * 1024
SIZE = 420  # MiB; an empty database with its journal takes about 300 of them
LEFT = 6 * MIB  # free when the test begins


@pytest.fixture
def disk() -> Iterator[Path]:
    """A folder on a disk of its own."""
    folder = new_data_folder()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}m,mode=0700", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if mounted is None or mounted.returncode:
        folder.rmdir()
        pytest.skip("a small disk cannot be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()


def mail(number: int) -> bytes:
    body = base64.encodebytes(random.Random(number).randbytes(300_000)).replace(b"\n", b"\r\n")
    head = f"From: a@b.example\r\nMessage-ID: <full-{number}@b.example>\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    return head.encode() + body


async def deliver(port: int, number: int) -> int:
    """The code of the answer; 0 when there was none."""
    try:
        async with lmtp(port) as relay:
            [(code, text)] = (await relay.deliver("a@b.example", [f"anna@{HOST}"], mail(number))).values()
    except LostError:
        return 0
    print(number, text)
    return code


@pytest.mark.timeout(900)
async def test_a_full_disk_is_no_bounce_and_no_loss(disk: Path) -> None:
    data = disk / "data"
    data.mkdir(mode=0o700)
    async with rig(1, accounts=("anna",), data=data) as servers:
        serve, taken, refused = servers.serves[0], [], 0
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            file.truncate(0)
            room = shutil.disk_usage(disk).free - LEFT
            while room > 0:
                room -= file.write(bytes(min(room, MIB)))
        for number in range(60):
            code = await deliver(serve.lmtp, number)
            if code == 250:
                taken.append(number)
            else:
                assert code == 0 or 400 <= code < 500
                refused += 1
            if refused:
                break
        assert refused
        ballast.unlink()
        if servers.mongod.child.status() is not None:  # it stops itself rather than work on a disk it cannot write to
            with suppress(EmbeddedError):
                await servers.start_mongod()
        # The relay tries again what it was not told to be stored.
        left = [number for number in range(len(taken) + refused) if number not in taken]
        async with asyncio.timeout(60):
            while left:
                if await deliver(serve.lmtp, left[0]) == 250:
                    taken.append(left.pop(0))
                else:
                    await asyncio.sleep(0.2)
        async with imap(serve.imap, "anna", PASSWORD) as client:
            await ok(client, "SELECT INBOX")
            rows = fetched(await ok(client, "UID FETCH 1:* BODY.PEEK[]"))
        bodies = [row.literals[0] for row in rows]
        bodies = [body[body.index(b"From: a@b") :] for body in bodies]
        assert sorted(bodies) == sorted(mail(number) for number in taken)
        async with servers.store() as store:
            assert await check(store, deep=True) == []
