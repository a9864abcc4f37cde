"""MongoDB itself: the client, error translation, sessions for transactions, indexes and migrations."""
