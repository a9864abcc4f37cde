"""What `storage.fsck` looks at: accounts, contents, parts and files, each batch in one snapshot.

Invariants:

- A snapshot shows the store as of one moment, so a check beside a running server raises no false alarm.
- Memory is bounded by a batch, and by the mailboxes and differences of one account, whatever the store holds.
- Nothing here writes. What can be repaired is put right by `storage.changes.recount`, through the committer.
- Every promise of the store is recomputed from what it is about; no counter is compared with another counter.
- What nobody names is no difference: the sweep removes it in its time. It is only counted.
"""
