"""Errors as answers: one table from domain errors to status and code, and the framework's own shapes."""

from collections.abc import Mapping

from duckmail.errors import (
    AccountDisabled,
    AddressNotFound,
    AddressTaken,
    AlreadyExists,
    AuthenticationFailed,
    Cannot,
    ChangeNotAllowed,
    DailyLimitReached,
    DuckmailError,
    EmptyMessage,
    InsecurePassword,
    InvalidInput,
    LimitReached,
    NoRecipients,
    NoSuchAccount,
    NoSuchChallenge,
    NoSuchFile,
    NoSuchKey,
    NoSuchMailbox,
    NoSuchMessage,
    NotADraft,
    NotFound,
    NotPermitted,
    OverQuota,
    RateLimited,
    TemporaryError,
    TooLarge,
    UnsupportedHash,
    UsernameTaken,
    WildcardNotPermitted,
)

Rows = Mapping[type[DuckmailError], tuple[int, str]]

# Looked up along the class's bases, nearest first. 409, 429 and 503 are never used: clients know 400, 403 and 500.
TABLE: Rows = {
    NotFound: (404, "NotFound"),
    AddressNotFound: (404, "AddressNotFound"),
    NoSuchAccount: (404, "UserNotFound"),
    NoSuchFile: (404, "FileNotFound"),
    NoSuchChallenge: (404, "ChallengeNotFound"),
    NoSuchKey: (404, "CredentialsNotFound"),
    NoSuchMailbox: (404, "NoSuchMailbox"),
    NoSuchMessage: (404, "MessageNotFound"),
    AlreadyExists: (400, "AlreadyExists"),
    UsernameTaken: (400, "UserExistsError"),
    AddressTaken: (400, "AddressExistsError"),
    NotPermitted: (403, "MissingPrivileges"),
    Cannot: (400, "NotPermitted"),
    ChangeNotAllowed: (400, "ChangeNotAllowed"),
    WildcardNotPermitted: (400, "WildcardNotPermitted"),
    NotADraft: (400, "MessageNotDraft"),
    EmptyMessage: (400, "EmptyMessage"),
    NoRecipients: (400, "ENORECIPIENTS"),
    InvalidInput: (400, "InputValidationError"),
    InsecurePassword: (403, "InsecurePasswordError"),
    UnsupportedHash: (500, "HashError"),
    LimitReached: (403, "TooMany"),
    DailyLimitReached: (403, "RateLimitedError"),
    OverQuota: (400, "OverQuotaError"),
    TooLarge: (400, "InputValidationError"),
    AuthenticationFailed: (403, "AuthFailed"),
    AccountDisabled: (403, "UserDisabled"),
    RateLimited: (403, "RateLimitedError"),
    TemporaryError: (500, "InternalDatabaseError"),
    DuckmailError: (500, "InternalError"),
}


# What clients of the contract know instead of the error's own words.
_TEXTS: Mapping[type[DuckmailError], str] = {NoSuchMailbox: "This mailbox does not exist"}


class ApiError(Exception):
    """An answer `{"error", "code", ...}` with this status. `code` "": the answer has none."""

    def __init__(self, status: int, code: str, text: str, **extra: object) -> None:
        self.status = status
        self.body: dict[str, object] = {"error": text, **({"code": code} if code else {}), **extra}
        super().__init__(code)


class ValidationFailed(ApiError):
    """All violations of a request. `details`: the first message of each key, keys of nested values joined by `,`."""

    def __init__(self, messages: list[str], details: dict[str, str]) -> None:
        super().__init__(400, "InputValidationError", ". ".join(messages), details=details)


class FrameworkError(Exception):
    """What is wrong before a handler is reached: an answer `{"code", "message"}`."""

    def __init__(self, status: int, code: str, text: str) -> None:
        self.status = status
        self.body: dict[str, object] = {"code": code, "message": text}
        super().__init__(code)


def translate(error: DuckmailError, rows: Rows, **extra: object) -> ApiError:
    """A domain error as an answer, by a route's own rows and then the table."""
    for kind in type(error).__mro__:
        row = rows.get(kind) or TABLE.get(kind)
        if row is not None:
            break
    else:
        row = TABLE[DuckmailError]
    status, code = row
    text = _TEXTS.get(type(error), error.text)
    if code == "InternalDatabaseError":
        text = f"Database Error: {text}"
    return ApiError(status, code, text, **extra)
