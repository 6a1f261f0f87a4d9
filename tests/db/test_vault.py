"""Secrets at rest: encrypted, refused under the wrong key, rotated in one step that survives a kill."""

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import JSON, Boolean, Column, Integer, String, insert, select, text

from lib.access.master_key import MasterKey
from lib.access.permissions import OPERATOR, Role, make_actor
from lib.clock import utc_now
from lib.db.data_key import DataKey
from lib.db.engine import Store
from lib.db.keyring import Key, read_file, write_file
from lib.db.tables import UtcDateTime, metadata, providers, vault_keys
from lib.db.vault import SEALED_COLUMNS, SEALED_DOCUMENTS, Vault
from lib.errors import InstallationError, InvalidInput, PermissionDenied
from lib.ledger.step_results import StepResults, write_result
from lib.providers.registry import Providers
from lib.settings import Settings

SECRET = "sk-canary-0123456789abcdef"


def opened(store: Store, settings: Settings) -> Vault:
    vault = Vault(store, settings)
    vault.open()
    return vault


def rotate(store: Store, settings: Settings) -> int:
    return MasterKey(opened(store, settings)).rotate(OPERATOR)


@pytest.fixture
def registry(store: Store, settings: Settings) -> Providers:
    registry = Providers(store, opened(store, settings))
    registry.create(OPERATOR, name="openai", kind="openai", api_key=SECRET, headers={"X-Team": "team-secret-1"})
    return registry


@pytest.mark.feature("CFG-6")
def test_a_key_file_is_made_for_its_owner_alone(store: Store, settings: Settings) -> None:
    vault = opened(store, settings)
    assert stat.S_IMODE(vault.path.stat().st_mode) == 0o600
    sealed = vault.encrypt(SECRET)
    assert SECRET not in sealed
    assert opened(store, settings).decrypt(sealed) == SECRET


@pytest.mark.feature("CFG-6")
def test_a_key_file_others_can_read_is_refused(store: Store, settings: Settings) -> None:
    opened(store, settings).path.chmod(0o640)
    with pytest.raises(InstallationError, match=r"can be read by others.*chmod 600"):
        opened(store, settings)


@pytest.mark.feature("CFG-6")
def test_a_wrong_or_missing_key_is_refused_before_it_does_harm(store: Store, settings: Settings) -> None:
    vault = opened(store, settings)
    with pytest.raises(InstallationError, match="does not fit the data"):
        opened(store, replace(settings, master_key="another long master key"))
    kept = vault.path.read_bytes()
    vault.path.unlink()
    with pytest.raises(InstallationError, match="key file is missing"):
        opened(store, settings)
    assert not vault.path.exists()
    vault.path.write_bytes(kept)
    vault.path.chmod(0o600)
    opened(store, settings)


@pytest.mark.feature("CFG-6")
def test_a_damaged_or_short_key_is_refused(store: Store, settings: Settings) -> None:
    with pytest.raises(InstallationError, match="too short"):
        opened(store, replace(settings, master_key="short"))
    path = opened(store, settings).path
    path.write_text("not a key\n")
    with pytest.raises(InstallationError, match="can't be read"):
        opened(store, settings)


@pytest.mark.feature("CFG-6")
def test_rotation_reencrypts_everything_under_a_new_key(store: Store, settings: Settings, registry: Providers) -> None:
    with store.read() as connection:
        before = connection.execute(select(providers.c.key_ciphertext, providers.c.headers)).one()
        old_id = connection.scalar(select(vault_keys.c.key_id))
    old_key = read_file(settings.data_dir / "master.key")
    assert rotate(store, settings) == 2
    with store.read() as connection:
        after = connection.execute(select(providers.c.key_ciphertext, providers.c.headers)).one()
        assert connection.scalars(select(vault_keys.c.key_id)).all() != [old_id]
    assert after.key_ciphertext != before.key_ciphertext
    assert old_key[0] not in read_file(settings.data_dir / "master.key")
    again = Providers(store, opened(store, settings))
    provider = again.get(OPERATOR, "openai")
    endpoint = again.endpoint(provider.id)
    assert (endpoint.api_key, endpoint.headers, provider.header_names) == (
        SECRET,
        {"X-Team": "team-secret-1"},
        ("X-Team",),
    )


def any_value(column: Column[Any]) -> Any:
    """A value that a column takes."""
    match column.type:
        case UtcDateTime():
            return utc_now()
        case JSON():
            return {}
        case Boolean():
            return False
        case Integer():
            return 0
        case String():
            return "x"
    return None


@pytest.mark.feature("CFG-6")
def test_a_rotation_finds_every_place_of_a_ciphertext(store: Store, settings: Settings) -> None:
    vault = opened(store, settings)
    with store.write() as connection:
        for column in (*SEALED_COLUMNS, *SEALED_DOCUMENTS):
            table = column.table
            row = {
                each.name: "id" if each.primary_key else None if each.nullable else any_value(each) for each in table.c
            }
            sealed = vault.encrypt(json.dumps("kept"), within=connection)
            is_document = column in SEALED_DOCUMENTS
            row |= {each.name: column.name for each in table.primary_key.columns}
            connection.execute(insert(table).values(row | {column.name: {"sealed": sealed} if is_document else sealed}))
    rotate(store, settings)
    (key,) = read_file(settings.data_dir / "master.key")
    with store.read() as connection:
        for column in (*SEALED_COLUMNS, *SEALED_DOCUMENTS):
            key_column = next(iter(column.table.primary_key.columns))
            cell: Any = connection.scalar(select(column).where(key_column == column.name))
            sealed = cell["sealed"] if column in SEALED_DOCUMENTS else cell
            assert (sealed.partition(":")[0], vault.decrypt(sealed)) == (key.id, '"kept"'), column
    named = {column for table in metadata.sorted_tables for column in table.c if column.name in ("sealed", "sealing")}
    assert named <= set(SEALED_COLUMNS)


@pytest.mark.feature("FLOW-2")
def test_a_result_that_was_sealed_before_a_rotation_is_opened_after_it(store: Store, settings: Settings) -> None:
    results = StepResults(store, DataKey(store, opened(store, settings)))
    closing = results.build_row("run", "ask", {"answer": 42})
    rotate(store, settings)
    rotate(store, settings)
    with store.write() as connection:
        assert write_result(connection, closing)
    for reader in (results, StepResults(store, DataKey(store, opened(store, settings)))):
        kept = reader.get("run", "ask")
        assert kept is not None
        assert kept.output == {"answer": 42}
    assert results.finish("run", "next", "in one transaction")
    again = results.get("run", "next")
    assert again is not None
    assert again.output == "in one transaction"


@pytest.mark.feature("CFG-6")
def test_a_kill_between_file_and_database_loses_nothing(store: Store, settings: Settings, registry: Providers) -> None:
    path = settings.data_dir / "master.key"
    write_file(path, [Key.new(), *read_file(path)])  # as it stands when the process dies before the commit
    again = Providers(store, opened(store, settings))
    assert again.endpoint(again.get(OPERATOR, "openai").id).api_key == SECRET
    both = path.read_bytes()
    rotate(store, settings)
    assert len(read_file(path)) == 1
    newest = path.read_bytes()
    path.write_bytes(newest + both)  # as it stands when the process dies after the commit
    last = Providers(store, opened(store, settings))
    assert last.endpoint(last.get(OPERATOR, "openai").id).api_key == SECRET


@pytest.mark.feature("CFG-6")
def test_another_process_follows_a_rotation(store: Store, settings: Settings, registry: Providers) -> None:
    other = Providers(store, opened(store, settings))
    rotate(store, settings)
    assert other.endpoint(other.get(OPERATOR, "openai").id).api_key == SECRET
    other.create(OPERATOR, name="second", kind="groq", api_key="gsk_0123456789abcdef")
    assert registry.endpoint(registry.get(OPERATOR, "second").id).api_key == "gsk_0123456789abcdef"


@pytest.mark.feature("CFG-6")
def test_a_key_from_the_environment_rotates_when_the_new_one_stands_first(store: Store, settings: Settings) -> None:
    old, new = "the old master key quite long", "the new master key quite long"
    registry = Providers(store, opened(store, replace(settings, master_key=old)))
    registry.create(OPERATOR, name="openai", kind="openai", api_key=SECRET)
    with pytest.raises(InvalidInput, match="no new key"):
        rotate(store, replace(settings, master_key=old))
    rotate(store, replace(settings, master_key=f"{new},{old}"))
    alone = Providers(store, opened(store, replace(settings, master_key=new)))
    assert alone.endpoint(alone.get(OPERATOR, "openai").id).api_key == SECRET
    assert not (settings.data_dir / "master.key").exists()


@pytest.mark.feature("ACC-1")
def test_only_those_who_may_rotate(store: Store, settings: Settings) -> None:
    key = MasterKey(opened(store, settings))
    for deed in (key.rotate, key.state):
        with pytest.raises(PermissionDenied):
            deed(make_actor("u", "dev", Role.DEVELOPER))


@pytest.mark.feature("CFG-6")
def test_a_stolen_database_holds_no_key(tmp_path: Path, settings: Settings) -> None:
    from lib.db import schema

    store = Store(settings.database_url)
    schema.upgrade(store)
    registry = Providers(store, opened(store, settings))
    registry.create(OPERATOR, name="openai", kind="openai", api_key=SECRET, headers={"X-Key": "header-secret-1"})
    with store.write() as connection:
        connection.execute(text("SELECT 1"))
    store.dispose()
    files = [p for p in tmp_path.iterdir() if p.name.startswith("llm_manager.db") and os.path.isfile(p)]
    held = b"".join(path.read_bytes() for path in files)
    assert SECRET.encode() not in held
    assert b"header-secret-1" not in held
