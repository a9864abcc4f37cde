"""REQUIRETLS at the MX listener (RFC 8689): announced under TLS, and kept with whatever goes on from here."""

from collections.abc import AsyncIterator

import pytest

from tests.support.mx import MxHouse, message, shared_mx
from tests.support.submission import Sent


@pytest.fixture(scope="module")
async def shared(mongo_uri: str) -> AsyncIterator[MxHouse]:
    async with shared_mx(mongo_uri) as opened:
        yield opened


async def sent(house: MxHouse, subject: str, *, mail: str = " REQUIRETLS", rcpt: str = "") -> list[Sent]:
    """What is queued after a message to an address that forwards."""
    await house.house.store.database["queue"].delete_many({})
    async with house.session(tls=True) as client:
        await client.replies("220 ")
        offered = await client.ask("EHLO client.good.example")
        assert "REQUIRETLS" in offered
        for line in (f"MAIL FROM:<a@good.example>{mail}", f"RCPT TO:<team@example.com>{rcpt}"):
            assert (await client.ask(line)).startswith("250")
        assert (await client.ask("DATA")).startswith("354")
        await client.octets(message(subject) + b".\r\n")
        assert (await client.reply()).startswith("250")
    return await house.queued()


async def test_it_is_not_offered_in_the_clear(shared: MxHouse) -> None:
    async with shared.session(tls_available=True) as client:
        await client.replies("220 ")
        assert "REQUIRETLS" not in await client.ask("EHLO client.good.example")
        # RFC 8689 §4.2: who says it all the same is refused, and the message is not sent.
        assert (await client.ask("MAIL FROM:<a@good.example> REQUIRETLS")).startswith("555 ")


@pytest.mark.parametrize(("mail", "kept"), [(" REQUIRETLS", True), ("", False)])
async def test_what_goes_on_goes_on_so(shared: MxHouse, mail: str, kept: bool) -> None:
    """RFC 8689 §5, §6: the forwarded message, and the report on it."""
    forwarded, report = await sent(shared, f"tls {kept}", mail=mail, rcpt=" NOTIFY=SUCCESS,FAILURE")
    assert (forwarded.message.origin.value, report.message.origin.value) == ("forward", "report")
    assert [each.message.envelope.requiretls for each in (forwarded, report)] == [kept, kept]
