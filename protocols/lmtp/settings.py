"""Limits and timeouts of LMTP."""

from dataclasses import dataclass

from protocols.smtp.settings import SmtpSettings


@dataclass(frozen=True, slots=True)
class LmtpSettings(SmtpSettings):
    """As all SMTP-like edges have them."""
