"""The one set of domain errors; they know no protocol.

Each class says what happened and whether trying again later can help (`temporary`). The message given to the
constructor is public: it may be shown to a client and names no internals. Everything for the log goes into keyword
`fields`. One table per edge (IMAP, LMTP, HTTP, ...) turns a class into `NO [CODE]`, `4xx`/`5xx`, `-ERR` or a status.
"""

from typing import ClassVar


class DuckmailError(Exception):
    """Base of all errors that an edge is expected to answer with.

    Args:
        text: public, one line, in English, without a final stop.
        fields: private values for the log; never secrets, never message contents.
    """

    temporary: ClassVar[bool] = False
    default: ClassVar[str] = "The request failed"

    def __init__(self, text: str = "", **fields: object) -> None:
        self.text = text or self.default
        self.fields = fields
        super().__init__(self.text)


class NotFound(DuckmailError):
    """The user, mailbox, message or object that was named does not exist (or is not the principal's)."""

    default = "No such object"


class AddressNotFound(NotFound):
    default = "Invalid or unknown email address identifier"


class NoSuchAccount(NotFound):
    default = "This user does not exist"


class NoSuchMailbox(NotFound):
    default = "No such mailbox"


class NoSuchMessage(NotFound):
    default = "This message does not exist"


class NoSuchFile(NotFound):
    default = "This file does not exist"


class NoSuchChallenge(NotFound):
    """It was never given out, was answered, or is too old."""

    default = "Unknown or expired challenge"


class NoSuchKey(NotFound):
    default = "Unknown security key"


class AlreadyExists(DuckmailError):
    default = "It exists already"


class UsernameTaken(AlreadyExists):
    default = "This username already exists"


class AddressTaken(AlreadyExists):
    default = "This email address already exists"


class AccountExists(AlreadyExists):
    """What is to be restored is there, or its name is somebody else's now."""

    default = "The user account already exists"


class NotPermitted(DuckmailError):
    """The principal may not do this; waiting does not help."""

    default = "Permission denied"


class Cannot(DuckmailError):
    """The operation can never succeed on this object (IMAP `CANNOT`: deleting INBOX, a bad mailbox name)."""

    default = "This cannot be done"


class SpecialUseTaken(Cannot):
    """The account has a mailbox for this use already."""

    default = "There is a mailbox for this use already"


class WildcardNotPermitted(Cannot):
    """A wildcard where one address is needed: as main address."""

    default = "Can not set wildcard address as default"


class ChangeNotAllowed(Cannot):
    default = "Can not change special address"


class NotADraft(Cannot):
    default = "Can not submit non-draft message"


class EmptyMessage(Cannot):
    default = "Empty message provided"


class NoRecipients(Cannot):
    default = "No recipients defined"


class InvalidInput(DuckmailError):
    default = "Invalid input"


class InsecurePassword(InvalidInput):
    """Others know it: it stands in a list of passwords that were lost."""

    default = "Provided password was found from breached passwords list"


class UnsupportedHash(InvalidInput):
    """A password hash in a format, or of a cost, that is not verified here."""

    default = "Unsupported password hash"


class UnknownEncoding(InvalidInput):
    """A Content-Transfer-Encoding that cannot be undone, or octets that none can carry (RFC 3516 §4.3)."""

    default = "The transfer encoding is not known"


class LimitReached(DuckmailError):
    """A configured or structural limit (mailboxes, keywords, recipients, connections) is used up."""

    default = "A limit was reached"


class DailyLimitReached(LimitReached):
    """Of what an account may send within a day."""

    default = "You reached a daily sending limit for your account"


class AnnotationTooLarge(LimitReached):
    default = "The value of an entry is too large"


class TooManyAnnotations(LimitReached):
    default = "There is no room for more entries"


class OverQuota(DuckmailError):
    default = "Quota exceeded"


class TooLarge(DuckmailError):
    """The message exceeds the one message size limit."""

    default = "Message too large"


class ReadOnly(DuckmailError):
    default = "The mailbox is selected read-only"


class AuthenticationFailed(DuckmailError):
    """Wrong name or password, or no such account: never says which."""

    default = "Authentication failed"


class NotYetValid(AuthenticationFailed):
    """The right temporary password, before its time."""

    default = "Authentication failed. Temporary password is not yet activated"


class AccountDisabled(DuckmailError):
    """The account exists, but is disabled, suspended, or not allowed to use this protocol."""

    default = "Access to the requested service is disabled"


class TemporaryError(DuckmailError):
    """Base of the errors that go away by themselves."""

    temporary = True
    default = "Temporary failure, try again later"


class Unavailable(TemporaryError):
    """A database or another part that the operation needs does not answer; nothing was changed."""

    default = "Service temporarily unavailable"


class Corrupted(Unavailable):
    """Something that was stored is not there any more, or not as it was: damage from outside, for an admin to mend."""

    default = "The data is damaged"


class CommitUnknown(TemporaryError):
    """The commit's outcome could not be learned: the change may be there or not.

    IMAP closes the connection without a tagged answer.
    """

    default = "The outcome of the operation is not known"


class RateLimited(TemporaryError):
    default = "Too many attempts, try again later"


class InUse(TemporaryError):
    default = "In use by another session"
