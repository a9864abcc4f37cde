"""Limits and timeouts of submission."""

from dataclasses import dataclass, field

from duckmail.model.settings import Settings
from protocols.sasl.mechanisms import Offer
from protocols.smtp.settings import MINUTE, SmtpSettings

SASL = Offer(("PLAIN", "LOGIN"))


@dataclass(frozen=True, slots=True)
class SubmissionSettings(SmtpSettings):
    """`plaintext_login`: AUTH works without TLS. `login_timeout`: from the greeting to the end of AUTH, in seconds.
    `changing`: what may allow another number of recipients while the server runs. `sasl`: the mechanisms of AUTH.
    """

    max_recipients: int = 400
    plaintext_login: bool = False
    login_timeout: float = 10 * MINUTE
    changing: Settings = field(default_factory=Settings)
    sasl: Offer = SASL

    @property
    def recipients(self) -> int:
        """Of one message."""
        return self.changing.given("const:max:rcpt_to", self.max_recipients)
