"""What `duckmail doctor` tells about the database."""

from dataclasses import dataclass

from pymongo.errors import OperationFailure

from storage.mongo.client import Client, operation


@dataclass(frozen=True, slots=True)
class Facts:
    """`topology`: `replica set`, `sharded cluster` or `standalone`. `transaction_seconds`: how long the server keeps an
    open transaction; 0 when it does not tell."""

    version: str
    topology: str
    transaction_seconds: int


async def facts(client: Client) -> Facts:
    """Raises: Unavailable."""
    async with operation(10.0):
        version = str((await client.admin.command("buildInfo"))["version"])
        hello = await client.admin.command("hello")
        try:
            parameter = await client.admin.command({"getParameter": 1, "transactionLifetimeLimitSeconds": 1})
            seconds = int(parameter["transactionLifetimeLimitSeconds"])
        except OperationFailure:  # a mongos has no such parameter, a hosted service may forbid to ask
            seconds = 0
    topology = "sharded cluster" if hello.get("msg") == "isdbgrid" else "replica set" if "setName" in hello else ""
    return Facts(version, topology or "standalone", seconds)
