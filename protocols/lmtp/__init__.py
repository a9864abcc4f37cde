"""LMTP (RFC 2033): how relays hand over mail; one verdict per recipient, after a durable commit.

- A reply of 250 after the data says that this recipient's copy is committed. A failure of ours is always 4xx.
- Replies come in the order of the commands and are sent when no input is left (PIPELINING, RFC 2920).
- After a refusal the octets of a message are read on to their end, unkept.
- A connection holds at most 64 KiB of a message freely; more needs room in the process-wide octet budget.
- `session.py` is what LMTP adds to the session in `protocols.smtp`; `server.py` is what all connections share.
"""
