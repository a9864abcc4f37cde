"""The MX listener: SMTP (RFC 5321) from anybody, for the domains that have addresses here; nothing is relayed.

- One reply after the data for all recipients; what is not 250 is answered before anything is lost, or told by a report.
- There is no AUTH: accounts send by submission.
- `session.py` is what MX adds to the session in `protocols.smtp`; who is taken mail from is in `services.reception`.
"""
