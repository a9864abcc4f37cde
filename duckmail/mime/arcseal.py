"""One hop's set of the Authenticated Received Chain: what it found, its signature, and its seal (RFC 8617 §5.1)."""

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from duckmail.mime.arcverify import MAX_SETS
from duckmail.mime.dkim import Header, Identity, relaxed, signature
from duckmail.mime.dkimverify import Unverified, tags
from duckmail.mime.header import Field, fields

_NAMES = (b"arc-authentication-results", b"arc-message-signature", b"arc-seal")
_ARC = re.compile(rb"[;\s]arc=([a-z]+)")
_LINE = 72  # characters of base64


@dataclass(frozen=True, slots=True)
class Chain:
    """What a set is added to. `instance`: of the new set; `cv`: `none`, `pass` or `fail`; `fields`: of the sets that
    the new seal covers, in its order and form."""

    instance: int
    cv: str
    fields: bytes = b""


def continued(block: bytes, results: bytes) -> Chain | None:
    """The chain that a message with the header section `block` has; None: nothing can be added to it.

    `results`: the body of our Authentication-Results, which say what the chain was worth when it came.
    """
    sets: dict[int, dict[bytes, Field]] = {}
    for field in fields(block):
        name = field.name.lower()
        if name in _NAMES:
            number = _instance(field)
            if name in sets.setdefault(number, {}):
                number = 0
            sets.setdefault(number, {})[name] = field
    if not sets:
        return Chain(1, "none")
    found = _ARC.search(results)
    instance = max(sets) + 1
    if found is None or found[1] not in {b"pass", b"fail"} or 0 in sets or instance > MAX_SETS:
        return None
    seal = sets[instance - 1].get(b"arc-seal")
    if found[1] == b"fail":
        # §5.1: a chain that has failed is not continued; §5.1.2: its first seal to say so covers its own set alone.
        return None if seal is None or _cv(seal) == "fail" else Chain(instance, "fail")
    if sorted(sets) != list(range(1, instance)) or any(len(each) != len(_NAMES) for each in sets.values()):
        return None
    covered = b"".join(relaxed(sets[number][name].raw) for number in range(1, instance) for name in _NAMES)
    return Chain(instance, "pass", covered)


def sealed(
    chain: Chain,
    identity: Identity,
    header: Header,
    body: bytes,
    *,
    results: bytes,
    at: datetime,
    sign: Callable[[bytes], bytes],
) -> bytes:
    """The three fields with their line ends.

    Args:
        header: what the message signature covers; `body`: the digest.
        results: the body of Authentication-Results, as it is written.
        sign: as for `dkim.signature`.
    """
    opening = f"i={chain.instance}"
    aar = f"ARC-Authentication-Results: {opening};\r\n\t".encode() + results.strip() + b"\r\n"
    # §4.1.2: as a DKIM-Signature, but without v=, and with the instance.
    ams = signature(identity, header, body, at, sign, opening=f"ARC-Message-Signature: {opening}")
    unsigned = (
        f"ARC-Seal: {opening}; a={identity.algorithm}-sha256; t={int(at.timestamp())}; cv={chain.cv};\r\n"
        f"\td={identity.domain}; s={identity.selector};\r\n\tb="
    ).encode()
    # §5.1.1: the sets in their order, each as results, message, seal; the new seal with an empty b=, no line end.
    covered = chain.fields + relaxed(aar) + relaxed(ams) + relaxed(unsigned).removesuffix(b"\r\n")
    text = b64encode(sign(covered))
    pieces = [text[start : start + _LINE] for start in range(0, len(text), _LINE)]
    return unsigned + b"\r\n\t".join(pieces) + b"\r\n" + ams + aar


def _instance(field: Field) -> int:
    """0: it has none."""
    try:
        number = tags(field.value.partition(b";")[0] if field.name.lower() == _NAMES[0] else field.value).get("i", "")
    except Unverified:
        return 0
    return int(number) if number.isascii() and number.isdigit() and len(number) <= len(str(MAX_SETS)) else 0


def _cv(seal: Field) -> str:
    return tags(seal.value).get("cv", "").lower()
