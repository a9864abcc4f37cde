"""OpenPGP as the owner of mail has it: his key, and what he reads with it."""

import email
import email.policy

from pysequoia import Tsk, decrypt


def public(key: Tsk) -> str:
    return str(key.extract_certificate())


def opened(raw: bytes, key: Tsk) -> bytes:
    """The entity inside, after the structure around it was looked at."""
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    assert mail.get_content_type() == "multipart/encrypted"
    assert mail.get_param("protocol") == "application/pgp-encrypted"
    control, data = mail.iter_parts()  # type: ignore[attr-defined]
    assert control.get_content_type() == "application/pgp-encrypted"
    assert control.get_payload(decode=True).strip() == b"Version: 1"
    assert data.get_content_type() == "application/octet-stream"
    inside = decrypt(data.get_payload(decode=True), decryptor=key.decryptor()).bytes
    assert isinstance(inside, bytes)
    return inside
