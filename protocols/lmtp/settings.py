"""Limits and timeouts of LMTP."""

from dataclasses import dataclass

from protocols.net.peer import Networks
from protocols.smtp.settings import SmtpSettings

NOBODY = Networks()


@dataclass(frozen=True, slots=True)
class LmtpSettings(SmtpSettings):
    """As all SMTP-like edges have them, and `over_quota`: the code for a full account, 552 or 452; `spam_peers`: who is
    believed about spam."""

    over_quota: int = 552
    spam_peers: Networks = NOBODY
