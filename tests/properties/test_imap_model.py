"""Several sessions give random commands; what they are answered and told is held against a mailbox in memory.

`DUCKMAIL_STEPS` sets how many commands are given, `DUCKMAIL_SEED` the first seed; the default is a slice.
"""

import asyncio
import os
import random
import re
from collections.abc import AsyncIterator, Callable, Sequence

import pytest

from duckmail.model.ranges import Ranges
from protocols.imap.wire.sequence import SequenceSet
from tests.support.imap import ImapHouse, open_imap
from tests.support.imap_client import ImapClient
from tests.support.imap_model import Box, Flags, Follower, applied

STEPS = int(os.environ.get("DUCKMAIL_STEPS", "150"))
SEED = int(os.environ.get("DUCKMAIL_SEED", "1"))
BOXES = ("INBOX", "Other")
WORDS = ("pond", "reed", "swan")
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "$Work", "$Later")
KINDS = ("", "", "CONDSTORE", "CONDSTORE QRESYNC", "CONDSTORE QRESYNC UIDONLY", "IMAP4rev2", "IMAP4rev2 CONDSTORE")


@pytest.fixture
async def house(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[ImapHouse]:
    async with open_imap(mongo_uri, database_name, redis_url, per_user=50) as opened:
        yield opened


class Play:
    def __init__(self, house: ImapHouse, dice: random.Random) -> None:
        self._house = house
        self._dice = dice
        self.boxes = {name: Box() for name in BOXES}
        self.followers: list[Follower] = []
        self._checker = ImapClient(house)
        self.last = ""  # what was done, for the one who must find out

    async def open(self) -> None:
        await self._checker.log_in()
        await self._checker.ok("CREATE Other")
        for number, kind in enumerate(KINDS):
            client = ImapClient(self._house)
            await client.log_in()
            if kind:
                await client.ok(f"ENABLE {kind}")
            self.followers.append(Follower(f"{number} {kind}", client, frozenset(kind.split())))
        for name, box in self.boxes.items():
            box.modseq = (await self._status(name))["HIGHESTMODSEQ"]

    async def close(self) -> None:
        for client in (self._checker, *(each.client for each in self.followers)):
            await client.vanish()

    async def step(self) -> None:
        dice = self._dice
        follower = dice.choice(self.followers)
        if follower.idling:
            await self._done(follower)
        elif follower.box is None or dice.random() < 0.05:
            await self._select(follower)
        else:
            await dice.choices(*zip(*_ACTIONS, strict=True))[0](self, follower)
        for name in self.boxes:
            await self._check(name)
        for each in self.followers:
            if each.idling:
                await self._hears(each)

    async def do(self, follower: Follower, command: str) -> tuple[list[str], str]:
        self.last = f"{follower.name}: {command}"
        return await follower.run(command)

    # What must hold after each command

    async def _status(self, name: str) -> dict[str, int]:
        items = "HIGHESTMODSEQ MESSAGES UNSEEN UIDNEXT DELETED"
        (line,) = await self._checker.ok(f"STATUS {name} ({items})")
        return {word: int(number) for word, number in re.findall(r"([A-Z]+) (\d+)", line)}

    async def _check(self, name: str) -> None:
        box, status = self.boxes[name], await self._status(name)
        assert status["MESSAGES"] == len(box.messages)
        assert status["UIDNEXT"] == box.uidnext
        assert status["UNSEEN"] == sum("\\Seen" not in each.flags for each in box.messages.values())
        assert status["DELETED"] == len(box.deleted())
        box.stands_at(status["HIGHESTMODSEQ"])

    async def _hears(self, follower: Follower) -> None:
        """One that idles is told without asking."""
        async with asyncio.timeout(10):
            while not follower.told:
                follower.hear((await follower.client.line()).removeprefix("* "))

    # Choices

    def _some(self, follower: Follower, *, all_known: bool = False) -> list[int]:
        """Messages that the client believes in."""
        most = len(follower.uids) if all_known else min(4, len(follower.uids))
        return sorted(self._dice.sample(follower.uids, self._dice.randint(1, max(1, most)))) if follower.uids else []

    def _named(self, follower: Follower, uids: Sequence[int]) -> tuple[str, str]:
        """`UID ` or nothing, and the set as the command takes it."""
        if follower.uid_only or self._dice.random() < 0.5:
            return "UID ", str(Ranges.from_sorted(uids))
        return "", str(Ranges.from_sorted([follower.uids.index(uid) + 1 for uid in uids]))

    def _flags(self) -> Flags:
        return frozenset(self._dice.sample(FLAGS, self._dice.randint(0, 2)))

    # Actions

    async def _select(self, follower: Follower) -> None:
        name, read_only = self._dice.choice(BOXES), self._dice.random() < 0.2
        box = self.boxes[name]
        follower.left()
        past, known = "", self._dice.randint(0, box.modseq)
        if "QRESYNC" in follower.enabled and self._dice.random() < 0.7:
            (status,) = await self._checker.ok(f"STATUS {name} (UIDVALIDITY)")
            past = f" (QRESYNC ({status.split()[-1].rstrip(')')} {known}))"
        lines, answer = await self.do(follower, f"{'EXAMINE' if read_only else 'SELECT'} {name}{past}")
        assert answer.startswith(f"OK [{'READ-ONLY' if read_only else 'READ-WRITE'}]"), answer
        assert f"{len(box.messages)} EXISTS" in lines
        assert any(f"HIGHESTMODSEQ {box.modseq}]" in line for line in lines), lines
        follower.selected(name, box, read_only=read_only)
        if past:
            self._resynchronised(box, known, lines)

    def _resynchronised(self, box: Box, known: int, lines: list[str]) -> None:
        gone = {uid for uid, at in box.expunged.items() if at > known}
        vanished = [line.removeprefix("VANISHED (EARLIER) ") for line in lines if line.startswith("VANISHED")]
        told = {uid for line in vanished for uid in SequenceSet.parse(line.encode()).resolve(0)}
        assert gone <= told, (gone, told)
        assert not told & box.messages.keys()
        changed = {uid for uid, message in box.messages.items() if message.modseq > known}
        fetched = {int(found[1]) for line in lines if (found := re.search(r"FETCH \(UID (\d+)", line))}
        assert fetched == changed, (fetched, changed)

    async def _leave(self, follower: Follower) -> None:
        close = self._dice.random() < 0.5
        box, read_only = follower.box, follower.read_only
        follower.left()
        _, answer = await self.do(follower, "CLOSE" if close else "UNSELECT")
        assert answer.startswith("OK"), answer
        if close and box is not None and not read_only:
            box.remove(box.deleted())

    async def _noop(self, follower: Follower) -> None:
        _, answer = await self.do(follower, self._dice.choice(["NOOP", "CHECK"]))
        assert answer.startswith("OK"), answer
        assert follower.told, (follower.uids, follower.flags, follower.box)

    async def _idle(self, follower: Follower) -> None:
        self.last = f"{follower.name}: IDLE"
        follower.idling = await follower.client.send("IDLE")
        while not (line := await follower.client.line()).startswith("+"):
            follower.hear(line.removeprefix("* "))
        await self._hears(follower)

    async def _done(self, follower: Follower) -> None:
        await follower.client.send_line("DONE")
        while not (line := await follower.client.line()).startswith(follower.idling):
            follower.hear(line.removeprefix("* "))
        assert " OK " in line, line
        follower.idling = ""
        assert follower.told

    async def _append(self, follower: Follower) -> None:
        name, flags, word = self._dice.choice(BOXES), self._flags(), self._dice.choice(WORDS)
        message = f"Subject: {word}\r\n\r\n{self._dice.random()}\r\n"
        uid = self.boxes[name].add(flags, word)
        _, answer = await self.do(follower, f"APPEND {name} ({' '.join(flags)}) {{{len(message)}+}}\r\n{message}")
        assert re.match(rf"OK \[APPENDUID \d+ {uid}\]", answer), answer

    async def _store(self, follower: Follower) -> None:
        uids, flags, operation = self._some(follower), self._flags(), self._dice.choice(["+", "-", ""])
        box = follower.box
        if not uids or box is None:
            return
        prefix, named = self._named(follower, uids)
        since, silent = "", self._dice.random() < 0.4
        live = [uid for uid in uids if uid in box.messages]
        failed: list[int] = []
        if "CONDSTORE" in follower.enabled and self._dice.random() < 0.4:
            limit = self._dice.randint(0, box.modseq)
            failed = [uid for uid in live if box.messages[uid].modseq > limit]
            since = f" (UNCHANGEDSINCE {limit})"
        stored = [] if follower.read_only else [uid for uid in live if uid not in failed]
        numbers = {uid: uid if prefix else follower.uids.index(uid) + 1 for uid in failed}
        box.store(stored, operation, flags)
        for uid in stored if silent else ():
            before = follower.flags[uid]
            follower.flags[uid] = None if before is None else applied(before, operation, flags)
        word = f"{operation}FLAGS{'.SILENT' if silent else ''}"
        _, answer = await self.do(follower, f"{prefix}STORE {named}{since} {word} ({' '.join(flags)})")
        if follower.read_only:
            assert answer.startswith("NO [READ-ONLY]"), answer
            return
        if failed:
            assert f"[MODIFIED {Ranges.from_sorted(sorted(numbers.values()))}]" in answer, answer
        assert answer.startswith("OK") or (len(live) < len(uids) and not prefix), answer
        for uid in () if silent else stored:
            assert "FLAGS (" in follower.fetched[uid]
            assert follower.flags[uid] == box.messages[uid].flags
        known = {uid: each for uid, each in follower.flags.items() if each is not None and uid in box.messages}
        assert known == {uid: box.messages[uid].flags for uid in known}

    async def _expunge(self, follower: Follower) -> None:
        box = follower.box
        if box is None:
            return
        doomed = box.deleted()
        command = "EXPUNGE"
        if self._dice.random() < 0.6 and (uids := self._some(follower)):
            command = f"UID EXPUNGE {Ranges.from_sorted(uids)}"
            doomed = [uid for uid in doomed if uid in uids]
        if not follower.read_only:
            box.remove(doomed)
        _, answer = await self.do(follower, command)
        assert answer.startswith("NO [READ-ONLY]" if follower.read_only else "OK"), answer
        assert follower.told

    async def _copy(self, follower: Follower) -> None:
        uids, move, name = self._some(follower), self._dice.random() < 0.5, self._dice.choice(BOXES)
        box, target = follower.box, self.boxes[name]
        if not uids or box is None:
            return
        prefix, named = self._named(follower, uids)
        live = [uid for uid in uids if uid in box.messages]
        stale = len(live) < len(uids) and not prefix
        refused = (move and follower.read_only) or (stale and not move)
        copied = [] if refused else live
        new = [target.add(box.messages[uid].flags, box.messages[uid].subject) for uid in copied]
        if move:
            box.remove(copied)
        lines, answer = await self.do(follower, f"{prefix}{'MOVE' if move else 'COPY'} {named} {name}")
        if refused or stale:
            assert answer.startswith("NO [READ-ONLY]" if move and follower.read_only else "NO [EXPUNGEISSUED]"), answer
        else:
            assert answer.startswith("OK"), answer
        if copied:
            told = re.search(r"\[COPYUID \d+ (\S+) (\S+)\]", " ".join([*lines, answer]))
            assert told is not None, (lines, answer)
            assert told.groups() == (str(Ranges.from_sorted(copied)), str(Ranges.from_sorted(new)))

    async def _fetch(self, follower: Follower) -> None:
        uids, box = self._some(follower, all_known=True), follower.box
        if not uids or box is None:
            return
        prefix, named = self._named(follower, uids)
        what = self._dice.choice(["FLAGS MODSEQ", "FLAGS", "BODY[HEADER.FIELDS (SUBJECT)]", "BODY.PEEK[1]"])
        if "MODSEQ" in what:
            follower.enabled |= {"CONDSTORE"}  # RFC 7162 §3.1
        live = [uid for uid in uids if uid in box.messages]
        if what.startswith("BODY[") and not follower.read_only:
            box.store(live, "+", frozenset({"\\Seen"}))
        _, answer = await self.do(follower, f"{prefix}FETCH {named} ({what})")
        assert answer.startswith("OK" if prefix or live == uids else "NO [EXPUNGEISSUED]"), answer
        for uid in live:
            self._is_as_asked(follower.fetched[uid], what, box, uid)

    def _is_as_asked(self, data: str, what: str, box: Box, uid: int) -> None:
        assert what.split(maxsplit=1)[0].removeprefix("BODY.PEEK").removeprefix("BODY") in data, (uid, data)
        if "MODSEQ" in what:
            assert f"MODSEQ ({box.messages[uid].modseq})" in data

    async def _search(self, follower: Follower) -> None:
        box = follower.box
        if box is None:
            return
        key, holds = self._key(follower, box)
        uid = follower.uid_only or self._dice.random() < 0.5
        known = list(follower.uids)  # results are in the numbers of before the updates
        expected = [each for each in known if each in box.messages and holds(each)]
        numbers = expected if uid else [known.index(each) + 1 for each in expected]
        lines, answer = await self.do(follower, f"{'UID ' if uid else ''}SEARCH {key}")
        assert answer.startswith("OK"), answer
        assert self._found(lines) == numbers, (key, lines, numbers)

    def _found(self, lines: list[str]) -> list[int]:
        (line,) = [line for line in lines if line.startswith(("SEARCH", "ESEARCH"))]
        if line.startswith("SEARCH"):
            return [int(word) for word in re.sub(r"\(MODSEQ \d+\)", "", line).split()[1:]]
        found = re.search(r"ALL ([0-9:,]+)", line)
        return list(SequenceSet.parse(found[1].encode()).resolve(0)) if found else []

    def _key(self, follower: Follower, box: Box, depth: int = 0) -> tuple[str, Callable[[int], bool]]:
        dice = self._dice
        flag, word, modseq = dice.choice(FLAGS), dice.choice(WORDS), dice.randint(1, max(1, box.modseq))
        choice = dice.randint(0, 4 if depth > 1 else 6)
        if choice == 0:
            name = flag[1:].upper() if flag.startswith("\\") else f"KEYWORD {flag}"
            return name, lambda uid: flag in box.messages[uid].flags
        if choice == 1:
            name = f"UN{flag[1:].upper()}" if flag.startswith("\\") else f"UNKEYWORD {flag}"
            return name, lambda uid: flag not in box.messages[uid].flags
        if choice == 2:
            return f"SUBJECT {word}", lambda uid: box.messages[uid].subject == word
        if choice == 3 and "CONDSTORE" in follower.enabled:
            return f"MODSEQ {modseq}", lambda uid: box.messages[uid].modseq >= modseq
        if choice in (3, 4):
            uids = self._some(follower)
            return (f"UID {Ranges.from_sorted(uids)}", lambda uid: uid in uids) if uids else ("ALL", lambda _: True)
        left, first = self._key(follower, box, depth + 1)
        if choice == 5:
            return f"NOT {left}", lambda uid: not first(uid)
        right, second = self._key(follower, box, depth + 1)
        return f"OR {left} {right}", lambda uid: first(uid) or second(uid)


_ACTIONS: list[tuple[Callable[[Play, Follower], object], int]] = [
    (Play._store, 30),
    (Play._append, 15),
    (Play._copy, 15),
    (Play._fetch, 15),
    (Play._search, 15),
    (Play._noop, 10),
    (Play._expunge, 8),
    (Play._idle, 6),
    (Play._leave, 3),
]


@pytest.mark.parametrize("seed", [pytest.param(SEED + number, id=f"seed-{SEED + number}") for number in range(3)])
async def test_sessions_agree_with_the_model(house: ImapHouse, seed: int) -> None:
    play = Play(house, random.Random(seed))
    await play.open()
    for number in range(STEPS):
        try:
            await play.step()
        except Exception as error:
            error.add_note(f"seed {seed}, step {number}, {play.last}")
            raise
    await play.close()
