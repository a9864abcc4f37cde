"""Whether what the server stands on does what is asked of it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Health:
    """What does not work, one line for each; "" for what does. `redis`: None where there is none."""

    database: str
    redis: str | None = None

    @property
    def problem(self) -> str:
        """The first of them; "" when all is well."""
        return self.database or self.redis or ""
