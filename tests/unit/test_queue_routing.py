"""Which way mail goes, and how a relay is written."""

import pytest

from duckmail.errors import InvalidInput
from duckmail.model.queue import Destination
from duckmail.services.queue.routing import Exchange, Local, Post, Refused, Relay, Router, Stranded, parse_relay

RELAY = Destination("relay.test")


class Domains:
    def __init__(self) -> None:
        self.asked: list[str] = []

    async def is_local(self, domain: str) -> bool:
        self.asked.append(domain)
        return domain in ("here.test", "bücher.test")


@pytest.mark.parametrize(
    ("relay", "mx", "route"),
    [
        pytest.param(RELAY, False, Relay(RELAY), id="relay"),
        pytest.param(RELAY, True, Relay(RELAY), id="relay-before-mx"),
        pytest.param(None, True, Exchange("far.test"), id="mx"),
        pytest.param(None, False, Stranded(), id="nothing"),
    ],
)
async def test_elsewhere(relay: Destination | None, mx: bool, route: object) -> None:
    assert await Router(Domains(), relay, mx=mx).route([(0, "a@FAR.test", "")]) == {route: [0]}


async def test_recipients_are_grouped_and_domains_asked_once() -> None:
    domains = Domains()
    routes = await Router(domains, None, mx=True).route(
        [
            (0, "a@far.test", ""),
            (2, "b@here.test", ""),
            (3, "c@Far.Test", ""),
            (5, "d@xn--bcher-kva.test", ""),
            (7, "e@away.test", ""),
        ]
    )
    assert routes == {Exchange("far.test"): [0, 3], Local(): [2, 5], Exchange("away.test"): [7]}
    assert len(domains.asked) == 4


@pytest.mark.parametrize(
    ("address", "relay", "status"),
    [
        pytest.param("postmaster", RELAY, "5.1.3", id="no-domain"),
        pytest.param("a@[127.0.0.1]", None, "5.1.2", id="address-literal"),
    ],
)
async def test_no_way(address: str, relay: Destination | None, status: str) -> None:
    ((route, positions),) = (await Router(Domains(), relay, mx=True).route([(0, address, "")])).items()
    assert isinstance(route, Refused)
    assert (route.outcome.status, route.outcome.permanent, positions) == (status, True, [0])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        pytest.param("", None, id="none"),
        pytest.param("smtp://relay.test", Destination("relay.test", 25, "may"), id="plain"),
        pytest.param("smtp://relay.test:2525/", Destination("relay.test", 2525, "may"), id="port"),
        pytest.param("smtp://[2001:db8::1]:25", Destination("2001:db8::1", 25, "may"), id="ipv6"),
        pytest.param(
            "smtp://u%40x:p%3Aw%2F@relay.test", Destination("relay.test", 587, "verify", "u@x", "p:w/"), id="login"
        ),
        pytest.param("smtps://relay.test", Destination("relay.test", 465, "implicit"), id="tls"),
        pytest.param(
            "smtps://u:p@relay.test:4465", Destination("relay.test", 4465, "implicit", "u", "p"), id="tls-login"
        ),
    ],
)
def test_relays(url: str, expected: Destination | None) -> None:
    assert parse_relay(url, "may") == expected


@pytest.mark.parametrize(
    "url",
    ["relay.test", "http://relay.test", "smtp://", "smtp://relay.test:x", "smtp://relay.test/x", "smtp://u@relay.test",
     "smtp://relay.test?tls=no", "smtp://[::1", "smtp://relay.test:99999"],
)  # fmt: skip
def test_what_is_no_relay(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_relay(url, "may")
    assert url not in caught.value.text or url == "smtp://"  # it may hold a password


async def test_a_relay_of_its_own_goes_before_all_else() -> None:
    urls = ("smtps://u:p@own.test", f"smtp://{RELAY.host.upper()}:2525", "https://own.test/x", "ftp://own.test")
    routes = await Router(Domains(), RELAY, mx=True).route([(at, "b@here.test", url) for at, url in enumerate(urls)])
    assert routes.pop(Relay(Destination("own.test", 465, "implicit", "u", "p"))) == [0]
    assert routes.pop(Post("https://own.test/x", "own.test")) == [2]
    ((route, positions),) = routes.items()
    # The server's own relay may be behind its walls: nobody else gets a way to it.
    assert isinstance(route, Refused)
    assert positions == [1, 3]
