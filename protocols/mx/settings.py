"""Limits and timeouts of the MX listener."""

from dataclasses import dataclass

from protocols.net.peer import Networks
from protocols.smtp.settings import SmtpSettings

NOBODY = Networks()


@dataclass(frozen=True, slots=True)
class MxSettings(SmtpSettings):
    """`greet_delay`: seconds in the middle of the greeting in which a client must not talk, 0 for none. `exempt`: who
    is spared it, and the tests of `services.reception`. `connections`: of one network (IPv4 /24, IPv6 /64) at the
    same time, 0 for no limit.
    """

    max_recipients: int = 100
    greet_delay: float = 0.0
    exempt: Networks = NOBODY
    connections: int = 0
