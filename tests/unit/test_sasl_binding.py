"""tls-server-end-point (RFC 5929 §4): of the certificate that the client's server name chose, by its own hash."""

import hashlib
import ssl
from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

from protocols.imap.settings import SASL, ImapSettings
from protocols.net.connection import Connection
from protocols.net.tls import TlsContexts, end_point, memory_context
from tests.support.imap import open_imap
from tests.support.net import client, client_context, make_certificate, serving
from tests.support.scram_client import ScramClient

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 32)
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def _certificate(key: Key, algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None, pss: bool) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.example")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
    built = builder.not_valid_after(now + timedelta(days=1)).sign(key, algorithm, rsa_padding=PSS if pss else None)
    return built.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize(
    ("key", "algorithm", "pss", "expected"),
    [
        pytest.param(EC, hashes.SHA256(), False, "sha256", id="ecdsa-sha256"),
        pytest.param(EC, hashes.SHA512(), False, "sha512", id="ecdsa-sha512"),
        pytest.param(RSA, hashes.SHA384(), False, "sha384", id="rsa-sha384"),
        pytest.param(RSA, hashes.SHA384(), True, "sha384", id="rsa-pss-sha384"),
        pytest.param(ed25519.Ed25519PrivateKey.generate(), None, False, "", id="ed25519-has-none"),
    ],
)
def test_the_hash_is_that_of_the_signature(
    key: Key, algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None, pss: bool, expected: str
) -> None:
    pem = _certificate(key, algorithm, pss)
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    assert end_point(pem) == (hashlib.new(expected, der).digest() if expected else b"")
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # What stands behind it is its chain.
    assert memory_context(pem + _certificate(EC, hashes.SHA256(), False), private).end_point == end_point(pem)


def test_sha1_gives_way_to_sha256() -> None:
    """RFC 5929 §4.1. Nobody makes such certificates any more."""
    pem = _with_sha1(_certificate(RSA, hashes.SHA256(), False))
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    assert isinstance(x509.load_der_x509_certificate(der).signature_hash_algorithm, hashes.SHA1)
    assert end_point(pem) == hashlib.sha256(der).digest()


def _with_sha1(pem: bytes) -> bytes:
    """The same certificate, said to be signed with SHA-1."""
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    sha256, sha1 = bytes.fromhex("2a864886f70d01010b"), bytes.fromhex("2a864886f70d010105")
    assert der.count(sha256) == 2
    return ssl.DER_cert_to_PEM_cert(der.replace(sha256, sha1)).encode()


def test_what_is_no_certificate_binds_nothing() -> None:
    assert end_point(b"") == end_point(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n") == b""


@pytest.mark.parametrize("implicit", [True, False], ids=["implicit-tls", "starttls"])
async def test_a_client_signs_in_with_what_it_was_shown(
    implicit: bool, mongo_uri: str, database_name: str, tmp_path: Path
) -> None:
    """Each name has its own certificate; the binding of another does not get in."""
    contexts = TlsContexts(
        make_certificate(tmp_path, "mail.example"), {"other.example": make_certificate(tmp_path, "other.example")}
    )
    async with open_imap(mongo_uri, database_name) as house:
        serve = house.serve(ImapSettings(sasl=replace(SASL, scram=True, plus=True)))

        async def session(connection: Connection) -> None:
            await serve(connection)

        async with serving(session, tls=contexts, implicit_tls=implicit) as (_, port):
            seen = {}
            for name in ("mail.example", "other.example", "unknown.example"):
                seen[name] = await _sign_in(port, name, implicit=implicit)
            assert seen["mail.example"] == seen["unknown.example"] != seen["other.example"]
            with pytest.raises(AssertionError, match="AUTHENTICATIONFAILED"):
                await _sign_in(port, "mail.example", seen["other.example"], implicit=implicit)


async def _sign_in(port: int, name: str, binding: bytes = b"", *, implicit: bool) -> bytes:
    """By -PLUS; `binding`: instead of the hash of the certificate that is shown, which is given back."""
    tls = {"ssl": client_context(), "server_hostname": name} if implicit else {}
    async with client(port, **tls) as (reader, writer):

        async def ask(line: bytes, answer: bytes) -> bytes:
            writer.write(line + b"\r\n")
            while True:
                got = await reader.readline()
                assert got, "closed"
                if got.startswith((b"+ ", b"a ")):
                    assert got.startswith(answer), got
                    return got.rstrip()

        await reader.readline()
        if not implicit:
            assert b"SCRAM" not in await ask(b"a CAPABILITY", b"a OK")
            await ask(b"a STARTTLS", b"a OK")
            await writer.start_tls(client_context(), server_hostname=name)
        shown = hashlib.sha256(writer.get_extra_info("ssl_object").getpeercert(binary_form=True)).digest()
        scram = ScramClient("anna", "secret", binding=binding or shown)
        challenge = await ask(b"a AUTHENTICATE SCRAM-SHA-256-PLUS " + b64encode(scram.first()), b"+ ")
        verifier = await ask(b64encode(scram.final(b64decode(challenge[2:]))), b"+ ")
        assert b64decode(verifier[2:]) == scram.verifier
        await ask(b"", b"a OK")
    return shown
