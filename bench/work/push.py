"""From the end of DATA to EXISTS in another connection's IDLE."""

import asyncio
import time

from bench.work.base import Outcome, Work

PAUSE = 0.02  # seconds between two deliveries: nothing of the one before is left


class Push(Work):
    name = "push"
    title = "end of DATA to EXISTS in IDLE"

    async def prepare(self) -> None:
        account = self.place.accounts[-1]
        (self._lmtp,) = await self.place.lmtp(1)
        self._imap = await self.place.login(account)
        await self._imap.command(b"SELECT INBOX")
        await self._imap.idle()
        self._address = account.address
        self._mails = [self.place.mails.small() for _ in range(self.sizes.pushes)]

    async def run(self) -> Outcome:
        latencies = []
        loop = asyncio.get_running_loop()
        for mail in self._mails:
            await asyncio.sleep(PAUSE * self.place.random.uniform(0.5, 1.5))
            seen: asyncio.Future[float] = loop.create_future()

            def watch(data: bytes, seen: asyncio.Future[float] = seen) -> None:
                if b" EXISTS" in data and not seen.done():
                    seen.set_result(time.perf_counter())

            self._imap.watch = watch
            begun = time.perf_counter()
            # What counts begins with the end of the message: the dialogue before it is taken out.
            waited = await self._lmtp.deliver(mail, self._address)
            async with asyncio.timeout(60):
                latencies.append(await seen - begun - waited)
        return Outcome(len(latencies), latencies)

    async def finish(self) -> None:
        self._imap.close()
        self._lmtp.close()
