"""A process with a runner, to be killed: `python -m tests.support.outbound_process URI DATABASE SLOT PORT`.

Its courier asks a ledger: it says `TAKE slot subject recipients` and waits for one line, a code for each recipient;
so the ledger knows what "other servers" have taken.
"""

import asyncio
import sys
from collections.abc import Sequence

from duckmail.model.queue import Destination, Letter, Outcome, QueueRecipient
from tests.support.outbound import World, outbound


class LedgerCourier(World):
    def __init__(self, port: int, slot: str) -> None:
        super().__init__()
        self._port, self._slot = port, slot

    async def send(
        self, destination: Destination, letter: Letter, recipients: Sequence[QueueRecipient]
    ) -> list[Outcome]:
        octets = b"".join([piece async for piece in letter.content.read()])
        subject = octets.partition(b"Subject: ")[2].partition(b"\r\n")[0].decode().replace(" ", "-")
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            names = ",".join(recipient.address for recipient in recipients)
            writer.write(f"TAKE {self._slot} {subject} {names}\n".encode())
            answer = (await reader.readline()).decode().split()
            writer.close()
        except OSError:
            answer = []
        if len(answer) != len(recipients):
            return [Outcome(r.address, 0, "4.4.2", "No answer", ambiguous=True) for r in recipients]
        return [
            Outcome(r.address, int(code), f"{code[0]}.0.0", "said", "relay.test")
            for r, code in zip(recipients, answer, strict=True)
        ]


async def main(uri: str, database: str, slot: str, port: str) -> None:
    async with outbound(uri, database, LedgerCourier(int(port), slot), slot=slot, schedule=(0.1,) * 40):
        print("running", flush=True)
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
