"""iprev (RFC 8601 §3): whether the name of the client's address leads back to the address."""

import ipaddress

from duckmail.errors import NotFound, Unavailable
from duckmail.model.mailauth import IprevResult
from duckmail.services.mailauth.lookups import Lookups

MAX_NAMES = 5  # of one address that are looked up


async def check(lookups: Lookups, address: str) -> IprevResult:
    client = ipaddress.ip_address(address)
    kind = "A" if client.version == 4 else "AAAA"
    try:
        names = (await lookups.records(client.reverse_pointer, "PTR"))[:MAX_NAMES]
    except NotFound:
        names = []
    except Unavailable:
        return IprevResult("temperror", address)
    if not names:
        return IprevResult("permerror", address)  # §2.7.3: e.g., there is no PTR record
    failed = "fail"
    for name in names:
        try:
            if client in {ipaddress.ip_address(each) for each in await lookups.records(name, kind)}:
                return IprevResult("pass", address, name)
        except NotFound:
            continue
        except Unavailable:
            failed = "temperror"
    return IprevResult(failed, address)
