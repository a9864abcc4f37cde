"""A client that keeps its own copy of a mailbox through QRESYNC alone, cut off at random, while others change it.

`DUCKMAIL_ROUNDS` sets how often each client comes back, `DUCKMAIL_SEED` the first seed, `DUCKMAIL_SEEDS` how many there
are; the default is a slice.
"""

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from duckmail.model.message import FlagChange, FlagOperation, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from protocols.imap.wire.sequence import SequenceSet
from storage.changes.prune import Prune
from storage.store import key
from tests.support.imap import ImapHouse, open_imap
from tests.support.imap_client import Cut, ImapClient

ROUNDS = int(os.environ.get("DUCKMAIL_ROUNDS", "12"))
SEED = int(os.environ.get("DUCKMAIL_SEED", "0"))
SEEDS = int(os.environ.get("DUCKMAIL_SEEDS", "2"))
_FETCH = re.compile(r"(\d+) (?:FETCH|UIDFETCH) \((.*)\)")


@pytest.fixture
async def house(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[ImapHouse]:
    async with open_imap(mongo_uri, database_name, redis_url, per_user=50) as opened:
        yield opened


class Copy:
    """What the client keeps on its disk."""

    def __init__(self) -> None:
        self.uidvalidity = 0
        self.modseq = 0
        self.fetched = 0  # of messages up to this UID it knows whether they are there
        self.flags: dict[int, frozenset[str]] = {}

    def hear(self, line: str) -> int:
        """Applies one response; the modseq in it, 0 without."""
        if found := re.fullmatch(r"VANISHED (?:\(EARLIER\) )?([0-9:,]+)", line):
            gone = SequenceSet.parse(found[1].encode()).resolve(0)
            self.flags = {uid: flags for uid, flags in self.flags.items() if uid not in gone}
        elif found := _FETCH.fullmatch(line):
            uid = re.search(r"UID (\d+)", found[2])
            flags = re.search(r"FLAGS \(([^)]*)\)", found[2])
            number = int(uid[1]) if uid else int(found[1])
            if flags:
                self.flags[number] = frozenset(flags[1].split()) - {"\\Recent"}
            modseq = re.search(r"MODSEQ \((\d+)\)", found[2])
            return int(modseq[1]) if modseq else 0
        return 0

    def parameter(self, dice: random.Random, *, numbers: bool) -> str:
        """QRESYNC with all, some or none of what may be named."""
        uids = sorted(self.flags)
        words = [f"{self.uidvalidity} {self.modseq}"]
        if uids and dice.random() < 0.6:
            words.append(str(Ranges.from_sorted(uids)))
        if uids and numbers and dice.random() < 0.6:
            places = sorted(dice.sample(range(len(uids)), min(4, len(uids))))
            known = Ranges.from_sorted([place + 1 for place in places])
            words.append(f"({known} {Ranges.from_sorted([uids[place] for place in places])})")
        return f"(QRESYNC ({' '.join(words)}))"


class Client:
    """`others`: has them change so many things."""

    def __init__(
        self, house: ImapHouse, dice: random.Random, others: Callable[[int], Awaitable[None]], *, uid_only: bool
    ) -> None:
        self._house = house
        self._others = others
        self._uid_only = uid_only
        self._dice = dice
        self.copy = Copy()

    async def visit(self, *, whole: bool) -> None:
        """Comes back, and stays for a while unless it is cut off before."""
        imap = ImapClient(self._house)
        try:
            await imap.log_in()
            await imap.ok("ENABLE QRESYNC UIDONLY" if self._uid_only else "ENABLE QRESYNC")
            if not whole:
                imap.lines_left = self._dice.randint(0, 60)
            await self._select(imap)
            for _ in range(0 if whole else self._dice.randint(0, 6)):
                await self._listen(imap)
        except Cut:
            pass
        finally:
            await imap.vanish()

    async def _select(self, imap: ImapClient) -> None:
        parameter = f" {self.copy.parameter(self._dice, numbers=not self._uid_only)}" if self.copy.modseq else ""
        await imap.send(f"SELECT INBOX{parameter}")
        uidvalidity = modseq = 0
        while not (line := await imap.line()).startswith("t"):
            self.copy.hear(line.removeprefix("* "))
            if found := re.search(r"UIDVALIDITY (\d+)", line):
                uidvalidity = int(found[1])
            if found := re.search(r"HIGHESTMODSEQ (\d+)", line):
                modseq = int(found[1])
        assert " OK " in line, line
        if not parameter:
            self.copy.flags.clear()
            self.copy.fetched = 0
        # What is new: the parameter may have named the UIDs known, so these were not told of.
        await self._hear(imap, f"UID FETCH {self.copy.fetched + 1}:* (FLAGS)")
        self.copy.fetched = max([self.copy.fetched, *self.copy.flags])
        self.copy.uidvalidity, self.copy.modseq = uidvalidity, modseq

    async def _hear(self, imap: ImapClient, command: str) -> int:
        """The responses as they come; what the modseq is by them (RFC 7162 §6), 0 if they do not say."""
        highest = code = 0
        tag = await imap.send(command)
        while True:
            line = await imap.line()
            if found := re.search(r" OK \[HIGHESTMODSEQ (\d+)\]", line):
                code = int(found[1])
            if line.startswith(f"{tag} "):
                return code or max(highest, self.copy.modseq)
            highest = max(highest, self.copy.hear(line.removeprefix("* ")))

    async def _listen(self, imap: ImapClient) -> None:
        await asyncio.sleep(0)
        new = f"UID FETCH {self.copy.fetched + 1}:* (FLAGS MODSEQ)"
        commands = ["NOOP", new, "UID SEARCH MODSEQ 1"]
        if not self._uid_only:
            # What has gone is not told by these, although they tell of later changes (§3.2).
            commands += ["FETCH 1:* (UID FLAGS MODSEQ)", "SEARCH MODSEQ 1", "UID SEARCH 1:3"]
        for command in self._dice.sample(commands, 3):
            await self._others(self._dice.randint(0, 3))
            self.copy.modseq = await self._hear(imap, command)
            if command == new:  # as a flag may be told of a message that is not yet fetched
                self.copy.fetched = max([self.copy.fetched, *self.copy.flags])


async def change(house: ImapHouse, mail: Mail, dice: random.Random) -> None:
    """Something that another client might do."""
    listener = _Nobody()
    view = await mail.open("INBOX", listener)
    try:
        uids = list(view.uids)
        some = Ranges.from_sorted(sorted(dice.sample(uids, min(len(uids), dice.randint(1, 5)))))
        match dice.randint(0, 24):
            case 0 | 1 | 2 | 3 | 4 | 5 | 6 | 7:
                content = await mail.prepare(b"\r\n%d" % dice.randint(0, 1 << 30))
                await mail.append("INBOX", [NewMessage(content, ("\\Seen",)[: dice.randint(0, 1)])])
            case 8 | 9 | 10 | 11 | 12 | 13 | 14:
                name = dice.choice(["\\Seen", "\\Flagged", "$Work"])
                operation = dice.choice([FlagOperation.ADD, FlagOperation.REMOVE, FlagOperation.REPLACE])
                await mail.store_flags(view, some, FlagChange(operation, (name,)))
            case 15 | 16 | 17 | 18 | 19 | 20 | 21 | 22 | 23:
                await mail.store_flags(view, some, FlagChange(FlagOperation.ADD, ("\\Deleted",)))
                await mail.expunge(view, some)
            case _:
                horizon = datetime.now(UTC) + timedelta(seconds=dice.choice([-1, 1]))
                await house.store.committer.submit(Prune(key(view.mailbox.user, view.mailbox.id), horizon))
    finally:
        mail.close_view(view, listener)


class _Nobody:
    def view_changed(self, expunged: object) -> None:
        del expunged


@pytest.mark.parametrize("uid_only", [pytest.param(False, id="numbers"), pytest.param(True, id="uidonly")])
@pytest.mark.parametrize("seed", range(SEED, SEED + SEEDS))
async def test_the_copy_ends_as_the_mailbox(house: ImapHouse, seed: int, uid_only: bool) -> None:
    dice = random.Random(seed)
    mail = await house.mail("anna")

    async def others(count: int) -> None:
        for _ in range(count):
            await change(house, mail, dice)

    client = Client(house, dice, others, uid_only=uid_only)
    await others(20)
    await client.visit(whole=True)
    for _ in range(ROUNDS):
        await others(dice.randint(0, 4))
        changing = asyncio.get_running_loop().create_task(others(dice.randint(0, 4)))
        await client.visit(whole=False)
        await changing
        if dice.random() < 0.5:  # at once, before a pruned history makes it good
            await client.visit(whole=True)
            assert client.copy.flags == await truth(house)
    await others(3)
    await client.visit(whole=True)
    assert client.copy.flags == await truth(house)


async def truth(house: ImapHouse) -> dict[int, frozenset[str]]:
    """The mailbox, as a client that knows nothing fetches it."""
    imap, fresh = ImapClient(house), Copy()
    await imap.log_in()
    await imap.ok("EXAMINE INBOX")
    for line in await imap.ok("UID FETCH 1:* (FLAGS)"):
        fresh.hear(line)
    await imap.vanish()
    return fresh.flags
