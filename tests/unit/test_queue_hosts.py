"""Which hosts of a domain are tried, one after the other, and what the last word is."""

import pytest

from duckmail.errors import NotFound
from duckmail.model.exchangers import Exchangers
from duckmail.model.queue import Destination, Letter, OutboundEnvelope, Outcome, QueueRecipient
from duckmail.services.queue.remote import Remote
from duckmail.services.queue.routing import Exchange
from duckmail.services.queue.slots import Pace, Slots
from duckmail.services.transport.security import Security
from tests.support.letters import Pieces

TAKEN = Outcome("", 250, "2.0.0", "taken")
SILENT = Outcome("", 0, "4.4.1", "no connection", early=True)
BUSY = Outcome("", 421, "4.3.2", "busy", early=True)
NO_MAIL = Outcome("", 554, "5.3.2", "no mail here", early=True)
NO_USER = Outcome("", 550, "5.1.1", "no such user")
MAYBE = Outcome("", 0, "4.4.2", "no answer", ambiguous=True)
LATER = Outcome("", 450, "4.2.0", "greylisted")


class Hosts:
    """A name server, and hosts that answer as given, in their order."""

    def __init__(self, ranked: list[tuple[int, str]], answers: dict[str, Outcome]) -> None:
        self.ranked = ranked
        self.answers = answers
        self.asked: list[str] = []

    async def exchangers(self, domain: str) -> Exchangers:
        if domain != "far.test":
            raise NotFound("no such domain")
        return Exchangers(tuple(self.ranked))

    async def send(self, destination: Destination, letter: Letter, recipients: list[QueueRecipient]) -> list[Outcome]:
        self.asked.append(destination.host)
        return [self.answers[destination.host]]

    async def post(self, url: str, letter: Letter, recipients: list[QueueRecipient]) -> list[Outcome]:
        raise AssertionError("no target of HTTP")


async def asked(hosts: Hosts) -> Outcome:
    remote = Remote(hosts, hosts, hosts, Slots(5, Pace()), security=Security("may"), hostname="here.test")
    letter = Letter(OutboundEnvelope("a@b.test"), 3, b"", Pieces(b"a\r\n"))
    [got] = await remote.send(Exchange("far.test"), letter, [QueueRecipient("c@far.test")])
    return got


@pytest.mark.parametrize(
    ("answers", "tried", "code"),
    [
        pytest.param([TAKEN, TAKEN], 1, 250, id="the-first-takes-it"),
        pytest.param([SILENT, TAKEN], 2, 250, id="no-connection"),
        pytest.param([BUSY, TAKEN], 2, 250, id="a-greeting-of-421"),
        pytest.param([NO_MAIL, TAKEN], 2, 250, id="a-greeting-of-554"),
        pytest.param([LATER, TAKEN], 2, 250, id="deferred-as-a-whole"),
        pytest.param([NO_USER, TAKEN], 1, 550, id="a-recipient-refused-is-refused"),
        pytest.param([MAYBE, TAKEN], 1, 0, id="it-may-have-it"),
        pytest.param([NO_MAIL, NO_MAIL], 2, 554, id="nobody-ever-takes-it"),
        pytest.param([SILENT, NO_MAIL], 2, 0, id="one-may-take-it-later"),
        pytest.param([NO_MAIL, SILENT], 2, 0, id="another-may-take-it-later"),
        pytest.param([NO_MAIL, NO_USER], 2, 550, id="the-second-refuses-the-recipient"),
    ],
)
async def test_the_next_one_is_tried(answers: list[Outcome], tried: int, code: int) -> None:
    hosts = Hosts([(10, "m0"), (20, "m1")], {f"m{number}": answer for number, answer in enumerate(answers)})
    assert (await asked(hosts)).code == code
    assert hosts.asked == ["m0", "m1"][:tried]


# RFC 5321 §5.1
@pytest.mark.parametrize(
    ("ranked", "tried"),
    [
        pytest.param([(10, "m0"), (20, "here.test"), (20, "m1"), (30, "m2")], ["m0"], id="only-better-ones"),
        pytest.param([(10, "here.test"), (10, "m1"), (20, "m2")], [], id="none-is-better"),
        pytest.param([(10, "here.test")], [], id="alone"),
        pytest.param([(10, "m0"), (10, "m1"), (30, "m2")], ["m0", "m1", "m2"], id="not-among-them"),
    ],
)
async def test_mail_does_not_come_back_here(ranked: list[tuple[int, str]], tried: list[str]) -> None:
    hosts = Hosts(ranked, dict.fromkeys(["m0", "m1", "m2", "here.test"], SILENT))
    got = await asked(hosts)
    assert hosts.asked == tried
    assert got.status == ("4.4.1" if tried else "5.4.6")
    assert got.permanent == (not tried)
