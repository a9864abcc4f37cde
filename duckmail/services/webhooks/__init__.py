"""Webhooks: URLs that are told what happens.

- An event is matched to webhooks when it happens, and what is to be posted is kept in the database before anybody is
  answered; it is posted by any process, tried again for a minute, then given up.
- A slow receiver holds a few posts and nobody else.
"""
