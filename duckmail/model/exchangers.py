"""The hosts that take mail for a domain, as DNS has them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Exchangers:
    """`ranked`: (preference, host), best first; none for a domain that takes no mail (RFC 7505)."""

    ranked: tuple[tuple[int, str], ...] = ()

    @property
    def hosts(self) -> list[str]:
        return [host for _, host in self.ranked]

    def ahead_of(self, here: str) -> "Exchangers":
        """Without the host `here` and those that are no better: they would only send the mail back to it.

        RFC 5321 §5.1: a relay that finds itself among the exchangers discards all with its preference or a worse one.
        """
        own = [preference for preference, host in self.ranked if host == here.lower()]
        if not own:
            return self
        return Exchangers(tuple(pair for pair in self.ranked if pair[0] < min(own)))
