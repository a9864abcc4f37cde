"""duckmail: a complete mail server suite in one asyncio process."""

__version__ = "0.1.0"
