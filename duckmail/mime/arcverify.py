"""The Authenticated Received Chain of a message: what earlier hops say they found, each under its seal (RFC 8617)."""

from collections.abc import Callable
from dataclasses import dataclass

from duckmail.mime.dkim import relaxed
from duckmail.mime.dkimverify import (
    Key,
    Received,
    Signature,
    Unverified,
    check_octets,
    read_signature,
    tags,
    unsigned,
    verify,
)
from duckmail.mime.header import Field

MAX_SETS = 50
"""RFC 8617 §4.2.1: instances are 1 to 50."""
_RESULTS, _MESSAGE, _SEAL = b"arc-authentication-results", b"arc-message-signature", b"arc-seal"


@dataclass(frozen=True, slots=True)
class Set:
    """One hop's fields. `cv`: what it says of the chain that it got."""

    results: Field
    message: Field
    seal: Field
    signature: Signature
    cv: str


def read_sets(received: Received, now: float) -> list[Set]:
    """The sets in order, none where there is no chain. Raises: Unverified: the chain is broken (§5.2 steps 1 to 3)."""
    if not any(name in received.by_name for name in (_RESULTS, _MESSAGE, _SEAL)):
        return []
    results, messages, seals = (_instances(received, name) for name in (_RESULTS, _MESSAGE, _SEAL))
    if not set(results) == set(messages) == set(seals) == set(range(1, len(seals) + 1)):
        raise Unverified("fail", "incomplete sets")
    found = []
    for instance in range(1, len(seals) + 1):
        signature = read_signature(seals[instance], now, seal=True)
        cv = signature.tags.get("cv", "").lower()
        # §5.2 steps 2 and 3.C: the last hop must not say that the chain failed; the first has got none, the rest one.
        if cv != ("none" if instance == 1 else "pass") or "h" in signature.tags:
            raise Unverified("fail", "a hop says that the chain is broken")
        found.append(Set(results[instance], messages[instance], seals[instance], signature, cv))
    return found


def _instances(received: Received, name: bytes) -> dict[int, Field]:
    found: dict[int, Field] = {}
    for field in received.by_name.get(name, []):
        # §4.1.1: Authentication-Results follow the instance, and they are no tag-list.
        value = field.value.partition(b";")[0] if name == _RESULTS else field.value
        number = tags(value).get("i", "")
        if not number.isascii() or not number.isdigit() or len(number) > 2 or not 1 <= int(number) <= MAX_SETS:
            raise Unverified("fail", "instance")
        if int(number) in found:
            raise Unverified("fail", "instance given twice")
        found[int(number)] = field
    return found


def message_signature(sets: list[Set], now: float) -> Signature:
    """The newest one, that has to verify for the message as it is (§5.2 step 4). Raises: Unverified."""
    return read_signature(sets[-1].message, now, arc=True)


def check_chain(
    received: Received, sets: list[Set], newest: Signature, body: tuple[bytes, int], key: Callable[[Signature], Key]
) -> None:
    """Steps 4 and 6 of §5.2. `key`: finds the key of a signature. Raises: Unverified."""
    verify(received, newest, key(newest), body)
    covered = b""
    for each in sets:
        # §5.1.1: in the order of instances; the seal itself comes last, with an empty b= and without its line end.
        covered += relaxed(each.results.raw) + relaxed(each.message.raw)
        seal = each.signature
        check_octets(seal, key(seal), covered + relaxed(unsigned(seal.raw)).removesuffix(b"\r\n"))
        covered += relaxed(each.seal.raw)
