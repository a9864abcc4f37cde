"""Changes to many messages at once."""

from bench.work.base import Outcome, Work


class Store(Work):
    """\\Flagged on all messages, then off: every message changes twice."""

    name = "store-flags"
    title = "STORE 1:* +FLAGS, -FLAGS"

    async def prepare(self) -> None:
        self._client = await self.place.login(await self.place.full_mailbox())
        await self._client.command(b"SELECT INBOX")

    async def run(self) -> Outcome:
        await self._client.command(rb"STORE 1:* +FLAGS (\Flagged)")
        await self._client.command(rb"STORE 1:* -FLAGS (\Flagged)")
        return Outcome(2 * self.sizes.mailbox)

    async def finish(self) -> None:
        self._client.close()


class Copy(Work):
    """A large COPY into a fresh mailbox."""

    name = "copy"
    title = "COPY of 4 KB messages"

    async def prepare(self) -> None:
        self._client = await self.place.login(await self.place.full_mailbox())
        self._target = f"copies-{self.place.random.randrange(10**9)}".encode()
        await self._client.command(b"CREATE " + self._target)
        await self._client.command(b"SELECT INBOX")

    async def run(self) -> Outcome:
        await self._client.command(b"COPY 1:%d %b" % (self.sizes.copied, self._target))
        return Outcome(self.sizes.copied)

    async def finish(self) -> None:
        await self._client.command(b"DELETE " + self._target)
        self._client.close()
