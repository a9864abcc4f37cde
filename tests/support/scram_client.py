"""The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), for tests."""

import hashlib
import hmac
import secrets
from base64 import b64decode, b64encode


class ScramClient:
    """One exchange. `binding`: what `tls-server-end-point` is on this connection, for -PLUS. `header`: gs2-header."""

    def __init__(
        self, username: str, password: str, *, nonce: str = "", binding: bytes = b"", header: str = ""
    ) -> None:
        self._password = password.encode()
        self._header = header or ("p=tls-server-end-point,," if binding else "n,,")
        self._binding = binding
        escaped = username.replace("=", "=3D").replace(",", "=2C")
        self._bare = f"n={escaped},r={nonce or secrets.token_urlsafe(12)}"
        self.verifier = b""  # what the server has to say last

    def first(self) -> bytes:
        return f"{self._header}{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """client-final-message, to server-first-message."""
        fields = dict(part.split("=", 1) for part in challenge.decode().split(","))
        assert fields["r"].startswith(self._bare.partition("r=")[2])
        salted = hashlib.pbkdf2_hmac("sha256", self._password, b64decode(fields["s"]), int(fields["i"]))
        channel = b64encode(self._header.encode() + self._binding).decode()
        unproved = f"c={channel},r={fields['r']}"
        message = b",".join([self._bare.encode(), challenge, unproved.encode()])
        client = hmac.digest(salted, b"Client Key", "sha256")
        signature = hmac.digest(hashlib.sha256(client).digest(), message, "sha256")
        proof = bytes(one ^ other for one, other in zip(client, signature, strict=True))
        signed = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), message, "sha256")
        self.verifier = b"v=" + b64encode(signed)
        return f"{unproved},p={b64encode(proof).decode()}".encode()


def final_of(password: str, first: str, challenge: str, binding: str = "") -> tuple[str, str]:
    """The answer to a challenge, and what the server has to say to it; everything in base64.

    Args:
        first: client-first-message, with a user name that needs no escapes.
    """
    header, _, bare = b64decode(first).decode().partition("n=")
    username, _, nonce = bare.partition(",r=")
    client = ScramClient(username, password, nonce=nonce, binding=b64decode(binding), header=header)
    response = client.final(b64decode(challenge))
    return b64encode(response).decode(), b64encode(client.verifier).decode()
