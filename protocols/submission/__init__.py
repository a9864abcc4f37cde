"""Submission (RFC 6409): how mail programs send; nothing but a durable entry in the outbound queue is answered 250.

- Who is not signed in may say EHLO, HELO, STARTTLS, AUTH, NOOP, RSET and QUIT, nothing else, and not for long.
- Passwords are taken under TLS alone, unless the configuration trusts the network. STARTTLS forgets all that came
  before it, a login too.
- The envelope sender and From are the account's own: `duckmail.services.submission` decides. `MAIL FROM:<>` is allowed
  to whoever is signed in, for the reports that mail programs send (RFC 8098); From is looked at all the same.
- Recipients here that get no mail are refused at RCPT, and so is who has no recipients left today.
- A failure of ours is always 4xx. After a refusal the octets of a message are read on to their end, unkept.
- `session.py` is what submission adds to the session in `protocols.smtp`; `exchange.py` is AUTH.
"""
