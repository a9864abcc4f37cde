"""A process that sends to a small Internet, to be killed.

`python -m tests.support.internet_process URI DATABASE DNS PORT`
"""

import asyncio
import sys

from duckmail.clients.dns import Dns
from duckmail.clients.http import Http
from duckmail.clients.poster import HttpPoster
from duckmail.runtime.outward import Outward
from duckmail.services.queue.remote import Remote
from duckmail.services.queue.slots import Slots
from duckmail.services.transport.security import Security
from protocols.smtp.client import SmtpCourier
from protocols.smtp.client_settings import SmtpClientSettings, client_contexts
from tests.support.internet import HOSTNAME
from tests.support.outbound import World, outbound


async def main(uri: str, database: str, server: str, port: str) -> None:
    outward, dns, contexts = Outward(["127.0.0.0/8"]), Dns([server]), client_contexts()
    http = Http(outward, dns, contexts.verifying)
    courier = SmtpCourier(SmtpClientSettings(HOSTNAME, outward=outward, messages=50), dns, contexts)

    def remote(slots: Slots, store: object) -> Remote:
        security = Security("may", port=int(port))
        return Remote(courier, HttpPoster(http), dns, slots, security=security, hostname=HOSTNAME)

    async with outbound(
        uri, database, World(), relay=None, mx=True, slot="killed", schedule=(0.1,) * 40, remote=remote
    ):
        print("running", flush=True)
        await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
