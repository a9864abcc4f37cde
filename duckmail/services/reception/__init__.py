"""Mail from anybody, straight from the Internet: what the MX listener takes, and what it refuses.

- Nothing is relayed: a recipient is somebody here, or refused (RFC 5321 §7.1, RFC 2505 §2.1).
- What can be refused is refused in the dialogue, so that the client tells its sender. A report of ours goes only to a
  sender that has proved to be one (`Authentication.proves`), so that nobody gets answers to what others wrote.
- Delivery is that of LMTP (`services.delivery`): the same filters, limits, commits and idempotence.
- Tests of clients (rates, lists, greylisting) err on the side of the mail: what cannot be asked in time does not count.
"""
