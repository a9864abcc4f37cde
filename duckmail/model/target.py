"""URLs that mail is sent on to, and the passwords in them: how one is taken out, put in, and shown without it."""

from dataclasses import dataclass, field, replace
from typing import Self

MASK = "********"  # shown for a password; given back, it stands for the one that is known


@dataclass(frozen=True, slots=True)
class TargetUrl:
    """`scheme://user:password@rest`. `password`: as it is written there, "" for none. `rest`: host, port, path."""

    scheme: str
    user: str
    password: str = field(repr=False)
    rest: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Any text will do: what is no URL has no password."""
        scheme, mark, after = text.partition("://")
        if not mark:
            return cls("", "", "", text)
        end = min((position for position in map(after.find, "/?#") if position >= 0), default=len(after))
        login, at, host = after[:end].rpartition("@")
        user, _, password = login.partition(":")
        return cls(scheme, user, password, f"{host}{after[end:]}") if at else cls(scheme, "", "", after)

    def __str__(self) -> str:
        if not self.scheme:
            return self.rest
        login = f"{self.user}:{self.password}" if self.password else self.user
        return f"{self.scheme}://{login}@{self.rest}" if login else f"{self.scheme}://{self.rest}"

    def with_password(self, password: str) -> Self:
        return replace(self, password=password)

    @property
    def server(self) -> str:
        """Whom the password is for."""
        host = self.rest
        for mark in "/?#":
            host = host.partition(mark)[0]
        return f"{self.scheme.lower()}://{self.user}@{host.lower()}"


def shown(target: str) -> str:
    """A target as answers and logs have it."""
    url = TargetUrl.parse(target)
    return str(url.with_password(MASK)) if url.password else target
