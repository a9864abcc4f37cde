"""An exchange from its first response to who has signed in, the same for every protocol."""

from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from duckmail.model.credentials import ScramProof
from duckmail.services.auth import Auth, SignedIn
from protocols.net.connection import Connection
from protocols.sasl.mechanisms import Mechanism, decode
from protocols.sasl.scram import final_message
from protocols.sasl.steps import Credentials, Lookup, SaslError

Ask = Callable[[bytes], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Attempt:
    """Who asks, and for what. `scope`, `protocol`: as `Auth.login` has them."""

    auth: Auth
    scope: str
    protocol: str
    connection: Connection

    async def by_password(self, username: str, password: str) -> SignedIn:
        """Raises: as `Auth.login`."""
        network, trace = self.connection.peer.network, self.connection.trace
        return await self.auth.sign_in(username, password, self.scope, network, self.protocol, trace=trace)

    async def by_mechanism(self, mechanism: Mechanism, initial: bytes | None, ask: Ask) -> SignedIn:
        """Carries out an exchange.

        Args:
            initial: the initial response as it came, None for none.
            ask: sends a challenge, in base64, and gives the line that the client says to it.

        Raises:
            SaslError. What `ask` raises, and `Auth.login`.
        """
        response = initial
        challenge = mechanism.first_challenge()
        while True:
            if response is None:
                response = await ask(b64encode(challenge))
            step = mechanism.step(decode(response))
            response = None
            if isinstance(step, Credentials):
                return await self.by_password(step.username, step.password)
            if isinstance(step, ScramProof):
                return await self._by_proof(step, ask)
            challenge = await self._salted(step) if isinstance(step, Lookup) else step

    async def _salted(self, lookup: Lookup) -> bytes:
        network, trace = self.connection.peer.network, self.connection.trace
        told = await self.auth.salt(lookup.username, self.scope, network, self.protocol, trace=trace)
        return lookup.challenge(told.salt, told.iterations)

    async def _by_proof(self, proof: ScramProof, ask: Ask) -> SignedIn:
        network, trace = self.connection.peer.network, self.connection.trace
        signed_in = await self.auth.sign_in_by_proof(proof, self.scope, network, self.protocol, trace=trace)
        # RFC 9051 §6.2.2, RFC 5034 §4, RFC 4954 §4: what a server adds to its success is a challenge of its own, and
        # the client's answer to it is empty. It says `*` when the signature is not what it should be.
        if decode(await ask(b64encode(final_message(signed_in.signature)))):
            raise SaslError("The last response must be empty")
        return signed_in
