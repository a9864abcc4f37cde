"""An ACME server (RFC 8555): certificates for names that are proved by HTTP.

The library speaks by blocking requests: each is a short call in a thread, and what has to be waited for is waited for
on the loop.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import ParamSpec, TypeVar, cast

import requests
from acme import challenges, errors, messages
from acme.client import ClientNetwork, ClientV2
from acme.crypto_util import make_csr
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWKEC
from josepy.util import ComparableECKey

from duckmail.errors import Unavailable
from duckmail.runtime.threads import Pool
from duckmail.services.certs.authority import AuthorityAccount, AuthorityFailed, Order

REQUEST_SECONDS = 15
ORDER_SECONDS = 180.0  # from the answers to the certificate
PAUSE = 1.0  # between questions whether it is done
_LONGEST = 300  # characters of the server's words

P = ParamSpec("P")
T = TypeVar("T")

# It logs requests and answers, with tokens, at DEBUG.
logging.getLogger("acme").setLevel(logging.INFO)


@dataclass(frozen=True, slots=True)
class _Order:
    client: ClientV2
    resource: messages.OrderResource
    open: tuple[messages.ChallengeBody, ...]
    challenges: tuple[tuple[str, str], ...] = field(repr=False)


class AcmeAuthority:
    """Args:
    directory: the server's URL.
    contact: an address that it may write to, or "".
    authorities: PEM file of whom TLS trusts; the well-known ones when None.
    """

    def __init__(self, directory: str, contact: str, authorities: Path | None, agent: str, threads: Pool) -> None:
        self.directory = directory
        self._contact = contact
        self._authorities = authorities
        self._agent = agent
        self._threads = threads

    async def register(self, key: bytes) -> str:
        return await self._ask(self._register, key)

    async def order(self, account: AuthorityAccount, servername: str, key: bytes) -> Order:
        return await self._ask(self._order, account, servername, key)

    async def complete(self, order: Order) -> str:
        if not isinstance(order, _Order):
            raise TypeError("not an order of this authority")
        try:
            async with asyncio.timeout(ORDER_SECONDS):
                for challenge in order.open:
                    await self._ask(_answer, order.client, challenge)
                await self._validated(order)
                await self._ask(_finalize, order)
                while (chain := await self._ask(_chain, order)) is None:  # noqa: ASYNC110 -- the event is elsewhere
                    await asyncio.sleep(PAUSE)
                return chain
        except TimeoutError:
            raise AuthorityFailed("The authority was not done in time") from None

    async def _validated(self, order: _Order) -> None:
        # RFC 8555 §7.5.1: the client polls the authorization until it is valid or not.
        for authorization in order.resource.authorizations:
            while not await self._ask(_is_valid, order.client, authorization):  # noqa: ASYNC110 -- as above
                await asyncio.sleep(PAUSE)

    async def _ask(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await self._threads.run(call, *args, **kwargs)
        except messages.Error as error:
            words = f"{error.code or 'error'}: {error.detail or ''}"[:_LONGEST]
            unknown = error.code == "accountDoesNotExist"
            raise AuthorityFailed(f"The authority says: {words}", account_unknown=unknown) from error
        except requests.RequestException as error:
            raise AuthorityFailed(f"The authority cannot be reached: {type(error).__name__}") from error
        except (errors.Error, JoseError, ValueError, KeyError) as error:
            raise AuthorityFailed(f"The authority's answer cannot be used: {type(error).__name__}") from error
        except Unavailable as error:
            raise AuthorityFailed("Too much is being asked of the authority") from error

    # In a thread

    def _client(self, key: bytes, account: str = "") -> ClientV2:
        loaded = cast("EllipticCurvePrivateKey", serialization.load_pem_private_key(key, None))
        resource = messages.RegistrationResource(uri=account, body=messages.Registration()) if account else None
        net = ClientNetwork(
            JWKEC(key=ComparableECKey(loaded)),
            resource,
            ES256,
            user_agent=self._agent,
            timeout=REQUEST_SECONDS,
        )
        if self._authorities:
            net.verify_ssl = cast("bool", str(self._authorities))  # requests takes a file too
        return ClientV2(ClientV2.get_directory(self.directory, net), net)

    def _register(self, key: bytes) -> str:
        new = messages.NewRegistration.from_data(email=self._contact or None, terms_of_service_agreed=True)
        try:
            return str(self._client(key).new_account(new).uri)
        except errors.ConflictError as error:  # RFC 8555 §7.3.1: the key has an account already
            return error.location

    def _order(self, account: AuthorityAccount, servername: str, key: bytes) -> _Order:
        client = self._client(account.key, account.url)
        resource = client.new_order(make_csr(key, [servername]))
        found = tuple(_by_http(resource.authorizations))
        own = client.net.key
        answers = tuple((each.chall.encode("token"), each.chall.validation(own)) for each in found)
        return _Order(client, resource, found, answers)


def _by_http(authorizations: Iterable[messages.AuthorizationResource]) -> Iterable[messages.ChallengeBody]:
    """The challenge to answer, of each that is not valid yet. Raises: errors.Error."""
    for authorization in authorizations:
        if authorization.body.status == messages.STATUS_VALID:
            continue
        for challenge in authorization.body.challenges:
            if isinstance(challenge.chall, challenges.HTTP01):
                yield challenge
                break
        else:
            raise AuthorityFailed("The authority offers no challenge by HTTP")


def _answer(client: ClientV2, challenge: messages.ChallengeBody) -> None:
    client.answer_challenge(challenge, challenge.chall.response(client.net.key))


def _is_valid(client: ClientV2, authorization: messages.AuthorizationResource) -> bool:
    """Raises: AuthorityFailed: it never will be."""
    found, _ = client.poll(authorization)
    if found.body.status in (messages.STATUS_PENDING, messages.STATUS_PROCESSING):
        return False
    if found.body.status != messages.STATUS_VALID:
        said = [str(each.error.detail) for each in found.body.challenges if each.error is not None]
        raise AuthorityFailed(f"The name was not proved: {said[0] if said else found.body.status}"[:_LONGEST])
    return True


def _finalize(order: _Order) -> None:
    try:
        order.client.begin_finalization(order.resource)
    except messages.Error as error:
        if error.code != "orderNotReady":  # `_chain` does it then
            raise


def _chain(order: _Order) -> str | None:
    """None while it is not issued."""
    try:
        # A deadline is a time of day without a zone here; it looks once.
        found = order.client.poll_finalization(order.resource, datetime.now() + timedelta(seconds=0.9))  # noqa: DTZ005
    except errors.TimeoutError:
        return None
    except errors.IssuanceError as error:
        raise AuthorityFailed(f"The authority says: {error.error.detail}"[:_LONGEST]) from error
    return str(found.fullchain_pem)
