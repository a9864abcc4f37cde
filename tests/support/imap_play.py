"""Sessions that give random commands; what they are answered and told is held against a mailbox in memory."""

import asyncio
import random
import re
from collections.abc import Callable, Sequence

from duckmail.model.ranges import Ranges
from protocols.imap.wire.sequence import SequenceSet
from tests.support import imap_model_search as searches
from tests.support.imap import ImapHouse
from tests.support.imap_client import ImapClient
from tests.support.imap_model import COUNTERS, Box, Flags, Follower, applied, counted

BOXES = ("INBOX", "Other")
WORDS = ("pond", "reed", "swan")
FLAGS = ("\\Seen", "\\Flagged", "\\Deleted", "\\Answered", "$Work", "$Later")
MOST_FLAGS = 40  # a mailbox takes 58 keywords
KINDS = ("", "", "CONDSTORE", "CONDSTORE QRESYNC", "CONDSTORE QRESYNC UIDONLY", "IMAP4rev2", "IMAP4rev2 CONDSTORE")


class Play:
    """`houses`: the processes; the sessions are at them in turn."""

    def __init__(self, houses: Sequence[ImapHouse], dice: random.Random) -> None:
        self._houses = houses
        self._dice = dice
        self.boxes = {name: Box() for name in BOXES}
        self.followers: list[Follower] = []
        self.names = [*FLAGS, "$Old1", "$Old2"]  # and more keywords as time goes by
        self._checker = ImapClient(houses[0])
        self._lookers: list[tuple[ImapHouse, ImapClient]] = []
        self.last = ""  # what was done, for the one who must find out

    async def open(self) -> None:
        await self._checker.log_in()
        await self._checker.ok("CREATE Other")
        for number, kind in enumerate(KINDS):
            client = ImapClient(self._houses[number % len(self._houses)])
            await client.log_in()
            if kind:
                await client.ok(f"ENABLE {kind}")
            self.followers.append(Follower(f"{number} {kind}", client, frozenset(kind.split())))
        for name, box in self.boxes.items():
            box.modseq = (await self._status(name))["HIGHESTMODSEQ"]
            box.stood = [0, box.modseq]
            for house in self._houses if len(self._houses) > 1 else ():
                client = ImapClient(house)
                await client.log_in()
                await client.ok(f"EXAMINE {name}")
                self._lookers.append((house, client))

    async def close(self) -> None:
        for client in (self._checker, *(each.client for each in self.followers), *(one for _, one in self._lookers)):
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
        for house, looker in self._lookers:
            if house is not follower.client.house:
                await looker.ok("NOOP")  # the view that this process's sessions share is as the mailbox now
        for each in self.followers:
            if each.idling:
                await self._hears(each)

    async def do(self, follower: Follower, command: str) -> tuple[list[str], str]:
        self.last = f"{follower.name}: {command}"
        return await follower.run(command)

    # What must hold after each command

    async def _status(self, name: str) -> dict[str, int]:
        return counted((await self._checker.ok(f"STATUS {name} (HIGHESTMODSEQ {COUNTERS})"))[0])

    async def _check(self, name: str) -> None:
        box, status = self.boxes[name], await self._status(name)
        box.stands_at(status.pop("HIGHESTMODSEQ"))
        assert status == box.counters()

    async def _hears(self, follower: Follower) -> None:
        """One that idles is told without asking."""
        async with asyncio.timeout(30):
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

    def _flags(self, box: Box) -> tuple[Flags, str]:
        """Some flags, new keywords among them, and how the command names them: case does not matter."""
        chosen = self._dice.sample([*FLAGS, *self.names[-2:]], self._dice.randint(0, 2))
        if len(self.names) < MOST_FLAGS and self._dice.random() < 0.1:
            self.names.append(f"$New{len(self.names)}")
            chosen = self.names[-1:]
        known = [name.startswith("\\") or name in box.keywords for name in chosen]
        sent = [
            name.upper() if there and self._dice.random() < 0.1 else name
            for name, there in zip(chosen, known, strict=True)
        ]
        return frozenset(chosen), f"({' '.join(sent)})"

    def _message(self) -> tuple[str, str]:
        """A message with its word."""
        word = self._dice.choice(WORDS)
        return f"Subject: {word}\r\n\r\n{self._dice.random()}\r\n", word

    # Actions

    async def _select(self, follower: Follower) -> None:
        name, read_only = self._dice.choice(BOXES), self._dice.random() < 0.2
        box = self.boxes[name]
        follower.left()
        past, known = "", self._dice.choice(box.stood)
        if "QRESYNC" in follower.enabled and self._dice.random() < 0.7:
            (status,) = await self._checker.ok(f"STATUS {name} (UIDVALIDITY)")
            past = f" (QRESYNC ({status.split()[-1].rstrip(')')} {known}))"
        lines, answer = await self.do(follower, f"{'EXAMINE' if read_only else 'SELECT'} {name}{past}")
        assert answer.startswith(f"OK [{'READ-ONLY' if read_only else 'READ-WRITE'}]"), answer
        assert f"{len(box.messages)} EXISTS" in lines
        assert any(f"HIGHESTMODSEQ {box.modseq}]" in line for line in lines), lines
        follower.selected(name, box, lines, read_only=read_only)
        if past:
            self._resynchronised(box, known, lines)

    def _vanished(self, expunged: dict[int, int], box: Box, known: int, lines: list[str]) -> None:
        """VANISHED (EARLIER) tells of all of these that went since then."""
        gone = {uid for uid, at in expunged.items() if at > known}
        vanished = [line.removeprefix("VANISHED (EARLIER) ") for line in lines if line.startswith("VANISHED")]
        told = {uid for line in vanished for uid in SequenceSet.parse(line.encode()).resolve(0)}
        assert gone <= told, (gone, told)
        assert not told & box.messages.keys()

    def _resynchronised(self, box: Box, known: int, lines: list[str]) -> None:
        self._vanished(box.expunged, box, known, lines)
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
        """One message, or two in one command (RFC 3502)."""
        name, told, uids = self._dice.choice(BOXES), "", []
        for _ in range(self._dice.choice((1, 1, 1, 2))):
            (flags, sent), (message, word) = self._flags(self.boxes[name]), self._message()
            uids.append(self.boxes[name].add(flags, word, len(message)))
            told += f" {sent} {{{len(message)}+}}\r\n{message}"
        _, answer = await self.do(follower, f"APPEND {name}{told}")
        assert re.match(rf"OK \[APPENDUID \d+ {Ranges.from_sorted(uids)}\]", answer), answer

    async def _replace(self, follower: Follower) -> None:
        """RFC 8508: one message for another, perhaps in the other mailbox."""
        uids, name, box = self._some(follower)[:1], self._dice.choice(BOXES), follower.box
        if not uids or box is None:
            return
        target = self.boxes[name]
        (prefix, named), (flags, sent) = self._named(follower, uids), self._flags(target)
        message, word = self._message()
        done = not follower.read_only and uids[0] in box.messages
        new = target.add(flags, word, len(message)) if done else 0
        box.remove(uids if done else [])
        command = f"{prefix}REPLACE {named} {name} {sent} {{{len(message)}+}}\r\n{message}"
        lines, answer = await self.do(follower, command)
        if done:
            assert answer.startswith("OK"), answer
            assert any(re.match(rf"OK \[APPENDUID \d+ {new}\]", line) for line in lines), lines
        else:
            gone = "NO No such message" if prefix else "NO [EXPUNGEISSUED]"
            assert answer.startswith("NO [READ-ONLY]" if follower.read_only else gone), answer

    async def _store(self, follower: Follower) -> None:
        uids, box, operation = self._some(follower), follower.box, self._dice.choice(["+", "-", ""])
        if not uids or box is None:
            return
        flags, sent = self._flags(box)
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
        knew = {uid for uid in stored if box.messages[uid].modseq == follower.modseqs.get(uid)}
        for uid in stored if silent else ():
            before = follower.flags[uid]
            follower.flags[uid] = None if before is None else applied(before, operation, flags)
        word = f"{operation}FLAGS{'.SILENT' if silent else ''}"
        _, answer = await self.do(follower, f"{prefix}STORE {named}{since} {word} {sent}")
        if follower.read_only:
            assert answer.startswith("NO [READ-ONLY]"), answer
            return
        if failed:
            assert f"[MODIFIED {Ranges.from_sorted(sorted(numbers.values()))}]" in answer, answer
        assert answer.startswith("OK") or (len(live) < len(uids) and not prefix), answer
        for uid in knew if silent else ():
            assert "FLAGS (" not in follower.fetched.get(uid, ""), "it is told what it has just set"
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
        originals = [box.messages[uid] for uid in copied]
        new = [target.add(each.flags, each.subject, each.size) for each in originals]
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

    async def _changes(self, follower: Follower) -> None:
        """RFC 7162 §3.1.4.1, §3.2.6: what has changed since, and with QRESYNC what has gone."""
        box = follower.box
        if box is None or not follower.uids:
            return
        follower.enabled |= {"CONDSTORE"}
        since, known = self._dice.choice(box.stood), dict(follower.modseqs)
        by_uid = follower.uid_only or self._dice.random() < 0.5
        vanished = by_uid and "QRESYNC" in follower.enabled and since > 0 and self._dice.random() < 0.5
        modifier = f"(CHANGEDSINCE {since}{' VANISHED' if vanished else ''})"
        asked = list(follower.uids)
        lines, answer = await self.do(follower, f"{'UID ' if by_uid else ''}FETCH 1:* (FLAGS) {modifier}")
        assert answer.startswith("OK" if by_uid or all(uid in box.messages for uid in asked) else "NO [EXPUNGE"), answer
        if vanished:
            # The session's `*` is the last it told of; VANISHED itself tells what went since the last command.
            told = {*asked}.difference(follower.uids)
            expunged = {uid: at for uid, at in box.expunged.items() if uid <= asked[-1] and uid not in told}
            self._vanished(expunged, box, since, lines)
        for uid in asked:
            message = box.messages.get(uid)
            if message is not None and message.modseq > since:
                self._is_as_asked(follower.fetched[uid], "FLAGS MODSEQ", box, uid)
            elif message is not None and known.get(uid, 0) >= message.modseq:
                assert uid not in follower.fetched, (uid, since, message)

    async def _count(self, follower: Follower) -> None:
        """STATUS, of the mailbox that is selected too: it is as the mailbox stands."""
        name = self._dice.choice(BOXES)
        lines, answer = await self.do(follower, f"STATUS {name} ({COUNTERS})")
        assert answer.startswith("OK"), answer
        (line,) = [line for line in lines if line.startswith("STATUS")]
        assert counted(line) == self.boxes[name].counters()

    async def _search(self, follower: Follower) -> None:
        box, dice = follower.box, self._dice
        if box is None:
            return
        key, holds = searches.key(dice, follower, box, WORDS, self.names)
        uid = follower.uid_only or dice.random() < 0.5
        known = list(follower.uids)  # results are in the numbers of before the updates
        expected = [each for each in known if each in box.messages and holds(each)]
        numbers = expected if uid else [known.index(each) + 1 for each in expected]
        modseqs = [box.messages[each].modseq for each in expected] if "MODSEQ" in key else []
        options, save = [], False
        if dice.random() < 0.5:
            options, save = dice.sample(searches.RETURNS, dice.randint(0, 4)), dice.random() < 0.5
        asked = f"RETURN ({' '.join([*options, *['SAVE'][: int(save)]])}) " if options or save else ""
        lines, answer = await self.do(follower, f"{'UID ' if uid else ''}SEARCH {asked}{key}")
        assert answer.startswith("OK"), answer
        found = [line for line in lines if line.startswith("ESEARCH")]
        if save:
            follower.saved = frozenset(expected[place] for place in searches.picked(options, len(expected)))
        if options:
            searches.returned(found[0], options, numbers, modseqs)
        elif save:
            assert not found, found  # RFC 5182 §2.1
        else:
            searches.plain(lines, numbers, modseqs)

    async def _sort(self, follower: Follower) -> None:
        box, known = follower.box, list(follower.uids)
        if box is None:
            return
        key, holds = searches.key(self._dice, follower, box, WORDS, self.names)
        (by, ordered), uid = searches.ordering(self._dice, box), follower.uid_only or self._dice.random() < 0.5
        expected = ordered([each for each in known if each in box.messages and holds(each)])
        lines, answer = await self.do(follower, f"{'UID ' if uid else ''}SORT ({by}) UTF-8 {key}")
        assert answer.startswith("OK"), answer
        (line,) = [line for line in lines if line.startswith("SORT")]
        numbers = [each if uid else known.index(each) + 1 for each in expected]
        assert [int(word) for word in line.partition(" (")[0].split()[1:]] == numbers, (line, numbers)


_ACTIONS: list[tuple[Callable[[Play, Follower], object], int]] = [
    (Play._store, 30),
    (Play._append, 15),
    (Play._copy, 15),
    (Play._fetch, 15),
    (Play._search, 15),
    (Play._sort, 5),
    (Play._noop, 10),
    (Play._expunge, 8),
    (Play._idle, 6),
    (Play._leave, 3),
    (Play._replace, 5),
    (Play._changes, 8),
    (Play._count, 4),
]
