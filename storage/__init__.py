"""The message store: the only code that knows MongoDB and Redis.

Invariants:
- A mailbox document is the serialization point of its mailbox: every change increments it in its own transaction, so
  modseq order is commit order (P3). Nothing else writes `messages`, `expunged` or a counter.
- Counters change in the transaction of what they count (P4); quota used is their sum, read, never stored.
- Contents are immutable and shared; nobody counts references, the sweep looks (DESIGN §4).
- A change is answered after a majority, journaled commit, and published after that; nothing waits for Redis (P1, P5).
- Integers that may grow past 32 bits (uid, modseq, flags, size, counters) are always Int64.
- Identifiers are ObjectIds in here and 24 hexadecimal digits outside.
"""
