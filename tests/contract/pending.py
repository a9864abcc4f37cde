"""Operations of the contract that have no route yet: their rows go when they come, until none is left."""

PENDING: frozenset[str] = frozenset({
    "GET /audit/{audit}",
    "GET /audit/{audit}/export.mbox",
    "GET /settings",
    "GET /settings/{key}",
    "POST /audit",
    "POST /data/export",
    "POST /data/import",
    "POST /quota/reset",
    "POST /settings/{key}",
})  # fmt: skip
