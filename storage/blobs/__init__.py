"""Large octet strings in GridFS, shared by content (bucket `blobs`).

Invariants:

- A file is immutable, has a random id, and is in no use before a `parts` document names it: that document, inserted
  after the upload is complete, decides between two uploaders; the loser deletes only its own file.
- A part is named by the SHA-256 of its octets. Who is about to name a part in a contents document touches it first;
  a part touched within a day is never swept, so the contents document may follow at leisure.
- A part marked `dying` is not touched but written anew.
- base64 is stored decoded only when encoding it again with its recorded framing gives the very same octets.
- Whatever is left behind by a process that died is found by `storage.sweep`: a file document is inserted before its
  first chunk and deleted after its last.
"""
