"""What `duckmail dns` looks at beyond the records: reverse DNS, SPF of the server's addresses, the policy of MTA-STS as
others get it, DANE. Over DNS and HTTPS on loopback."""

from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from duckmail.model.transport import Tlsa
from duckmail.runtime.threads import Pool
from duckmail.services.dnsrecords import Checked, Record, State
from duckmail.services.domainchecks import Asked, Own, beyond
from duckmail.services.transport.ownpolicy import PolicyText
from tests.support.internet import ByPort, Internet, internet, page

DOMAIN, HOST = "good.test", "mail.good.test"
POLICY = PolicyText("enforce", (HOST,), 86400)
OURS = Tlsa(3, 1, 1, b"ours".ljust(32, b"."))
THEIRS = Tlsa(3, 1, 1, b"theirs".ljust(32, b"."))
ZONE = f"""
good.test. 60 IN TXT "v=spf1 ip4:93.184.216.34 -all"
narrow.test. 60 IN TXT "v=spf1 ip4:198.51.100.1 -all"
34.216.184.93.in-addr.arpa. 60 IN PTR {HOST}.
35.216.184.93.in-addr.arpa. 60 IN PTR other.good.test.
{HOST}. 60 IN A 93.184.216.34
{HOST}. 60 IN A 93.184.216.35
other.good.test. 60 IN A 93.184.216.99
good.test. 60 IN MX 10 {HOST}.
_25._tcp.{HOST}. 60 IN TLSA {OURS}
signed.test. 60 IN MX 10 {HOST}.
"""
POLICIES = {
    "same.test": POLICY.body,
    "tests.test": POLICY.body.replace("enforce", "testing"),
    "elsewhere.test": POLICY.body.replace(HOST, "mx.elsewhere.test"),
    "broken.test": "nothing of the kind",
}


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Internet]:
    async with internet(tmp_path_factory.mktemp("beyond"), ZONE, [], policies=POLICIES) as found:
        found.pages["mta-sts.gone.test"] = page("", "404 Not Found")
        yield found


@pytest.fixture(scope="module")
def threads() -> Iterator[Pool]:
    pool = Pool("spf", 1)
    yield pool
    pool.close()


def asked(world: Internet, threads: Pool, *, dnssec: bool = False) -> Asked:
    http = ByPort(world.http, world.https_port)
    return Asked(world.resolver, http, threads, world.validated if dnssec else None)


def addresses(*found: str) -> Checked:
    return Checked(Record("A", HOST, "", "the address of this server"), State.OK, found)


def announced(domain: str) -> Checked:
    return Checked(Record("TXT", f"_mta-sts.{domain}", "v=STSv1; id=a1", "MTA-STS", needed=False), State.OK, ("x",))


def spf(domain: str) -> Checked:
    return Checked(Record("TXT", domain, "v=spf1 mx -all", "SPF: mail of the domain comes from here"), State.OK, ("x",))


@pytest.mark.parametrize(
    ("address", "state", "found"),
    [
        pytest.param("93.184.216.34", State.OK, (HOST,), id="leads-back"),
        pytest.param("93.184.216.35", State.WRONG, ("other.good.test",), id="another-name"),
        pytest.param("93.184.216.36", State.MISSING, (), id="none"),
    ],
)
async def test_reverse(world: Internet, threads: Pool, address: str, state: State, found: tuple[str, ...]) -> None:
    *_, one = await beyond(DOMAIN, [addresses(address)], Own(HOST), asked(world, threads))
    assert (one.record.kind, one.state, one.found, one.record.needed) == ("PTR", state, found, True)
    assert one.record.line.endswith(f".in-addr.arpa. IN PTR {HOST}.")
    assert bool(one.problem) is (state is State.WRONG)


async def test_reverse_of_a_private_address_is_nobodys_matter(world: Internet, threads: Pool) -> None:
    given = [addresses("192.168.1.1", "127.0.0.1")]
    assert await beyond(DOMAIN, given, Own(HOST), asked(world, threads)) == given


@pytest.mark.parametrize(
    ("domain", "own", "state"),
    [
        pytest.param("good.test", Own(HOST), State.OK, id="allowed"),
        pytest.param("narrow.test", Own(HOST), State.WRONG, id="not-allowed"),
        pytest.param("narrow.test", Own(HOST, sends=False), State.OK, id="a-relay-sends"),
    ],
)
async def test_spf_of_our_addresses(world: Internet, threads: Pool, domain: str, own: Own, state: State) -> None:
    given = [addresses("93.184.216.34"), spf(domain)]
    one = (await beyond(domain, given, own, asked(world, threads)))[1]
    assert one.state is state
    assert (one.problem == "it does not allow 93.184.216.34: fail") is (state is State.WRONG)


@pytest.mark.parametrize(
    ("domain", "policy", "state", "problem", "needed"),
    [
        pytest.param("same.test", POLICY, State.OK, "", False, id="the-same"),
        pytest.param("same.test", None, State.OK, "", False, id="by-somebody-else"),
        pytest.param("tests.test", POLICY, State.WRONG, "mode is testing, here it is enforce", False, id="mode"),
        pytest.param("elsewhere.test", None, State.WRONG, f"it does not allow {HOST}", True, id="not-us"),
        pytest.param("broken.test", POLICY, State.WRONG, "it is no policy", False, id="malformed"),
        pytest.param("gone.test", POLICY, State.WRONG, "cannot be fetched", False, id="gone"),
    ],
)
async def test_the_policy(
    world: Internet, threads: Pool, domain: str, policy: PolicyText | None, state: State, problem: str, needed: bool
) -> None:
    *_, one = await beyond(domain, [announced(domain)], Own(HOST, policy), asked(world, threads))
    assert (one.record.kind, one.state, one.record.needed) == ("URL", state, needed)
    assert problem in one.problem
    assert one.record.line == ""


async def test_a_policy_that_is_not_announced_is_not_asked_for(world: Internet, threads: Pool) -> None:
    given = [Checked(announced("same.test").record, State.MISSING)]
    assert await beyond("same.test", given, Own(HOST, POLICY), asked(world, threads)) == given


@pytest.mark.parametrize(
    ("validated", "host", "ours", "states"),
    [
        pytest.param(("good.test",), HOST, OURS, [(State.OK, False)], id="right"),
        pytest.param(("good.test",), HOST, THEIRS, [(State.WRONG, True)], id="another-certificate"),
        pytest.param((), HOST, OURS, [], id="not-signed"),
        pytest.param(("good.test",), "other.good.test", OURS, [(State.MISSING, False)], id="none"),
    ],
)
async def test_dane(
    world: Internet,
    threads: Pool,
    validated: Sequence[str],
    host: str,
    ours: Tlsa,
    states: list[tuple[State, bool]],
) -> None:
    world.dns.validated.clear()
    world.dns.validated.update(validated)
    world.validated._kept.clear()
    own = Own(host, tlsa=str(ours), presents=lambda records: ours in records)
    found = await beyond(DOMAIN, [], own, asked(world, threads, dnssec=True))
    assert [(one.state, one.record.needed) for one in found] == states
    if found and found[0].state is State.WRONG:
        assert found[0].found == (str(OURS),)
