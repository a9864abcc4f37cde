"""Messages of any account, by the id of their mailbox and their UID, for the API.

- `reading`: pages of a mailbox, one message, its octets and attachments.
- Ownership is checked by `access.owned_mailbox`, which every operation begins with (P7).
- `changing`: flags, expiry, moves, removal; `finding`: search, and actions on what it finds; `archive`: what was
  removed; `later`: what is done to many messages behind the answer.
- A mailbox is listed along an index; nothing is loaded per message of a page.
- Octets of a message are streamed; its text is decoded in a thread, within limits.
"""
