"""The immutable octets of messages, shared by every copy, with what is known about them.

Invariants:

- What is read is octet for octet what was given to `prepare` (P2), whatever of it is inline, in parts or decoded.
- A content's parts are durable before its document is written, its document before any message names it.
- A contents document is far below MongoDB's 16 MiB: whatever can grow spills into parts.
- Reading a range costs the chunks that hold it; at most about a MiB of a content is in memory at a time.
- `texts` holds decoded text and is a cache: without its document the same comes from the content.
- Nobody counts references; `storage.sweep` finds what is no longer named.
"""
