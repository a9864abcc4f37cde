"""What a domain is to publish, compared with what a real server answers; and the command that prints it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from duckmail.clients.dns import Dns
from duckmail.errors import InvalidInput
from duckmail.runtime.threads import Pool
from duckmail.services.access import SYSTEM
from duckmail.services.dkim.dkim import Dkim, NewKey
from duckmail.services.dnsrecords import DomainRecords, Offered, Record, State, check
from storage.store import Store
from tests.support.api import SEALER
from tests.support.server_process import Databases, ServerProcess
from tests.support.stores import open_store
from tests.support.zone_server import ZoneServer, zone_server

OFFERED = Offered("mail.example.com", 993, 0, 465)
HOST = "mail.example.com. IN A 192.0.2.1\n"


async def keyed(store: Store, domain: str, selector: str, **more: object) -> None:
    await Dkim(store.dkim, SEALER, Pool("keys", 1)).put(NewKey(domain, selector, **more), SYSTEM)  # type: ignore[arg-type]


def records(store: Store) -> DomainRecords:
    return DomainRecords(store.dkim, store.addresses, OFFERED)


@asynccontextmanager
async def resolver(zone: str) -> AsyncIterator[tuple[Dns, ZoneServer]]:
    async with zone_server(zone) as server:
        dns = Dns([server.address], timeout=30, tries=1, deadline=60)
        try:
            yield dns, server
        finally:
            await dns.close()


async def states(wanted: list[Record], zone: str) -> dict[str, State]:
    async with resolver(zone) as (dns, _):
        return {f"{one.kind} {one.name}": (await check(one, dns)).state for one in wanted}


async def test_what_is_printed_is_right_when_it_is_published(store: Store) -> None:
    await keyed(store, "example.com", "s1")
    await keyed(store, "example.com", "s2", algorithm="ed25519", overlap=timedelta())
    wanted = await records(store).wanted("Example.com")
    zone = HOST + "\n".join(record.line for record in wanted if record.line)
    found = await states(wanted, zone)
    assert set(found) == {
        "A mail.example.com",
        "MX example.com",
        "TXT example.com",
        "TXT s1._domainkey.example.com",
        "TXT s2._domainkey.example.com",
        "TXT _dmarc.example.com",
        "TXT _smtp._tls.example.com",
        "TXT _mta-sts.example.com",
        "SRV _imaps._tcp.example.com",
        "SRV _submissions._tcp.example.com",
    }
    assert set(found.values()) == {State.OK}
    assert set((await states(wanted, "other.example. IN A 192.0.2.1")).values()) == {State.MISSING}


async def test_keys_that_are_rotated_are_all_wanted(store: Store) -> None:
    await keyed(store, "example.com", "old")
    await keyed(store, "example.com", "new", overlap=timedelta(days=2))
    found = [record for record in await records(store).wanted("example.com") if record.why.startswith("DKIM")]
    assert [(record.name.partition(".")[0], record.needed) for record in found] == [("new", True), ("old", True)]
    assert "on" in found[0].why
    await keyed(store, "example.com", "third", overlap=timedelta())
    found = [record for record in await records(store).wanted("example.com") if record.why.startswith("DKIM")]
    assert [(record.name.partition(".")[0], record.needed) for record in found] == [("third", True), ("old", False)]


async def test_an_alias_publishes_the_key_in_its_own_name(store: Store) -> None:
    await keyed(store, "example.com", "s")
    await store.addresses.insert_alias("bücher.example", "example.com")
    names = [record.name for record in await records(store).wanted("bücher.example")]
    assert "s._domainkey.xn--bcher-kva.example" in names
    assert "_dmarc.xn--bcher-kva.example" in names


SPF, DMARC = (
    ("TXT", "example.com", "v=spf1 mx -all", "SPF: x"),
    ("TXT", "_dmarc.example.com", "v=DMARC1; p=none", "DMARC"),
)
KEY = ("TXT", "s._domainkey.example.com", "v=DKIM1;t=s;p=AAAA", "DKIM")
MX = ("MX", "example.com", "10 mail.example.com", "mail")
SRV = ("SRV", "_imaps._tcp.example.com", "0 1 993 mail.example.com", "clients")


@pytest.mark.parametrize(
    ("record", "zone", "state"),
    [
        pytest.param(SPF, 'example.com. IN TXT "v=spf1 include:other.example ~all"', State.OK, id="spf-includes"),
        pytest.param(SPF, 'example.com. IN TXT "v=spf1 -all"', State.WRONG, id="spf-allows-nobody"),
        pytest.param(SPF, 'example.com. IN TXT "site-verification=x"', State.MISSING, id="another-text"),
        pytest.param(
            SPF, 'example.com. IN TXT "v=spf1 mx"\nexample.com. IN TXT "v=spf1 a"', State.WRONG, id="rfc7208-4.5-two"
        ),
        pytest.param(DMARC, '_dmarc.example.com. IN TXT "v=DMARC1; p=reject"', State.OK, id="dmarc-stricter"),
        pytest.param(
            DMARC, '_dmarc.example.com. IN TXT "v=DMARC1; rua=mailto:a@b.example"', State.WRONG, id="no-policy"
        ),
        pytest.param(KEY, 's._domainkey.example.com. IN TXT "v=DKIM1; k=rsa; p=AA" "AA"', State.OK, id="key-in-parts"),
        pytest.param(KEY, 's._domainkey.example.com. IN TXT "v=DKIM1; p=BBBB"', State.WRONG, id="another-key"),
        pytest.param(KEY, 's._domainkey.example.com. IN TXT "v=DKIM1; p="', State.WRONG, id="revoked"),
        pytest.param(
            KEY, 's._domainkey.example.com. IN TXT "v=DKIM1; k=ed25519; p=AAAA"', State.WRONG, id="other-kind"
        ),
        pytest.param(MX, "example.com. IN MX 50 MAIL.example.com.", State.OK, id="another-preference"),
        pytest.param(MX, "example.com. IN MX 10 filter.example.", State.WRONG, id="another-host"),
        pytest.param(SRV, "_imaps._tcp.example.com. IN SRV 5 0 993 mail.example.com.", State.OK, id="another-weight"),
        pytest.param(SRV, "_imaps._tcp.example.com. IN SRV 0 1 143 mail.example.com.", State.WRONG, id="another-port"),
    ],
)
async def test_what_is_there_instead(record: tuple[str, str, str, str], zone: str, state: State) -> None:
    async with resolver(zone) as (dns, _):
        found = await check(Record(*record), dns)
    assert found.state is state
    assert bool(found.problem) is (state is State.WRONG)


async def test_where_clients_and_the_policy_are_found(store: Store) -> None:
    offered = Offered("mail.example.com", 993, 0, 465, "www.example.com", "abc123")
    wanted = await DomainRecords(store.dkim, store.addresses, offered).wanted("example.com")
    assert '_mta-sts.example.com. IN TXT "v=STSv1; id=abc123"' in [record.line for record in wanted]
    web = "www.example.com. IN A 192.0.2.2\n"
    names = {"CNAME mta-sts.example.com", "CNAME autoconfig.example.com", "CNAME autodiscover.example.com"}
    names.add("SRV _autodiscover._tcp.example.com")
    found = await states(wanted, HOST + web + "\n".join(record.line for record in wanted if record.line))
    assert {name: found[name] for name in names} == dict.fromkeys(names, State.OK)
    addresses = "autoconfig.example.com. IN A 192.0.2.2\nautodiscover.example.com. IN A 192.0.2.9"
    found = await states(wanted, HOST + web + addresses)
    assert found["CNAME autoconfig.example.com"] is State.OK, "the same address will do"
    assert found["CNAME autodiscover.example.com"] is State.WRONG
    assert found["CNAME mta-sts.example.com"] is State.MISSING


async def test_dns_does_not_answer() -> None:
    async with resolver(HOST) as (dns, server):
        server.broken.add("example.com")
        assert (await check(Record(*MX), dns)).state is State.UNKNOWN


async def test_no_domain(store: Store) -> None:
    with pytest.raises(InvalidInput):
        await records(store).wanted("not a domain")


def test_long_texts_are_printed_in_strings() -> None:
    line = Record("TXT", "a.example", "x" * 300, "").line
    assert line == f'a.example. IN TXT "{"x" * 255}" "{"x" * 45}"'


async def test_the_command(
    tmp_path: Path, mongo_uri: str, redis_url: str, redis_prefix: str, database_name: str
) -> None:
    async with open_store(mongo_uri, database_name) as store:
        await keyed(store, "example.com", "s1")
    process = ServerProcess(tmp_path, Databases(mongo_uri, database_name, redis_url, redis_prefix))
    process.configure({"server": {"hostname": "mail.example.com"}})
    printed = await asyncio.to_thread(process.run, "dns", "example.com", "--print")
    assert printed.returncode == 0, printed.stderr
    assert "example.com. IN MX 10 mail.example.com.\n" in printed.stdout
    whole = HOST.replace("192.0.2.1", "127.0.0.1") + printed.stdout
    async with zone_server(whole) as server:
        right = await asyncio.to_thread(process.run, "dns", "example.com", "--nameserver", server.address)
        assert (right.returncode, "missing" in right.stdout) == (0, False), right.stdout
        wrong = [line for line in right.stdout.splitlines() if line.startswith("wrong")]
        assert wrong == [
            "wrong   URL mta-sts.example.com: the policy of MTA-STS (advised); it is announced, but cannot be fetched: "
            "the host does not answer"
        ], "nobody serves it here"
    async with zone_server(whole.replace("v=spf1 mx", "v=spf1").replace("_dmarc", "_other")) as server:
        bad = await asyncio.to_thread(process.run, "dns", "example.com", "--nameserver", server.address)
        assert bad.returncode == 1
        assert "wrong   TXT example.com: SPF" in bad.stdout
        assert "publish  _dmarc.example.com. IN TXT" in bad.stdout
        told = await asyncio.to_thread(process.run, "dns", "example.com", "--json", "--nameserver", server.address)
        by_name = {row["name"]: row["state"] for row in map(json.loads, told.stdout.splitlines())}
        assert by_name["_dmarc.example.com"] == "missing"
        assert by_name["s1._domainkey.example.com"] == "ok"
