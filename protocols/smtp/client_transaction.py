"""One message to one server: MAIL, RCPT, DATA, and what came of it for each recipient."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from duckmail.errors import DuckmailError
from duckmail.model.queue import TOO_MANY, CannotFit, Letter, Outcome, QueueRecipient
from protocols.smtp.client_connection import VERIFIED, Failed, SmtpConnection
from protocols.smtp.wire.client_commands import mail_line, needs_utf8, rcpt_line
from protocols.smtp.wire.client_data import DataWriter
from protocols.smtp.wire.client_replies import enhanced, words
from protocols.smtp.wire.reply import CommandError, Reply

# Commands in one write (RFC 2920): more would gain nothing, and few enough that their replies always find room here,
# so that neither side waits for the other to read.
WINDOW = 100
BLOCK = 64 * 1024  # octets of a message in one write, about

_DATA = b"DATA\r\n"


@dataclass(frozen=True, slots=True)
class _Step:
    """A command, and what its reply is given to."""

    command: bytes
    name: str
    timeout: float
    answered: Callable[[Reply], None]


async def transact(connection: SmtpConnection, letter: Letter, recipients: Sequence[QueueRecipient]) -> list[Outcome]:
    """Sends `letter`; gives one outcome per recipient, in order. The connection may be `broken` after it.

    Raises:
        Whatever reading the content raises. The connection has to be aborted then: the message is cut off within.
    """
    return await _Transaction(connection, letter, recipients).run()


class _Transaction:
    def __init__(self, connection: SmtpConnection, letter: Letter, recipients: Sequence[QueueRecipient]) -> None:
        self._connection = connection
        self._offered = connection.extensions
        self._letter = letter
        self._recipients = recipients
        self._outcomes: dict[int, Outcome] = {}  # by place in `recipients`
        self._accepted: list[int] = []  # places that RCPT was accepted for
        self._mail_refused = False
        self._go_ahead = False  # 354 was said
        self._sent_whole = False
        self._offers_too_little = False  # another server of the domain may do
        # RFC 6531 §3.4: asked for when the message has it, or when an address does.
        self._utf8 = letter.envelope.smtputf8 or any(
            needs_utf8(address) for address in (letter.envelope.sender, *(one.address for one in recipients))
        )
        if not self._offered.offers("SMTPUTF8"):
            self._utf8 = False

    async def run(self) -> list[Outcome]:
        try:
            await self._converse()
        except CommandError as error:
            self._settle(self._undecided(), error.reply, ours=True, early=self._offers_too_little)
        except Failed as failure:
            self._fail(failure)
        return [self._outcomes[place] for place in range(len(self._recipients))]

    async def _converse(self) -> None:
        await self._fit()
        await self._check_message()
        steps = self._steps()
        if self._undecided():
            await self._envelope(steps)
            if self._go_ahead:
                await self._data()

    # What the server cannot take is not sent

    async def _fit(self) -> None:
        """Puts the message into a form that this server's extensions allow for. Raises CommandError."""
        letter, offered = self._letter, self._offered
        eight_bit, utf8 = offered.offers("8BITMIME"), offered.offers("SMTPUTF8")
        lacking = letter.envelope.smtputf8 and not utf8
        lacking = lacking or (letter.envelope.body == "8BITMIME" and not eight_bit and not await self._is_ascii())
        if letter.fitting is None or not lacking:
            return
        try:
            fitting = await letter.fitting(eight_bit=eight_bit, utf8=utf8)
        except CannotFit as error:
            raise CommandError(554, error.status, f"{self._connection.host} cannot take it: {error.text}") from None
        except DuckmailError as error:
            raise CommandError(451, "4.3.0", error.text) from None
        # The sender is the one of this way: what is forwarded has another one.
        self._letter = replace(fitting, envelope=replace(fitting.envelope, sender=letter.envelope.sender))

    async def _check_message(self) -> None:
        """Raises CommandError for a message that this server's extensions do not allow for."""
        letter, offered, host = self._letter, self._offered, self._connection.host
        if letter.envelope.requiretls and not (self._connection.security == VERIFIED and offered.offers("REQUIRETLS")):
            # RFC 8689 §4.2.1: not sent to a server that does not promise to keep it under TLS.
            self._offers_too_little = True
            raise CommandError(550, "5.7.30", f"{host} does not support REQUIRETLS")
        if offered.size_limit and letter.size > offered.size_limit:
            raise CommandError(552, "5.3.4", f"{host} takes messages of at most {offered.size_limit} octets")
        if (letter.envelope.smtputf8 or needs_utf8(letter.envelope.sender)) and not self._utf8:
            raise CommandError(550, "5.6.7", f"{host} does not support internationalized mail (SMTPUTF8)")
        if letter.envelope.body == "BINARYMIME":
            raise CommandError(554, "5.6.3", "Binary content cannot be sent on")
        if letter.envelope.body == "8BITMIME" and not offered.offers("8BITMIME") and not await self._is_ascii():
            raise CommandError(554, "5.6.3", f"{host} does not support 8-bit content (8BITMIME)")

    async def _is_ascii(self) -> bool:
        """Clients declare 8BITMIME for everything; what has no such octet is 7-bit mail all the same (RFC 6152 §3)."""
        async for piece in self._letter.content.read():
            if not piece.isascii():
                return False
        return self._letter.prefix.isascii()

    # MAIL, RCPT, DATA

    def _steps(self) -> list[_Step]:
        """The commands; recipients that must not be sent to get their outcome here. Raises CommandError."""
        settings = self._connection.settings
        mail = mail_line(self._letter.envelope, self._letter.size, self._utf8, self._offered)
        steps = [_Step(mail, "MAIL", settings.command_timeout, self._mail_answered)]
        # RFC 9422 §5: what is over the server's limit is not even offered; it is as if it had said 452.
        most = self._offered.most_recipients
        for place, recipient in enumerate(self._recipients):
            if most and len(steps) > most:
                self._settle([place], Reply(452, TOO_MANY, (f"One transaction takes {most} recipients",)))
                continue
            try:
                command = rcpt_line(recipient, self._utf8, self._offered)
            except CommandError as error:
                self._settle([place], error.reply, ours=True)
                continue
            steps.append(_Step(command, "RCPT", settings.command_timeout, partial(self._rcpt_answered, place)))
        return [*steps, _Step(_DATA, "DATA", settings.data_timeout, self._data_answered)]

    async def _envelope(self, steps: Sequence[_Step]) -> None:
        """Sends the commands, as many at once as the server allows, and takes in the replies."""
        window = WINDOW if self._offered.offers("PIPELINING") else 1
        for start in range(0, len(steps), window):
            batch = steps[start : start + window]
            if self._mail_refused or (batch[0].command == _DATA and not self._accepted):
                return
            commands = b"".join(step.command for step in batch)
            await self._connection.send(commands, batch[0].timeout, batch[0].name)
            for step in batch:
                step.answered(await self._connection.reply(step.timeout, step.name))

    def _mail_answered(self, answer: Reply) -> None:
        if answer.code < 400:
            self._expect(answer, 2, "MAIL")
            return
        self._mail_refused = True
        self._settle(self._undecided(), answer)

    def _rcpt_answered(self, place: int, answer: Reply) -> None:
        if self._mail_refused:
            return
        if answer.code < 400:
            self._expect(answer, 2, "RCPT")
            self._accepted.append(place)
            return
        # RFC 5321 §4.5.3.1.10: 552 for RCPT once meant too many recipients, and is to be taken for 452.
        if answer.code == 552 and answer.status in {"", "5.5.3"}:
            answer = Reply(452, TOO_MANY, answer.lines)
        self._settle([place], answer)

    def _data_answered(self, answer: Reply) -> None:
        if answer.code < 400:
            self._expect(answer, 3, "DATA")
            self._go_ahead = True
            return
        self._settle(self._undecided(), answer)

    def _expect(self, answer: Reply, kind: int, name: str) -> None:
        if answer.code // 100 != kind:
            raise self._connection.unexpected(answer, name)

    # The message

    async def _data(self) -> None:
        connection, end_timeout = self._connection, self._connection.settings.end_timeout
        if not self._accepted:
            # RFC 2920 §3.1: 354 although no recipient was accepted; the empty message goes nowhere.
            await connection.send(b".\r\n", connection.settings.block_timeout, "the end of the message")
            await connection.reply(end_timeout, "the end of the message")
            return
        last = await self._all_but_the_last()
        await asyncio.sleep(0)  # a loss that freed what was being written is told in the loop's next turn
        await self._check_uninterrupted()
        # From here on the server may have all of it, whether or not its answer comes through.
        self._sent_whole = True
        await connection.send(last, connection.settings.block_timeout, "the end of the message")
        answer = await connection.reply(end_timeout, "the end of the message")
        if answer.code < 400:
            self._expect(answer, 2, "the end of the message")
        self._settle(self._undecided(), answer)

    async def _all_but_the_last(self) -> bytes:
        """Sends the message but for its last block, which it gives with the final dot behind it."""
        writer = DataWriter()
        block = bytearray(writer.feed(self._letter.prefix))
        async for piece in self._letter.content.read():
            block += writer.feed(piece)
            if len(block) >= BLOCK:
                await self._check_uninterrupted()
                await self._connection.send(bytes(block), self._connection.settings.block_timeout, "the message")
                block.clear()
        block += writer.finish()
        return bytes(block)

    async def _check_uninterrupted(self) -> None:
        """Raises Failed with the reply of a server that speaks within the data: it will not take the rest."""
        connection = self._connection
        if not connection.interrupted:
            return
        answer = await connection.reply(connection.settings.block_timeout, "the message")
        if answer.code < 400:
            raise connection.unexpected(answer, "the message")
        connection.broken = True  # it waits for the rest of the data, and will not get it
        raise Failed.by(answer)

    # Outcomes

    def _undecided(self) -> list[int]:
        return [place for place in range(len(self._recipients)) if place not in self._outcomes]

    def _settle(self, places: Sequence[int], answer: Reply, ours: bool = False, early: bool = False) -> None:
        """The same outcome for all of `places`. `ours`: the words are not the server's. `early`: as of `Outcome`."""
        host = "" if ours else self._connection.host
        # RFC 3461 §5.2.2: a server that offers DSN and accepted the recipient goes on with the duty to report.
        dsn = answer.code < 300 and self._offered.offers("DSN")
        for place in places:
            address = self._recipients[place].address
            self._outcomes[place] = Outcome(
                address, answer.code, enhanced(answer), words(answer), host, dsn=dsn, early=early
            )

    def _fail(self, failure: Failed) -> None:
        """The outcome of whoever has none yet, when the session could not go on."""
        ambiguous = self._sent_whole and not failure.code
        for place in self._undecided():
            address, host = self._recipients[place].address, self._connection.host
            self._outcomes[place] = Outcome(address, failure.code, failure.status, failure.text, host, ambiguous)
