"""FETCH over the full mailbox."""

from bench.work.base import Outcome, Work


class _Fetch(Work):
    items: bytes

    async def prepare(self) -> None:
        self._client = await self.place.login(await self.place.full_mailbox())
        await self._client.command(b"SELECT INBOX")

    @property
    def messages(self) -> int:
        return self.sizes.mailbox

    async def run(self) -> Outcome:
        answer = await self._client.command(b"FETCH 1:%d %b" % (self.messages, self.items))
        found = answer.count(b" FETCH (")
        assert found == self.messages, f"{found} of {self.messages} answers"
        return Outcome(self.messages)

    async def finish(self) -> None:
        self._client.close()


class FetchFlags(_Fetch):
    name = "fetch-flags"
    title = "FETCH 1:* FLAGS"
    items = b"(FLAGS)"


class FetchStructure(_Fetch):
    name = "fetch-structure"
    title = "FETCH 1:* (ENVELOPE BODYSTRUCTURE)"
    items = b"(ENVELOPE BODYSTRUCTURE)"


class FetchBodies(_Fetch):
    name = "fetch-bodies"
    title = "FETCH BODY.PEEK[], 4 KB each"
    items = b"(BODY.PEEK[])"

    @property
    def messages(self) -> int:
        return self.sizes.bodies
