"""DKIM: the keys of domains, and the signatures of what leaves.

- Private keys are sealed in the database, bound to their own id; nothing gives them back.
- A message is signed by each algorithm that its author's domain has a key of, over the octets that are sent.
- Nothing is signed for an author whom nobody has checked: what is only passed on is signed for this server alone.
"""
