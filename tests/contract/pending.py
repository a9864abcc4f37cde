"""Operations of the contract that have no route yet: their rows go when they come, until none is left."""

PENDING: frozenset[str] = frozenset({
    "GET /settings",
    "GET /settings/{key}",
    "POST /settings/{key}",
})  # fmt: skip
