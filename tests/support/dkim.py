"""Signatures of mail as other servers look at them: by dkimpy, and by a verifier that shares no code with ours."""

import hashlib
import re
from base64 import b64decode
from collections.abc import Mapping

import dkim
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_FIELD = re.compile(rb"[^:\r\n]+:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


def signatures(message: bytes) -> list[dict[str, str]]:
    """The tags of each DKIM-Signature, in order."""
    header = message.partition(b"\r\n\r\n")[0] + b"\r\n"
    found = [field for field in _FIELD.findall(header) if field.lower().startswith(b"dkim-signature:")]
    return [_tags(field.partition(b":")[2]) for field in found]


def verified(message: bytes, records: Mapping[str, str]) -> list[tuple[str, str, str]]:
    """(domain, selector, algorithm) of each signature that is right. `records`: TXT values by name."""
    return [
        (tags["d"], tags["s"], tags["a"])
        for index, tags in enumerate(signatures(message))
        if _is_right(message, index, tags, records)
    ]


def verified_by_dkimpy(message: bytes, records: Mapping[str, str], index: int = 0) -> bool:
    def txt(name: bytes, timeout: int = 5) -> bytes:
        return records.get(name.decode().removesuffix("."), "").encode()

    return bool(dkim.DKIM(message).verify(index, dnsfunc=txt))


def _is_right(message: bytes, index: int, tags: Mapping[str, str], records: Mapping[str, str]) -> bool:
    record = _tags(records.get(f"{tags.get('s')}._domainkey.{tags['d']}", "").encode())
    if "p" not in record:
        return False
    head, _, body = message.partition(b"\r\n\r\n")
    lines = [re.sub(rb"[ \t]+$", b"", re.sub(rb"[ \t]+", b" ", line)) for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    text = b"".join(line + b"\r\n" for line in lines)
    if b64decode(tags["bh"]) != hashlib.sha256(text).digest():
        return False
    fields = _FIELD.findall(head + b"\r\n")
    own = [field for field in fields if field.lower().startswith(b"dkim-signature:")][index]
    left = list(fields)
    signed = b""
    for name in tags["h"].split(":"):
        at = next((i for i in reversed(range(len(left))) if _name(left[i]) == name.encode()), None)
        if at is not None:
            signed += _relaxed(left.pop(at)) + b"\r\n"
    signed += _relaxed(re.sub(rb"(;[ \t\r\n]*b=)[^;]*", rb"\1", own))
    return _signed_by(record, signed, b64decode(tags["b"]))


def _signed_by(record: Mapping[str, str], octets: bytes, signature: bytes) -> bool:
    public = b64decode(record["p"])
    try:
        if record.get("k", "rsa") == "ed25519":
            Ed25519PublicKey.from_public_bytes(public).verify(signature, hashlib.sha256(octets).digest())
        else:
            key = serialization.load_der_public_key(public)
            assert isinstance(key, RSAPublicKey)
            key.verify(signature, octets, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True


def _tags(text: bytes) -> dict[str, str]:
    pairs = (part.partition(b"=") for part in text.split(b";") if b"=" in part)
    return {name.strip().decode(): re.sub(rb"\s", b"", value).decode() for name, _, value in pairs}


def _name(field: bytes) -> bytes:
    return field.partition(b":")[0].strip().lower()


def _relaxed(field: bytes) -> bytes:
    value = field.partition(b":")[2].replace(b"\r\n", b"")
    return _name(field) + b":" + re.sub(rb"[ \t]+", b" ", value).strip(b" ")
