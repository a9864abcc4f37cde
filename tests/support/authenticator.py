"""A security key in software, and the browser before it (W3C Web Authentication): ES256, attestation `none`."""

import hashlib
import json
import os
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

PRESENT, ATTESTED = 0x01, 0x40  # flags: user present, attested credential data


@dataclass(slots=True)
class Authenticator:
    """`counter`: of signatures; None for a key that has none."""

    rp_id: str = "mail.example.com"
    origin: str = "https://webmail.example.com"
    counter: int | None = 0
    flags: int = PRESENT
    raw_id: bytes = field(default_factory=lambda: os.urandom(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def register(self, challenge: str) -> dict[str, object]:
        """The fields of a registration's answer. `challenge`: hexadecimal, as the server gave it."""
        numbers = self.key.public_key().public_numbers()
        # RFC 9053 §7.1.1: kty EC2, alg ES256, crv P-256, x, y.
        cose = cbor2.dumps({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})
        attested = bytes(16) + len(self.raw_id).to_bytes(2, "big") + self.raw_id + cose
        data = self._data(self.flags | ATTESTED) + attested
        client = self._client("webauthn.create", challenge)
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        return {
            "challenge": challenge,
            "rawId": self.raw_id.hex(),
            "clientDataJSON": client.hex(),
            "attestationObject": attestation.hex(),
        }

    def sign(self, challenge: str) -> dict[str, object]:
        """The fields of a sign-in's answer."""
        if self.counter is not None:
            self.counter += 1
        data, client = self._data(self.flags), self._client("webauthn.get", challenge)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return {
            "challenge": challenge,
            "rawId": self.raw_id.hex(),
            "clientDataJSON": client.hex(),
            "authenticatorData": data.hex(),
            "signature": signature.hex(),
        }

    def _data(self, flags: int) -> bytes:
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + (self.counter or 0).to_bytes(4, "big")

    def _client(self, kind: str, challenge: str) -> bytes:
        encoded = urlsafe_b64encode(bytes.fromhex(challenge)).decode().rstrip("=")
        return json.dumps({"type": kind, "challenge": encoded, "origin": self.origin, "crossOrigin": False}).encode()
