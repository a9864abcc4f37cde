"""The passwords in URLs of targets, sealed at rest: the URL is kept whole, with the sealed one in the password's place.

A sealed password is bound to scheme, user, host and port: in another URL it does not open, so it goes to nobody else.
"""

import base64
from collections.abc import Iterable

from duckmail.errors import InvalidInput, Unavailable
from duckmail.model.target import MASK, TargetUrl, shown
from duckmail.runtime.sealer import Sealer

_SEALED = "~sealed~"


class TargetPasswords:
    """`sealer`: None where no target has a password; one that has is refused then."""

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._sealer = sealer

    def sealed(self, targets: Iterable[str], known: Iterable[str] = ()) -> tuple[str, ...]:
        """Targets as they are kept. `known`: those that are kept already, for passwords that were only shown.

        Raises: InvalidInput: a password that was shown, of a target that is not known. Unavailable.
        """
        kept = {shown(target): target for target in known}
        return tuple(self._one(target, kept) for target in targets)

    def _one(self, target: str, kept: dict[str, str]) -> str:
        url = TargetUrl.parse(target)
        if url.password == MASK:
            if target not in kept:
                raise InvalidInput("The password of a target is missing")
            return kept[target]
        return self._seal(url) if url.password else target

    def _seal(self, url: TargetUrl) -> str:
        if self._sealer is None:
            raise Unavailable(error="there are no keys to seal a password with")
        octets = self._sealer.seal(url.password.encode(), _context(url))
        return str(url.with_password(_SEALED + base64.urlsafe_b64encode(octets).decode().rstrip("=")))

    def opened(self, target: str) -> str:
        """With the password that its server is told. Raises: Unavailable: it cannot be opened."""
        url = TargetUrl.parse(target)
        if not url.password.startswith(_SEALED):
            return target
        if self._sealer is None:
            raise Unavailable(error="there are no keys to open a password with")
        text = url.password.removeprefix(_SEALED)
        try:
            octets = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError as error:
            raise Unavailable(error="a sealed password is damaged", context=_context(url)) from error
        return str(url.with_password(self._sealer.unseal(octets, _context(url)).decode()))

    def again(self, target: str) -> str:
        """Sealed with the key that seals now; also one that never was. Raises: Unavailable: it cannot be opened."""
        url = TargetUrl.parse(self.opened(target))
        return self._seal(url) if url.password else target


def _context(url: TargetUrl) -> str:
    return f"target {url.server}"
