"""The API over each test's own database: alone, or with all that a server is."""

from tests.support.fixtures import api, house

__all__ = ["api", "house"]
