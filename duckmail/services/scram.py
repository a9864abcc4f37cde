"""SCRAM-SHA-256 (RFC 5802, RFC 7677): what is kept of passwords to check proofs with, and what anybody is told first.

- Of a password two keys are kept, never the salted password: who has the keys cannot sign in with them. They are
  sealed, since guessing a password from them is cheaper than from its hash.
- Salt and iterations are the account's: its application passwords share them, so one proof is tried against all.
- They are told before anybody has proved anything: names that are nobody's have a salt too, the same every time, and an
  account keeps its own for ever. An account without keys cannot be told from one with another password.
"""

import asyncio
import hashlib
import hmac
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

from duckmail.errors import Unavailable
from duckmail.model.account import User
from duckmail.model.address import view
from duckmail.model.credentials import ScramProof, ScramVerifier
from duckmail.model.saslprep import saslprep
from duckmail.runtime.log import event
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.threads import Pool
from duckmail.runtime.turns import Turns
from storage.scram import SALT_KEY_CONTEXT, SaltKeys, seal_context

_logger = logging.getLogger("duckmail.auth")

ITERATIONS = 50_000  # RFC 7677 §4 asks for at least 4096; a phone of today takes a tenth of a second for these
SALT = 16  # octets
_KEY = 32  # octets of SHA-256
_SECONDS = 20.0  # waiting for a thread included


@dataclass(frozen=True, slots=True)
class Keys:
    stored: bytes
    server: bytes


def derive(password: str, salt: bytes, iterations: int) -> Keys:
    """RFC 5802 §3. Slow: call it in a thread. Raises: ValueError: a password that SASLprep does not allow."""
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password).encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", "sha256")
    return Keys(hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", "sha256"))


def signature(keys: Keys, proof: ScramProof) -> bytes:
    """ServerSignature, if the proof is one of the password that `keys` are of; else nothing (RFC 5802 §3)."""
    expected = hmac.digest(keys.stored, proof.message, "sha256")
    if len(proof.proof) != _KEY:
        return b""
    client = bytes(one ^ other for one, other in zip(proof.proof, expected, strict=True))
    right = hmac.compare_digest(hashlib.sha256(client).digest(), keys.stored)
    signed = hmac.digest(keys.server, proof.message, "sha256")
    return signed if right else b""


def is_suitable(password: str) -> bool:
    """Whether there can be keys of it. What is not is good for mechanisms that send the password itself."""
    try:
        return bool(saslprep(password).encode())
    except ValueError:
        return False


class Scram:
    def __init__(self, sealer: Sealer, salts: bytes, pool: Pool, domain: str, iterations: int = ITERATIONS) -> None:
        """
        Args:
            salts: key of the salts of names; see `salt_key`.
            pool: where keys are made.
            domain: of the addresses of accounts whose names have none: both have one salt.
            iterations: for accounts that have no keys yet.
        """
        self._sealer = sealer
        self._salts = salts
        self._pool = pool
        self._domain = domain
        self._iterations = iterations

    def told(self, name: str, user: User | None = None) -> ScramVerifier:
        """Salt and iterations, as anybody is told them who gives the login name. `user`: whose it is."""
        if user is not None and user.scram is not None:
            return replace(user.scram, keys=b"")
        name = user.username if user is not None else name.strip()
        form = view(name if "@" in name else f"{name}@{self._domain}").encode("utf-8", "surrogatepass")
        return ScramVerifier(hmac.digest(self._salts, form, "sha256")[:SALT], self._iterations)

    async def verifier(self, password: str, hashed: str, name: str, user: User | None = None) -> ScramVerifier:
        """For a password of an account, which may not be made yet; without keys if there can be none.

        Args:
            hashed: the hash of it that is kept.

        Raises: Unavailable.
        """
        told = self.told(name, user)
        if not is_suitable(password):
            return told
        try:
            async with asyncio.timeout(_SECONDS):
                keys = await self._pool.run(derive, password, told.salt, told.iterations)
        except TimeoutError as error:
            raise Unavailable(reason="password pool") from error
        return replace(told, keys=self._sealer.seal(keys.stored + keys.server, seal_context(hashed)))

    def lacks(self, scram: ScramVerifier | None, hashed: str, user: User, password: str) -> bool:
        """Whether a right password has no keys here that its proofs can be checked with, and can have some."""
        told = self.told(user.username, user)
        usable = scram is not None and (scram.salt, scram.iterations) == (told.salt, told.iterations)
        return not (usable and self._open(scram, hashed)) and is_suitable(password)

    def _open(self, scram: ScramVerifier | None, hashed: str) -> Keys | None:
        if scram is None or not scram.keys:
            return None
        try:
            octets = self._sealer.unseal(scram.keys, seal_context(hashed))
        except Unavailable:  # of another password, or sealed with a key that is lost: the next sign-in makes them anew
            return None
        return Keys(octets[:_KEY], octets[_KEY:])

    async def match(
        self, verifiers: Sequence[tuple[ScramVerifier | None, str]], proof: ScramProof
    ) -> tuple[int, bytes] | None:
        """Which of them, each with the hash of its password, has the password that is proved; and the server's
        signature in return."""
        turns = Turns()
        for index, (scram, hashed) in enumerate(verifiers):
            await turns.pause()
            told = scram is not None and (scram.salt, scram.iterations) == (proof.salt, proof.iterations)
            keys = self._open(scram, hashed) if told else None
            signed = signature(keys, proof) if keys else b""
            if signed:
                return index, signed
        return None


async def renewed(
    scram: Scram | None, password: str, hashed: str, name: str, user: User | None = None
) -> ScramVerifier | None:
    """The verifier of an account that gets this password and the hash of it; the same twice if only that is known.

    Raises: Unavailable.
    """
    if scram is not None and password != hashed:
        return await scram.verifier(password, hashed, name, user)
    # The salt is kept: application passwords go on with it.
    return replace(user.scram, keys=b"") if user is not None and user.scram is not None else None


async def salt_key(records: SaltKeys, sealer: Sealer) -> bytes:
    """The key of the salts, made by the first server that asks. Accounts keep the salts they have whatever it is; with
    another key the names that are nobody's have others, which tells them apart once.

    Raises: Unavailable.
    """
    made = os.urandom(_KEY)
    sealed = await records.keep(sealer.seal(made, SALT_KEY_CONTEXT))
    try:
        return sealer.unseal(sealed, SALT_KEY_CONTEXT)
    except Unavailable as error:
        event(_logger, logging.WARNING, "the key of salts is lost, a new one is made", fields=error.fields)
        kept = await records.keep(sealer.seal(made, SALT_KEY_CONTEXT), instead=sealed)
        return sealer.unseal(kept, SALT_KEY_CONTEXT)
