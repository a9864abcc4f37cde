"""Which domains are ours: those of an address, an alias or a catch-all."""

import pytest

from duckmail.services.recipients import Resolver
from storage.addresses import MIGRATIONS
from tests.support.submission import SubmissionHouse, open_submission

DOMAINS = {
    "example.com": True,
    "EXAMPLE.Com": True,
    "example.org": True,  # an alias
    "anna.example": True,  # a catch-all
    "xn--bcher-kva.example": True,
    "bücher.example": True,
    "remote.example": False,
    "sub.example.com": False,
    "com": False,
    "*": False,  # though there is a wildcard for all domains
    "*.example": False,
    "": False,
    "a" * 300: False,
}


async def fill(house: SubmissionHouse) -> None:
    await house.store.addresses.insert("x@bücher.example", "x@bücher.example", house.ids["bert"])


@pytest.mark.parametrize("migrated", [False, True], ids=["new", "migrated"])
async def test_domains(mongo_uri: str, database_name: str, migrated: bool) -> None:
    async with open_submission(mongo_uri, database_name) as house:
        await fill(house)
        if migrated:  # as addresses were written before they knew their domain
            await house.store.database["addresses"].update_many({}, {"$unset": {"domain": 1}})
            assert not await Resolver(house.store.addresses).is_local("example.com")
            for _ in range(2):
                await MIGRATIONS[0].run(house.store.database)
        resolver = Resolver(house.store.addresses)
        assert {domain: await resolver.is_local(domain) for domain in DOMAINS} == DOMAINS


async def test_what_is_known_of_a_domain_costs_no_query(mongo_uri: str, database_name: str) -> None:
    async with open_submission(mongo_uri, database_name) as house:
        asked: list[str] = []

        class Book:
            find = house.store.addresses.find
            alias_target = house.store.addresses.alias_target

            async def has_domain(self, domain: str) -> bool:
                asked.append(domain)
                return await house.store.addresses.has_domain(domain)

        resolver = Resolver(Book())
        for _ in range(3):
            assert await resolver.is_local("example.com")
            assert not await resolver.is_local("remote.example")
        assert asked == ["example.com", "remote.example"]
