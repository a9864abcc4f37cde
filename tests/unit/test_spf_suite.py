"""The test suite of openspf.org for RFC 7208, against DNS of a real server: `tests/suites/rfc7208-tests.yml`.

What it says of explanations is left out: nothing is done with them here, so that they are not asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from duckmail.clients.dns import Dns
from duckmail.runtime.threads import Pool
from duckmail.services.mailauth import spf
from duckmail.services.mailauth.lookups import Lookups
from tests.support.dns_server import SERVFAIL, Zone, dns_server

SUITE = Path(__file__).parents[1] / "suites" / "rfc7208-tests.yml"
KINDS = ("A", "AAAA", "MX", "PTR", "CNAME", "TXT")
POOL = Pool("spf-suite", 1)


def zone_of(zonedata: Mapping[str, Sequence[Any]]) -> Zone:
    """The suite's words: records of type SPF stand for TXT where a name has no TXT of its own; TIMEOUT: no answer."""
    zone: dict[tuple[str, str], Any] = {}
    for owner, given in zonedata.items():
        name = owner.lower()
        pairs = [pair for each in given if isinstance(each, dict) for pair in each.items()]
        texts = any(kind == "TXT" for kind, _ in pairs)
        for kind, value in pairs:
            wanted = "TXT" if kind == "SPF" and not texts else kind
            if wanted in KINDS and value != "NONE":
                zone.setdefault((name, wanted), []).append(_value(wanted, value))
        if "TIMEOUT" in given:
            zone |= {(name, kind): SERVFAIL for kind in KINDS[:-2] + KINDS[-1:] if (name, kind) not in zone}
    return zone


def _value(kind: str, value: Any) -> Any:
    if kind == "TXT":
        return "".join(value) if isinstance(value, list) else value
    return tuple(value) if kind == "MX" else value


def cases() -> Iterator[Any]:
    with SUITE.open(encoding="utf-8") as file:
        for scenario in yaml.safe_load_all(file):
            for name, test in scenario["tests"].items():
                identifier = f"{scenario['description']}-{name}".replace(" ", "-")
                yield pytest.param(zone_of(scenario["zonedata"]), test, id=identifier)


@pytest.mark.parametrize(("zone", "test"), list(cases()))
async def test_suite(zone: Zone, test: Mapping[str, Any]) -> None:
    async with dns_server(zone) as server:
        dns = Dns([server.address], timeout=30, tries=1, deadline=60)
        lookups = Lookups(dns, 60)
        found = await spf.check(lookups, POOL, str(test["host"]), test["helo"], test["mailfrom"])
        await dns.close()
    wanted = test["result"]
    assert found.result in (wanted if isinstance(wanted, list) else [wanted]), test
