"""A new key takes the place of the old one in everything that is sealed."""

from pathlib import Path

from bson.objectid import ObjectId

from duckmail.runtime.sealer import KeyFile, Sealer, open_sealer
from duckmail.runtime.targetpasswords import TargetPasswords
from storage.sealed import SECRETS, TARGETS, SealedFields, value_at
from storage.store import Store

OLD, NEW = bytes(32), bytes(range(32))
URL = "smtps://u:secret@relay.test:465"


async def test_everything_in_the_list_is_sealed_anew(store: Store) -> None:
    old = Sealer([OLD])
    owner = ObjectId()
    (url,) = TargetPasswords(old).sealed([URL])
    for number, secret in enumerate(SECRETS):
        key = {"_id": owner} if secret.collection == "users" else {"_id": number, "user": owner}
        update: dict[str, object] = {"fingerprint": "ab"}
        if not secret.each:
            update[secret.field] = old.seal(b"seed", secret.context({**key, **update}))
        if secret.each:
            item = {"id": ObjectId()}
            update = {secret.field: [{**item, secret.each: old.seal(b"seed", secret.context(item))}]}
        await store.database[secret.collection].update_one(key, {"$set": update}, upsert=True)
    for row in TARGETS:
        value: list[object] = [{row.each: url, "x": 1}, {"x": 2}] if row.each else [url, "a@b.example"]
        stored = url if row.field == "url" else value
        await store.database[row.collection].update_one({"_id": owner}, {"$set": {row.field: stored}}, upsert=True)
    both = Sealer([NEW, OLD])
    result = await SealedFields(store.database, both).reseal()
    assert {key for key, each in result.items() if each.sealed} == set(result)
    assert not any(each.lost for each in result.values())
    only = Sealer([NEW])
    for secret in SECRETS:
        async for document in store.database[secret.collection].find({secret.field: {"$exists": True}}):
            owner_of = value_at(document, secret.field)[0] if secret.each else document
            sealed = owner_of[secret.each] if secret.each else value_at(document, secret.field)
            assert only.unseal(sealed, secret.context(owner_of)) == b"seed"
    for row in TARGETS:
        async for document in store.database[row.collection].find({row.field: {"$exists": True}}):
            found = value_at(document, row.field)
            first, second = (found, "a@b.example") if isinstance(found, str) else found
            assert TargetPasswords(only).opened(first[row.each] if row.each else first) == URL
            assert second == ({"x": 2} if row.each else "a@b.example")
    again = await SealedFields(store.database, both).reseal()
    assert not any(each.sealed for key, each in again.items() if key.startswith("users.seed"))


async def test_what_no_key_opens_is_left_and_told(store: Store) -> None:
    sealed = Sealer([OLD]).seal(b"seed", "x")
    await store.database["users"].insert_one({"username": "a", "unameview": "a", "seed": sealed})
    result = await SealedFields(store.database, Sealer([NEW])).reseal()
    assert (result["users.seed"].lost, result["users.seed"].sealed) == (1, 0)
    document = await store.database["users"].find_one({"username": "a"})
    assert document is not None
    assert document["seed"] == sealed


def test_a_running_server_takes_the_new_key_at_once(tmp_path: Path) -> None:
    running = open_sealer(tmp_path, {})
    before = running.seal(b"one", "x")
    assert running.is_current(before)
    KeyFile.find(tmp_path, {}).add()
    fresh = open_sealer(tmp_path, {})
    assert running.unseal(fresh.seal(b"two", "x"), "x") == b"two"
    assert not running.is_current(before)
    assert fresh.is_current(running.seal(b"three", "x"))
    assert fresh.unseal(before, "x") == b"one"
    assert (tmp_path / "seal-key").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["seal-key"]
    (tmp_path / "seal-key").write_text("damaged")  # the keys in memory are good
    assert running.unseal(before, "x") == b"one"
