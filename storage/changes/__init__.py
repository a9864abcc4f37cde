"""The changes that a mailbox can undergo, one file each; the committer runs them in transactions.

Each change increments its mailbox document first: from then on nobody else can commit a change to that mailbox before
it ends, so what it reads stays true, and its modseq is the next one in commit order.
"""
