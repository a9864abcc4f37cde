"""Limits and timeouts of submission."""

from dataclasses import dataclass

from protocols.smtp.settings import MINUTE, SmtpSettings


@dataclass(frozen=True, slots=True)
class SubmissionSettings(SmtpSettings):
    """`plaintext_login`: AUTH works without TLS. `login_timeout`: from the greeting to the end of AUTH, in seconds."""

    max_recipients: int = 400
    plaintext_login: bool = False
    login_timeout: float = 10 * MINUTE
