"""Why mail is refused, beside the reasons that all deliveries have."""

from collections.abc import Mapping

from duckmail.errors import NotPermitted, RateLimited, TemporaryError


class RelayDenied(NotPermitted):
    default = "Mail for this domain is not taken here"


class Disowned(NotPermitted):
    """DMARC."""

    default = "The domain of the author does not permit this message (DMARC)"


class SpamRefused(NotPermitted):
    default = "This message was found to be spam"


class Listed(NotPermitted):
    """The client's address is in a block list."""


class BadName(NotPermitted):
    """What EHLO has said."""


class TooFast(RateLimited):
    default = "Too many messages from your network, try again later"


class Greylisted(RateLimited):
    default = "You are not known here yet, try again later"


class Deferred(TemporaryError):
    default = "This message cannot be taken now, try again later"


# What is counted and told of, in the words of `metrics.MX_REFUSED`.
REASONS: Mapping[type, str] = {
    TooFast: "rate",
    Greylisted: "greylisted",
    Deferred: "deferred",
    RelayDenied: "relay",
    BadName: "name",
    Listed: "listed",
    Disowned: "dmarc",
    SpamRefused: "spam",
}
