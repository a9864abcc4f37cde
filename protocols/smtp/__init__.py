"""What every SMTP-like edge shares: LMTP now, submission and MX on the same ground.

- `wire/` turns octets into commands, parameters, paths and message bodies, and replies into octets; it does no I/O.
- `replies.py` is the one table from domain errors to replies. What it does not know is answered 451: a defect of
  ours never becomes a bounce.
"""
