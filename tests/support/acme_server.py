"""A small ACME server (RFC 8555) on loopback: checks signatures and nonces, really fetches its challenges, and issues.

What goes wrong is set by the test.
"""

import itertools
import secrets
from base64 import urlsafe_b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from acme import jws
from aiohttp import ClientError, ClientSession, web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from josepy import b64encode
from josepy.jwk import JWK

_PEM = serialization.Encoding.PEM


@dataclass
class Order:
    name: str
    account: str
    token: str
    status: str = "pending"
    error: str = ""
    certificate: str = ""


@dataclass
class AcmeServer:
    """`http`: the URL where challenges are looked for, whatever the name. `lifetime`: of certificates.

    `refuse`: the error type of each new order. `bad_nonces`: requests that are told so. `slow`: polls until an order is
    done.
    """

    base: str = ""
    http: str = ""
    lifetime: timedelta = timedelta(days=90)
    refuse: str = ""
    bad_nonces: int = 0
    slow: int = 0
    accounts: dict[str, JWK] = field(default_factory=dict)
    orders: dict[str, Order] = field(default_factory=dict)
    fetched: list[tuple[str, str]] = field(default_factory=list)  # Host, path
    nonces: set[str] = field(default_factory=set)
    session: ClientSession | None = None

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.authority = _authority(self._key)

    @property
    def directory(self) -> str:
        return f"{self.base}/directory"

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/directory", self._directory)
        app.router.add_route("HEAD", "/nonce", self._nonce)
        for path, handler in (
            ("/account", self._new_account),
            ("/order", self._new_order),
            ("/order/{id}", self._get_order),
            ("/authorization/{id}", self._authorization),
            ("/challenge/{id}", self._challenge),
            ("/finalize/{id}", self._finalize),
            ("/certificate/{id}", self._certificate),
        ):
            app.router.add_post(path, handler)
        return app

    # -- what every answer has -------------------------------------------------------------------------------------

    def _answer(self, body: object, status: int = 200, **headers: str) -> web.Response:
        nonce = b64encode(secrets.token_bytes(16)).decode()
        self.nonces.add(nonce)
        kind = "application/problem+json" if status >= 400 else "application/json"
        return web.Response(
            body=orjson.dumps(body), status=status, content_type=kind, headers={"Replay-Nonce": nonce, **headers}
        )

    def _problem(self, kind: str, detail: str, status: int = 400) -> web.Response:
        return self._answer({"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail}, status)

    async def _read(self, request: web.Request) -> tuple[str, Any] | web.Response:
        """The account and what it says; an error when nonce, URL or signature are not right."""
        signed = jws.JWS.json_loads((await request.read()).decode())
        header = signed.signature.combined
        if self.bad_nonces:
            self.bad_nonces -= 1
            return self._problem("badNonce", "try again")
        nonce = b64encode(header.nonce).decode()
        if nonce not in self.nonces:
            return self._problem("badNonce", "unknown nonce")
        self.nonces.discard(nonce)
        if header.url != str(request.url):
            return self._problem("unauthorized", "signed for another URL", 401)
        key = header.jwk or self.accounts.get(header.kid)
        if key is None:
            return self._problem("accountDoesNotExist", "no such account")
        assert signed.verify(key)
        account = header.kid or f"{self.base}/account/{key.thumbprint().hex()}"
        if header.jwk:
            assert request.path == "/account"
            self.accounts[account] = key
        return account, orjson.loads(signed.payload) if signed.payload else None

    # -- resources -------------------------------------------------------------------------------------------------

    async def _directory(self, _: web.Request) -> web.Response:
        names = {"newNonce": "nonce", "newAccount": "account", "newOrder": "order"}
        return self._answer({name: f"{self.base}/{path}" for name, path in names.items()})

    async def _nonce(self, _: web.Request) -> web.Response:
        return self._answer(None)

    async def _new_account(self, request: web.Request) -> web.Response:
        known = set(self.accounts)
        read = await self._read(request)
        if isinstance(read, web.Response):
            return read
        account, said = read
        assert said["termsOfServiceAgreed"] is True
        return self._answer({"status": "valid"}, 200 if account in known else 201, Location=account)

    async def _new_order(self, request: web.Request) -> web.Response:
        read = await self._read(request)
        if isinstance(read, web.Response):
            return read
        account, said = read
        if self.refuse:
            return self._problem(self.refuse, "not now", 429)
        number = str(next(self._numbers))
        token = b64encode(secrets.token_bytes(24)).decode()
        [identifier] = said["identifiers"]
        self.orders[number] = Order(identifier["value"], account, token)
        return self._answer(self._order(number), 201, Location=f"{self.base}/order/{number}")

    def _order(self, number: str) -> dict[str, object]:
        order = self.orders[number]
        body: dict[str, object] = {
            "status": order.status,
            "identifiers": [{"type": "dns", "value": order.name}],
            "authorizations": [f"{self.base}/authorization/{number}"],
            "finalize": f"{self.base}/finalize/{number}",
        }
        if order.status == "valid":
            body["certificate"] = f"{self.base}/certificate/{number}"
        return body

    async def _get_order(self, request: web.Request) -> web.Response:
        read = await self._read(request)
        if isinstance(read, web.Response):
            return read
        order = self.orders[request.match_info["id"]]
        if order.status == "processing":
            self.slow -= 1
            order.status = "processing" if self.slow > 0 else "valid"
        return self._answer(self._order(request.match_info["id"]))

    async def _authorization(self, request: web.Request) -> web.Response:
        read = await self._read(request)
        if isinstance(read, web.Response):
            return read
        number = request.match_info["id"]
        order = self.orders[number]
        status = {"pending": "pending", "invalid": "invalid"}.get(order.status, "valid")
        challenges = [{"type": "dns-01", "status": "pending", "token": order.token, "url": f"{self.base}/none"}]
        challenges.append(self._http(number))
        body = {"status": status, "identifier": {"type": "dns", "value": order.name}, "challenges": challenges}
        return self._answer(body)

    def _http(self, number: str) -> dict[str, Any]:
        order = self.orders[number]
        status = {"pending": "pending", "invalid": "invalid"}.get(order.status, "valid")
        body: dict[str, Any] = {
            "type": "http-01",
            "status": status,
            "token": order.token,
            "url": f"{self.base}/challenge/{number}",
        }
        if order.error:
            body["error"] = {"type": "urn:ietf:params:acme:error:unauthorized", "detail": order.error}
        return body

    async def _challenge(self, request: web.Request) -> web.Response:
        """RFC 8555 §8.3: fetches what the account has to serve."""
        read = await self._read(request)
        if isinstance(read, web.Response):
            return read
        number = request.match_info["id"]
        order = self.orders[number]
        expected = f"{order.token}.{b64encode(self.accounts[read[0]].thumbprint()).decode()}"
        found = await self._fetch(order.name, f"/.well-known/acme-challenge/{order.token}")
        order.status = "ready" if found == expected else "invalid"
        order.error = "" if found == expected else f"found {found!r}"
        link = f'<{self.base}/authorization/{number}>;rel="up"'
        return self._answer(self._http(number), Link=link)

    async def _fetch(self, name: str, path: str) -> str:
        assert self.session is not None
        self.fetched.append((name, path))
        try:
            async with self.session.get(self.http + path, headers={"Host": name}) as response:
                return (await response.text()).strip() if response.status == 200 else f"status {response.status}"
        except ClientError as error:
            return type(error).__name__

    async def _finalize(self, request: web.Request) -> web.Response:
        read = await self._read(request)
        if isinstance(read, web.Response):
            return read
        number = request.match_info["id"]
        order = self.orders[number]
        if order.status != "ready":
            return self._problem("orderNotReady", order.status, 403)
        csr = x509.load_der_x509_csr(urlsafe_b64decode(read[1]["csr"] + "=="))
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert csr.is_signature_valid
        assert names.get_values_for_type(x509.DNSName) == [order.name]
        order.certificate = self._issue(csr, names)
        order.status = "processing" if self.slow else "valid"
        return self._answer(self._order(number))

    def _issue(self, csr: x509.CertificateSigningRequest, names: x509.SubjectAlternativeName) -> str:
        now = datetime.now(UTC)
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.authority.subject)
            .public_key(csr.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + self.lifetime)
            .add_extension(names, critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return (made.public_bytes(_PEM) + self.authority.public_bytes(_PEM)).decode()

    async def _certificate(self, request: web.Request) -> web.Response:
        read = await self._read(request)
        if isinstance(read, web.Response):
            return read
        answer = self._answer(None)
        answer.text = self.orders[request.match_info["id"]].certificate
        answer.content_type = "application/pem-certificate-chain"
        return answer


def _authority(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )


@asynccontextmanager
async def acme_server() -> AsyncIterator[AcmeServer]:
    server = AcmeServer()
    runner = web.AppRunner(server.application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with ClientSession() as session:
        server.session = session
        try:
            yield server
        finally:
            await runner.cleanup()
