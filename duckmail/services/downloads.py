"""What an account may still fetch today by one protocol: IMAP or POP3."""

from time import monotonic

from duckmail.errors import RateLimited
from duckmail.services.sendinglimit import expires_in
from storage.redis.traffic import FRESH_SECONDS
from storage.store import Store


def download_key(protocol: str, user: str) -> str:
    """Of the counter. `protocol`: `imap` or `pop3`."""
    return f"{protocol}:download:{user}"


class Downloads:
    """Of one session. `protocol`: `imap` or `pop3`."""

    def __init__(self, store: Store, user: str, protocol: str) -> None:
        self._store = store
        self._user = user
        self._limit = f"{protocol}_max_download"
        self._key = download_key(protocol, user)
        self._most = 0
        self._until = 0.0  # `_most` is looked up again then

    async def require(self) -> None:
        """Before anything is fetched. One octet that is left is enough for a message of any size.

        Raises: RateLimited: nothing is left. NotFound (the account), Unavailable.
        """
        if self._until <= monotonic():
            self._most = getattr((await self._store.users.get(self._user)).allowed, self._limit)
            self._until = monotonic() + FRESH_SECONDS
        traffic = self._store.traffic
        if (await traffic.used(self._key)).value < self._most:
            return
        # It is refused by what all processes say now, not by what is remembered here.
        await traffic.flush()
        traffic.forget(self._key)
        count = await traffic.used(self._key)
        if count.value >= self._most:
            wait = f"in {expires_in(count.ttl)}" if count.ttl else "later"
            raise RateLimited(f"Download was rate limited. Try again {wait}", limit=self._most)

    def took(self, octets: int) -> None:
        """They are on their way to the client."""
        self._store.traffic.took(self._key, octets)
