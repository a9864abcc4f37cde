"""Domains that stand for other domains, as they are managed; only the server's roles do that."""

from duckmail.errors import InvalidInput, NotFound
from duckmail.model.account import Principal
from duckmail.model.address import normalise_domain
from duckmail.model.events import of
from duckmail.services.access import require_server
from storage.addressrecords import AddressRecords, Alias, AliasSlice


class DomainAliases:
    def __init__(self, records: AddressRecords) -> None:
        self._records = records

    async def create(self, alias: str, domain: str, by: Principal) -> str:
        """Makes `alias` stand for `domain`; its id. Raises: AlreadyExists, InvalidInput, NotPermitted, Unavailable."""
        require_server(by)
        alias, domain = normalise_domain(alias), normalise_domain(domain)
        if alias == domain:
            raise InvalidInput("A domain can not be an alias of itself")
        return await self._records.create_alias(
            alias, domain, lambda made: [of("domainalias.created", domainalias=made, alias=alias, domain=domain)]
        )

    async def list(self, text: str, limit: int, by: Principal, after: str = "", before: str = "") -> AliasSlice:
        """By alias. Raises: NotPermitted, Unavailable."""
        require_server(by)
        return await self._records.list_aliases(text, limit, after, before)

    async def get(self, identifier: str, by: Principal) -> Alias:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        found = await self._records.alias_by_id(identifier)
        if found is None:
            raise NotFound("Invalid or unknown alias")
        return found

    async def resolve(self, alias: str, by: Principal) -> Alias:
        """By its domain. Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        found = await self._records.alias(normalise_domain(alias))
        if found is None:
            raise NotFound("This alias does not exist")
        return found

    async def delete(self, identifier: str, by: Principal) -> None:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        found = await self.get(identifier, by)
        gone = of("domainalias.deleted", domainalias=identifier, alias=found.alias, domain=found.domain)
        if not await self._records.delete_alias(identifier, [gone]):
            raise NotFound("Invalid or unknown alias")
