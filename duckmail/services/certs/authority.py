"""What obtaining certificates needs from outside: an authority that issues them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from duckmail.errors import DuckmailError


class AuthorityFailed(DuckmailError):
    """The authority did not answer, or not with a certificate; the text says why.

    `account_unknown`: it does not know the account, so another one has to be made.
    """

    default = "No certificate was issued"

    def __init__(self, text: str, *, account_unknown: bool = False) -> None:
        super().__init__(text)
        self.account_unknown = account_unknown


@dataclass(frozen=True, slots=True)
class AuthorityAccount:
    """`key`: PKCS #8, PEM. `url`: what the authority calls it."""

    key: bytes = field(repr=False)
    url: str


class Order(Protocol):
    """An order under way."""

    @property
    def challenges(self) -> Sequence[tuple[str, str]]:
        """(token, answer): what is to be served under `/.well-known/acme-challenge/` before `complete`."""
        ...


class CertificateAuthority(Protocol):
    """Issues certificates to who can answer for a name by HTTP (RFC 8555 §8.3).

    All methods raise AuthorityFailed, within minutes.
    """

    @property
    def directory(self) -> str:
        """Its URL."""
        ...

    async def register(self, key: bytes, /) -> str:
        """The URL of the account of this key (PKCS #8, PEM), which is made if there is none."""
        ...

    async def order(self, account: AuthorityAccount, servername: str, key: bytes, /) -> Order:
        """Begins. `key`: of the certificate, PKCS #8, PEM."""
        ...

    async def complete(self, order: Order, /) -> str:
        """The chain, PEM."""
        ...
