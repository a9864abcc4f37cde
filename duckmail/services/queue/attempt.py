"""One look at one message: every recipient that is due is tried once, and what came of it is recorded."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

from duckmail.errors import DuckmailError, InUse, TemporaryError
from duckmail.mime.dsn import Action
from duckmail.mime.header import Lookup, decode
from duckmail.model.account import User
from duckmail.model.queue import CannotFit, Letter, Notify, Origin, Outcome, QueueRecipient, State
from duckmail.model.trace import Step, story_id
from duckmail.runtime import metrics
from duckmail.runtime.batch import Batched
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.dkim.signer import Signer
from duckmail.services.queue.attempttrace import attempted
from duckmail.services.queue.local import LocalCourier
from duckmail.services.queue.remote import Remote
from duckmail.services.queue.reports import Reports
from duckmail.services.queue.routing import NO_ROUTE, Local, Refused, Route, Router, Stranded
from duckmail.services.queue.schedule import JITTER, Schedule
from duckmail.services.queue.sendable import Sendable
from duckmail.services.queue.slots import Slots
from duckmail.services.srs import SenderRewriting
from duckmail.services.tracing import Tracing
from storage.contents.stored import StoredContent
from storage.mongo.client import Document
from storage.queue import Claim
from storage.store import Store

TOGETHER = timedelta(seconds=30)  # what is due so soon goes with the rest
SEND_SECONDS = 3600.0  # one transaction, whatever the courier does
BUSY = timedelta(seconds=30)  # at least, until a busy host is asked again
# RFC 5321 §4.5.3.1.8: a server takes at least 100 recipients; more of them are several transactions.
MOST_RECIPIENTS = 100
# RFC 5321 §6.3: loops are found by counting Received lines, with a large threshold.
MOST_RECEIVED = 50
HEADER_LIMIT = 256 * 1024  # octets in which they are counted
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0  # seconds before a result is recorded again

_logger = logging.getLogger("duckmail.queue")

_OUTCOMES = {State.DELIVERED: "delivered", State.RELAYED: "relayed", State.FAILED: "failed", State.WAITING: "deferred"}

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Tools:
    """What attempts work with."""

    store: Store
    router: Router
    local: LocalCourier
    remote: Remote
    slots: Slots
    reports: Reports
    schedule: Schedule
    contents: Batched[str, StoredContent]
    signer: Signer
    users: Batched[str, User]
    rewriting: SenderRewriting
    threads: Pool
    budget: OctetBudget
    tracing: Tracing | None = None  # told what came of each attempt


class Attempt:
    """`claim`: what makes the message ours alone while this runs."""

    def __init__(self, tools: Tools, claim: Claim) -> None:
        self.claim = claim
        self._tools = tools
        self._message = claim.message
        self._recipients = list(claim.message.recipients)
        self._unrecorded: set[int] = set()  # positions
        self._successes: set[int] = set()  # of those: the sender asked to be told
        self._sending = 0
        self._scopes: set[asyncio.Timeout] = set()
        self._stopped = False
        self.reported = False  # what became of it put a report into the queue
        self._message_id = ""
        self._letter: Letter | None = None
        self._signed: Letter | None = None  # what other servers get
        self._forwarded: Letter | None = None  # and what those get that nobody has named as his own relay
        self._unfit: Outcome | None = None  # it has no form that any server takes
        self._loops = False
        # The same for all, so that what failed together is tried together.
        self._factor = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 -- no secret

    def stop(self) -> None:
        """Breaks off what is being sent, which is no attempt then; what is known is still recorded."""
        self._stopped = True
        for scope in self._scopes:
            if not scope.expired():
                scope.reschedule(0)

    async def run(self) -> None:
        """Raises: LeaseLost; Unavailable: nothing was tried."""
        async with AsyncExitStack() as held:
            await self._try(held)
        await self._finish()

    async def _try(self, held: AsyncExitStack) -> None:
        soon = datetime.now(UTC) + TOGETHER
        due = [
            (position, recipient.address, recipient.via)
            for position, recipient in enumerate(self._recipients)
            if recipient.state is State.WAITING and (recipient.due is None or recipient.due <= soon)
        ]
        if due:
            routes = await self._tools.router.route(due, await self._relay())
            if self._tools.tracing or any(not isinstance(route, Stranded | Refused) for route in routes):
                await self._load()
            if any(not isinstance(route, Local | Stranded | Refused) for route in routes):
                await self._sign(held)
            groups = [
                (route, positions[start : start + MOST_RECIPIENTS])
                for route, positions in routes.items()
                for start in range(0, len(positions), MOST_RECIPIENTS)
            ]
            await self._all(groups)

    async def _relay(self) -> str:
        """Of the account that the message is of; reports about its mail are this server's. Raises: Unavailable."""
        message = self._message
        if not message.user or message.origin is Origin.REPORT:
            return ""
        user = await self._tools.users.get(message.user)
        return user.mta_relay if user is not None else ""

    async def _all(self, groups: Sequence[tuple[Route, Sequence[int]]]) -> None:
        self._sending = len(groups)
        try:
            async with asyncio.TaskGroup() as tasks:
                for route, positions in groups:
                    tasks.create_task(self._group(route, positions))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    async def _load(self) -> None:
        message = self._message
        content = await self._tools.contents.get(message.content)
        if content is None:
            # Damage from outside: the schedule runs on, so that the sender is told in the end.
            event(_logger, logging.ERROR, "a content is missing", id=message.id, content=message.content)
            return
        block = message.prefix
        async for piece in content.read(0, min(content.header_size, HEADER_LIMIT)):
            block += piece
        self._message_id = decode(Lookup(block).first(b"message-id") or b"")
        self._loops = sum(1 for _ in Lookup(block).spans(b"received")) > MOST_RECEIVED
        # RFC 8689 §4: any other value, and a second field, is as none.
        waived = [body.strip().lower() for body in Lookup(block).all(b"tls-required")] == [b"no"]
        self._letter = Letter(
            message.envelope, message.size, message.prefix, content, message.id, message.user, tls_waived=waived
        )

    async def _sign(self, held: AsyncExitStack) -> None:
        if self._letter is None or self._loops:
            return
        tools = self._tools
        sendable = Sendable(
            self._message, self._letter, signer=tools.signer, threads=tools.threads, budget=tools.budget
        )
        try:
            signed = await (await held.enter_async_context(sendable)).first()
            self._forwarded = await tools.rewriting.letter(self._message, signed)
            self._signed = signed
        except CannotFit as error:
            self._unfit = Outcome("", 554, error.status, error.text)
        except DuckmailError as error:
            # Without its signature it might be taken for a forgery, and refused for ever.
            event(_logger, logging.ERROR, "not signed", id=self._message.id, fields=error.fields)

    # -- one transaction -------------------------------------------------------------------------------------------

    async def _group(self, route: Route, positions: Sequence[int]) -> None:
        if isinstance(route, Stranded):
            for position in positions:
                self._change(position, replace(self._recipients[position], due=None, reply=NO_ROUTE, status="4.4.4"))
            self._trace([self._recipients[position] for position in positions])
        else:
            left = await self._transaction(route, positions)
            while left:
                await self._record_taken()
                left = await self._transaction(route, left)
        self._sending -= 1
        if self._sending:  # the last one is recorded with the rest
            await self._record_taken()

    async def _transaction(self, route: Route, positions: Sequence[int]) -> list[int]:
        """Settles all but those for whom another transaction has to be begun, which it gives."""
        begun = time.monotonic()
        outcomes = await self._outcomes(route, positions)
        # RFC 5321 §4.5.3.1.10: 452 to a recipient behind others concerns their number, and not him. The server has to
        # have said something to one of those, but that it has no time.
        goes_on = any(outcome.code not in (0, 421) and not (outcome.full or outcome.early) for outcome in outcomes)
        left: list[int] = []
        settled: list[tuple[int, Outcome]] = []
        for position, outcome in zip(positions, outcomes, strict=False):
            if goes_on and outcome.full:
                left.append(position)
                continue
            self._settle(position, outcome, State.DELIVERED if isinstance(route, Local) else State.RELAYED)
            settled.append((position, outcome))
        self._log([each[0] for each in settled], [each[1] for each in settled], time.monotonic() - begun)
        return left

    async def _outcomes(self, route: Route, positions: Sequence[int]) -> list[Outcome]:
        """One per recipient, in order; none at all when this was no attempt."""
        recipients = [self._recipients[position] for position in positions]
        try:
            async with asyncio.timeout(SEND_SECONDS) as scope:
                self._scopes.add(scope)
                if self._stopped:
                    scope.reschedule(0)
                try:
                    return await self._send(route, recipients)
                finally:
                    self._scopes.discard(scope)
        except TimeoutError:
            if not self._stopped:
                return [Outcome(r.address, 0, "4.4.2", "No end within an hour", ambiguous=True) for r in recipients]
        except InUse:  # the host is busy
            self._put_off(positions)
        except Exception as error:  # one group's trouble must not break off the others
            level = logging.WARNING if isinstance(error, DuckmailError) else logging.ERROR
            event(_logger, level, "attempt put off", id=self._message.id, exc_info=error)
            self._put_off(positions)
        return []

    def _put_off(self, positions: Sequence[int]) -> None:
        due = datetime.now(UTC) + BUSY * (1 + self._factor)
        for position in positions:
            self._change(position, replace(self._recipients[position], due=due))

    async def _send(self, route: Route, recipients: Sequence[QueueRecipient]) -> list[Outcome]:
        """Raises: DuckmailError: nothing was sent."""
        if isinstance(route, Refused):
            return [replace(route.outcome, address=recipient.address) for recipient in recipients]
        if isinstance(route, Stranded):
            raise TypeError("there is no way to send it")
        if self._letter is None:
            return [Outcome(r.address, 0, "4.3.0", "The message cannot be read") for r in recipients]
        if self._loops:
            return [
                Outcome(r.address, 554, "5.4.6", "Too many Received lines: it goes round in circles")
                for r in recipients
            ]
        if isinstance(route, Local):
            async with self._tools.slots.take():
                return await self._tools.local.deliver(self._message, self._letter, recipients)
        if self._unfit is not None:
            return [replace(self._unfit, address=recipient.address) for recipient in recipients]
        letter = self._signed if recipients[0].via else self._forwarded
        if letter is None:
            return [Outcome(r.address, 0, "4.7.5", "The message cannot be signed for now") for r in recipients]
        return await self._tools.remote.send(route, letter, recipients)

    def _settle(self, position: int, outcome: Outcome, taken: State) -> None:
        settled = self._tools.schedule.settle(
            self._recipients[position],
            outcome,
            taken,
            created=self._message.created,
            now=datetime.now(UTC),
            factor=self._factor,
        )
        # RFC 3461 §5.2.2: a next hop that knows DSN reports itself.
        if outcome.accepted and Notify.SUCCESS in settled.notify and not outcome.dsn:
            self._successes.add(position)
        self._change(position, settled)
        metrics.ATTEMPTS["ambiguous" if outcome.ambiguous else _OUTCOMES[settled.state]].inc()

    def _change(self, position: int, recipient: QueueRecipient) -> None:
        self._recipients[position] = recipient
        self._unrecorded.add(position)

    def _trace(self, settled: Sequence[QueueRecipient], outcomes: Sequence[Outcome] = (), seconds: float = 0.0) -> None:
        if self._tools.tracing is not None:
            about = attempted(self._message, settled, outcomes, seconds)
            name = story_id(self._message_id, self._message.content)
            self._tools.tracing.note(Step.ATTEMPT, name, self._message.user, about)

    def _log(self, positions: Sequence[int], outcomes: Sequence[Outcome], seconds: float) -> None:
        if not outcomes:
            return
        settled = [self._recipients[position] for position in positions]
        self._trace(settled, outcomes, seconds)
        event(
            _logger,
            logging.INFO,
            "attempt",
            id=self._message.id,
            sender=self._message.envelope.sender,
            recipients=[recipient.address for recipient in settled],
            results=dict(Counter(_OUTCOMES[recipient.state] for recipient in settled)),
            codes=dict(Counter(outcome.code for outcome in outcomes)),
            ambiguous=sum(outcome.ambiguous for outcome in outcomes),
            host=outcomes[0].host,
            reply=settled[0].reply,
            ms=round(seconds * 1000, 1),
        )

    # -- recording -------------------------------------------------------------------------------------------------

    async def _record_taken(self) -> None:
        """Those who have it now, while others are still being tried: were this process to die, they would get it again.

        Raises: LeaseLost.
        """
        taken = {p for p in self._unrecorded if self._recipients[p].state in (State.DELIVERED, State.RELAYED)}
        if not taken:
            return
        self._unrecorded -= taken
        told = sorted(taken & self._successes)
        self._successes -= taken
        now = datetime.now(UTC)
        reports = await self._reports([(Action.DELIVERED, [self._recipients[position] for position in told])], now)
        changed = {position: self._recipients[position] for position in taken}
        await self._surely(lambda: self._tools.store.queue.record(self.claim, changed, reports))
        self._count(reports)

    async def _finish(self) -> None:
        """Raises: LeaseLost."""
        now = datetime.now(UTC)
        changed = sorted(self._unrecorded)
        late = [p for p in changed if self._tools.schedule.delayed(self._recipients[p], self._message.created, now)]
        for position in late:
            self._recipients[position] = replace(self._recipients[position], delayed=True)
        failed = [p for p in changed if _failed(self._recipients[p])]
        about = [
            (Action.DELIVERED, [self._recipients[position] for position in sorted(self._successes)]),
            (Action.FAILED, [self._recipients[position] for position in failed]),
            (Action.DELAYED, [self._recipients[position] for position in late]),
        ]
        reports = await self._reports(about, now)
        finish = self._tools.store.queue.finish
        await self._surely(lambda: finish(self.claim, self._recipients, changed, reports))
        self._count(reports)

    def _count(self, reports: Sequence[Document]) -> None:
        metrics.QUEUED["report"].inc(len(reports))
        self.reported = self.reported or bool(reports)

    async def _reports(self, about: Sequence[tuple[Action, list[QueueRecipient]]], now: datetime) -> list[Document]:
        made: list[Document] = []
        for action, recipients in about:
            try:
                report = await self._surely(partial(self._tools.reports.make, self._message, action, recipients, now))
            except Exception:
                # A report that cannot be made must not make us forget who has the message: he would get it again.
                event(_logger, logging.ERROR, "no report", exc_info=True, id=self._message.id, action=action.value)
                continue
            if report is not None:
                made.append(report)
        return made

    async def _surely(self, work: Callable[[], Awaitable[T]]) -> T:
        """Until it is done, for what a remote server has said is nowhere else; or until it can never be."""
        wait = FIRST_WAIT
        while True:
            try:
                return await work()
            except TemporaryError as error:
                event(_logger, logging.WARNING, "not recorded yet", id=self._message.id, fields=error.fields)
            await asyncio.sleep(wait)
            wait = min(LONGEST_WAIT, wait * 2)


def _failed(recipient: QueueRecipient) -> bool:
    return recipient.state is State.FAILED and Notify.FAILURE in recipient.notify
