"""The clients of a run: relays that deliver until it is acknowledged, workers that change mail, observers that watch.

Each knows what it did and what was answered. When an answer is lost, it looks, and finds the state before or the state
after: anything else is a violation.
"""

import asyncio
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence

from tests.faults.ledger import FLAGS, MAILBOXES, Bag, Box, Gate, Ledger, Msg, Violation, bag, make_message, token_of
from tests.faults.rig import HOST, PASSWORD, Serve
from tests.faults.wire import Answer, Imap, Lmtp, LostError, fetched

RETRY_SECONDS = 0.05
PACE_SECONDS = 0.1  # a worker's longest rest between two changes: clients that never rest starve what starts
AGAIN = 0.1  # how often a relay sends a message that it has delivered once more
HEADER = "BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"
MOST = 25  # messages that a worker keeps in a mailbox


class Actor(ABC):
    def __init__(self, name: str, seed: int, serves: Sequence[Serve], ledger: Ledger, gate: Gate) -> None:
        self.name = name
        self.chance = random.Random(f"{seed}:{name}")
        self.serves = serves
        self.ledger = ledger
        self.gate = gate
        gate.members += 1

    async def run(self) -> None:
        """Until cancelled. Raises: Violation, StuckError."""
        try:
            while True:
                try:
                    await self.turn()
                except LostError:
                    self.lost()
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            self.lost()

    @abstractmethod
    async def turn(self) -> None: ...

    @abstractmethod
    def lost(self) -> None: ...

    def any_serve(self) -> Serve:
        return self.chance.choice(self.serves)


class Relay(Actor):
    """Delivers one message after another to several recipients, each until every one of them is acknowledged."""

    def __init__(
        self, name: str, seed: int, serves: Sequence[Serve], ledger: Ledger, gate: Gate, accounts: Sequence[str]
    ) -> None:
        super().__init__(name, seed, serves, ledger, gate)
        self._accounts = accounts
        self._client: Lmtp | None = None
        self._number = 0
        self._token = ""
        self._left: list[str] = []
        self._all: list[str] = []

    def lost(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None

    async def turn(self) -> None:
        if not self._left:
            await self.gate.passing()
            await asyncio.sleep(self.chance.random() * 0.03)
            self._number += 1
            self._token = f"{self.name}-{self._number}"
            self._all = self.chance.sample(self._accounts, self.chance.randint(1, len(self._accounts)))
            self._left = list(self._all)
        if self._client is None:
            self._client = await Lmtp.connect(self.any_serve().lmtp)
        begun = time.monotonic()
        recipients = list(self._left)
        outcome = await self._deliver(self._client, recipients)
        for account in recipients:
            code, text = outcome[f"{account}@{HOST}"]
            if code == 250 and account in self._left:
                self._left.remove(account)
                self.ledger.delivered[account].add(self._token)
                self.ledger.outcomes["delivery ok"] += 1
            elif code != 250 and not 400 <= code < 500:
                raise Violation(f"{self.name}: {text} for {self._token}")
            elif code != 250:
                self.ledger.outcomes["delivery deferred"] += 1
        if self._left:
            await asyncio.sleep(RETRY_SECONDS)
        else:
            self.ledger.waited("delivery", begun)
            if self.chance.random() < AGAIN:
                await self._again(self._client)

    async def _deliver(self, client: Lmtp, recipients: Sequence[str]) -> dict[str, tuple[int, str]]:
        addresses = [f"{account}@{HOST}" for account in recipients]
        try:
            return await client.deliver("sender@example.com", addresses, make_message(self._token))
        except LostError:
            self.ledger.outcomes["delivery lost"] += 1
            raise

    async def _again(self, client: Lmtp) -> None:
        """As a relay does whose answer was lost on the way: taken, and stored no second time."""
        for _, text in (await self._deliver(client, self._all)).values():
            if not text.startswith(("250", "4")):
                raise Violation(f"{self.name}: {text} for {self._token} once more")
        self.ledger.outcomes["delivery once more"] += 1


class Worker(Actor):
    """Changes the messages it owns in the mailboxes of one account, which other workers use as well."""

    def __init__(self, name: str, seed: int, serves: Sequence[Serve], ledger: Ledger, gate: Gate, account: str) -> None:
        super().__init__(name, seed, serves, ledger, gate)
        self.account = account
        self.boxes: dict[str, Box] = {path: {} for path in MAILBOXES}
        ledger.owned[account][name] = self.boxes
        self._client: Imap | None = None
        self._selected = ""
        self._number = 0
        self._what = ""
        # What may be in the mailboxes concerned, when the answer is not known: the state before, and the one after.
        self._possible: list[dict[str, Bag]] = []
        self._expunging = 0
        self._adopted: set[str] = set()

    def lost(self) -> None:
        if self._client is not None:
            self._client.close()
        self._client = None
        self._selected = ""

    async def turn(self) -> None:
        if self._client is None:
            begun = time.monotonic()
            self._client = await Imap.connect(self.any_serve().imap, self.account, PASSWORD)
            self.ledger.waited("login", begun)
        if self._possible:
            await self._settle(self._client)
        await self.gate.passing()
        await asyncio.sleep(self.chance.random() * PACE_SECONDS)
        actions = [self._append, self._append, self._store, self._store, self._move, self._copy, self._expunge]
        await self.chance.choice([*actions, self._adopt])(self._client)

    # -- what it does ----------------------------------------------------------------------------------------------

    async def _append(self, client: Imap) -> None:
        path = self.chance.choice(MAILBOXES)
        self._number += 1
        msg = Msg(f"{self.name}-{self._number}", self._flags())
        text = f"APPEND {path} ({' '.join(sorted(msg.flags))})"
        after = {path: bag(self.boxes[path]) + Bag([msg])}
        answer = await self._do(client, "append", text, after, make_message(msg.token))
        if answer is not None:
            self.boxes[path][int((answer.code("APPENDUID") or "").split()[1])] = msg

    async def _store(self, client: Imap) -> None:
        path, uids = self._some()
        if not uids:
            return
        await self._select(client, path)
        flags, sign = self._flags() or frozenset({"\\seen"}), self.chance.choice(["+", "-", ""])
        box = dict(self.boxes[path])
        for uid in uids:
            old = box[uid].flags
            new = old | flags if sign == "+" else old - flags if sign == "-" else flags
            box[uid] = Msg(box[uid].token, new)
        silent = self.chance.choice(["", ".SILENT"])
        text = f"UID STORE {_set(uids)} {sign}FLAGS{silent} ({' '.join(sorted(flags))})"
        answer = await self._do(client, "store", text, {path: bag(box)})
        if answer is None:
            return
        self.boxes[path].update(box)
        told = {row.uid: row.flags for row in fetched(answer) if row.uid in uids and row.flags is not None}
        wrong = {uid: flags for uid, flags in told.items() if uid is not None and flags != box[uid].flags}
        if wrong or (not silent and len(told) != len(uids)):
            raise Violation(f"{self.name}: {text} answered {told}")

    async def _move(self, client: Imap) -> None:
        await self._transfer(client, "move")

    async def _copy(self, client: Imap) -> None:
        await self._transfer(client, "copy")

    async def _transfer(self, client: Imap, verb: str) -> None:
        path, uids = self._some()
        target = self.chance.choice(MAILBOXES)
        if not uids or (verb == "copy" and len(self.boxes[target]) >= MOST):
            return
        await self._select(client, path)
        source, messages = dict(self.boxes[path]), [self.boxes[path][uid] for uid in uids]
        if verb == "move":
            for uid in uids:
                del source[uid]
        after = {path: bag(source)}
        after[target] = (bag(source) if target == path else bag(self.boxes[target])) + Bag(messages)
        answer = await self._do(client, verb, f"UID {verb.upper()} {_set(uids)} {target}", after)
        if answer is None:
            return
        code = (answer.code("COPYUID") or "").split()
        if len(code) != 3 or _uids(code[1]) != uids or len(_uids(code[2])) != len(uids):
            raise Violation(f"{self.name}: {verb} of {uids} answered {answer.text}")
        if verb == "move":
            for uid in uids:
                del self.boxes[path][uid]
        self.boxes[target].update(zip(_uids(code[2]), messages, strict=True))

    async def _expunge(self, client: Imap) -> None:
        path, uids = self._some()
        if len(self.boxes[path]) > MOST:
            uids = sorted(self.boxes[path])[: MOST // 2]
        if not uids:
            return
        await self._select(client, path)
        if not any("\\deleted" in self.boxes[path][uid].flags for uid in uids):
            box = dict(self.boxes[path])
            box.update({uid: Msg(box[uid].token, box[uid].flags | {"\\deleted"}) for uid in uids})
            if await self._do(client, "store", f"UID STORE {_set(uids)} +FLAGS (\\Deleted)", {path: bag(box)}) is None:
                return
            self.boxes[path].update(box)
        doomed = [uid for uid in uids if "\\deleted" in self.boxes[path][uid].flags]
        left = {uid: msg for uid, msg in self.boxes[path].items() if uid not in doomed}
        self._expunging = len(doomed)
        if await self._do(client, "expunge", f"UID EXPUNGE {_set(uids)}", {path: bag(left)}) is not None:
            self.boxes[path] = left
            self.ledger.expunged[self.account] += len(doomed)

    async def _adopt(self, client: Imap) -> None:
        """Takes over some of what was delivered, as the one who reads it."""
        waiting = self.ledger.delivered[self.account]
        tokens = list(waiting)[:20]
        if not tokens or len(self.boxes["INBOX"]) > 2 * MOST:
            return
        there = await self._look(client, "INBOX")
        # The other workers of the account do the same, and relays deliver meanwhile.
        wanted = {Msg(token) for token in tokens if token in waiting}
        mine = {uid: msg for uid, msg in there.items() if msg.token in {msg.token for msg in wanted}}
        if bag(mine) != Bag(wanted):
            raise Violation(f"{self.name}: delivered {wanted}, found {mine}")
        for uid, msg in mine.items():
            waiting.discard(msg.token)
            self._adopted.add(msg.token)
            self.boxes["INBOX"][uid] = msg

    # -- how it does it --------------------------------------------------------------------------------------------

    def _flags(self) -> frozenset[str]:
        return frozenset(self.chance.sample(FLAGS, self.chance.randrange(4)))

    def _some(self, extra: int = 0) -> tuple[str, list[int]]:
        """A mailbox and a few of the messages there."""
        path = self.chance.choice(MAILBOXES)
        uids = sorted(self.boxes[path])
        return path, sorted(self.chance.sample(uids, min(len(uids), self.chance.randint(1, 8) + extra)))

    async def _select(self, client: Imap, path: str) -> None:
        if self._selected != path:
            answer = await client.command(f"SELECT {path}")
            if answer.status != "OK":
                raise LostError(answer.text)
            self._selected = path

    async def _do(
        self, client: Imap, what: str, text: str, after: dict[str, Bag], literal: bytes | None = None
    ) -> Answer | None:
        """One change; None when it was refused for now. Raises: LostError with `_possible` set."""
        before = {path: bag(self.boxes[path]) for path in after}
        self._what = f"{what}: {text}"
        self._possible = [before, after]
        begun = time.monotonic()
        try:
            answer = await client.command(text, literal)
        except LostError:
            self.ledger.outcomes[f"{what} lost"] += 1
            raise
        if answer.status == "OK":
            self.ledger.waited(what, begun)
            self.ledger.outcomes[f"{what} ok"] += 1
            self._possible = []
            return answer
        if answer.status == "NO" and "[UNAVAILABLE]" in answer.text:
            # P1: nothing has changed.
            self.ledger.outcomes[f"{what} refused"] += 1
            self._possible = [before]
            await self._settle(client)
            return None
        raise Violation(f"{self.name}: {text} answered {answer.status} {answer.text}")

    async def _settle(self, client: Imap) -> None:
        """Looks what became of the last change: all of it or nothing of it."""
        found = {path: await self._look(client, path) for path in self._possible[0]}
        mine = {path: {uid: msg for uid, msg in box.items() if self._is_mine(msg)} for path, box in found.items()}
        bags = {path: bag(box) for path, box in mine.items()}
        if bags not in self._possible:
            story = [{path: bags[path] - one[path] for path in bags} for one in self._possible]
            lack = [{path: one[path] - bags[path] for path in bags} for one in self._possible]
            raise Violation(f"{self.name} on {self.account}: {self._what}: found too much {story}, too little {lack}")
        done = self._possible.index(bags) == 1
        what = self._what.partition(":")[0]
        if len(self._possible) == 2:
            self.ledger.outcomes[f"{what} lost: {'done' if done else 'not done'}"] += 1
        if what == "expunge" and done:
            self.ledger.expunged[self.account] += self._expunging
        self.boxes.update(mine)
        self._possible = []

    def _is_mine(self, msg: Msg) -> bool:
        return msg.token.startswith(f"{self.name}-") or msg.token in self._adopted

    async def _look(self, client: Imap, path: str) -> Box:
        """Everything in a mailbox, as it is now."""
        answer = await client.command(f"SELECT {path}")
        self._selected = path
        if answer.status == "OK":
            answer = await client.command(f"UID FETCH 1:* (FLAGS {HEADER})")
        if answer.status != "OK":
            raise LostError(answer.text)
        # A flag change that is told beside the answer brings no header: the newer flags of a message count.
        box: Box = {}
        for row in fetched(answer):
            if row.uid is None or row.flags is None:
                continue
            token = token_of(row.literals[0]) if row.literals else box[row.uid].token if row.uid in box else ""
            if token:
                box[row.uid] = Msg(token, row.flags)
        return box


def _set(uids: Sequence[int]) -> str:
    return ",".join(map(str, uids))


def _uids(text: str) -> list[int]:
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition(":")
        found += range(int(first), int(last or first) + 1)
    return found
