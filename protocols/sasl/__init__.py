"""SASL mechanisms (RFC 4422), without I/O, for every protocol here that signs in.

- A mechanism gets decoded responses and gives a challenge or what is to be checked; it checks no password itself.
- What it cannot read is a `SaslError` (a client's mistake), never another exception; `*` is `Cancelled`.
- Responses are limited in length before they are decoded (protocols §10.1 H3).
- Credentials never show in a repr, so they cannot reach a log.
- `mechanisms.Offer` is the one list of names; whether TLS is needed first is the protocol's decision. `exchange` asks
  client and accounts by turns, by functions that it is given.
"""
