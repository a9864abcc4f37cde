"""Inbound authentication: SPF, DKIM, DMARC, ARC and iprev of a message, in a bounded time.

- DNS is asked on the event loop, through `lookups.Lookups`: bounded in number and time, remembered for the message.
- Hashes and signatures are computed in threads; what a stranger's message costs is bounded by the constants of each
  module, not by the message.
- Nothing here refuses or delays a message beyond the bound: what is not known by then is `temperror`.
"""
