"""What every SMTP-like edge shares: LMTP and submission stand on it.

- `wire/` turns octets into commands, parameters, paths and message bodies, and replies into octets; it does no I/O.
- `replies.py` is the one table from domain errors to replies. What it does not know is answered 451: a defect of
  ours never becomes a bounce.
- `session.py` is one connection: commands by a table that each edge gives, replies in order, message octets within
  their limits; `transaction.py` is one message on it, `dialogue.py` the two directions.
"""
