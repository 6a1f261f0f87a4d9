"""Who changed what: noted in the transaction of the change, read by super-admins alone."""

import csv
import getpass
import io
import socket
from collections.abc import Generator, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from lib.access import audit
from lib.access.audit import Audit, AuditCriteria
from lib.access.permissions import OPERATOR, Actor, Role, make_actor
from lib.activity.call_filter import ActivityFilter
from lib.cli import operator as command_line
from lib.clock import make_id, utc_now
from lib.db.engine import Store
from lib.db.tables import audit_log
from lib.errors import Conflict, LLMManagerError, PermissionDenied
from lib.gateway.http.exchange import Exchange
from lib.jobs.retention import Days
from lib.services import Services, build
from lib.settings import Settings
from tests.activity.activity_rig import log_all

pytestmark = pytest.mark.feature("ACC-3")
GOOD = "correct horse battery"
AMIRA = make_actor("00000000-0000-7000-8000-00000000000a", "amira", Role.SUPER_ADMIN)


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    services = build(settings)
    yield services
    services.close()


def noted(services: Services, prefix: str) -> list[tuple[str, str, str, dict[str, Any]]]:
    entries = services.audit.page(OPERATOR, AuditCriteria(), size=200).entries
    return [(e.user_name, e.action, e.subject, e.detail) for e in reversed(entries) if e.action.startswith(prefix)]


def test_people(services: Services) -> None:
    jonas = services.users.create(AMIRA, "jonas", GOOD, Role.DEVELOPER)
    services.users.create(AMIRA, "root", GOOD, Role.SUPER_ADMIN)
    services.users.set_role(AMIRA, jonas.id, Role.ADMINISTRATOR)
    services.users.set_active(AMIRA, jonas.id, False)
    services.users.set_active(AMIRA, jonas.id, True)
    services.users.set_password(AMIRA, jonas.id, GOOD + " 2")
    services.users.change_own_password(make_actor(jonas.id, "jonas", Role.ADMINISTRATOR), GOOD + " 2", GOOD + " 3")
    assert noted(services, "user.") == [
        ("amira", "user.create", "jonas", {"role": "developer"}),
        ("amira", "user.create", "root", {"role": "super-admin"}),
        ("amira", "user.role", "jonas", {"role": "administrator", "before": "developer"}),
        ("amira", "user.disable", "jonas", {}),
        ("amira", "user.enable", "jonas", {}),
        ("amira", "user.password", "jonas", {}),
        ("jonas", "user.own_password", "jonas", {}),
    ]


def test_a_refused_change_is_not_noted(services: Services) -> None:
    root = services.users.create(AMIRA, "root", GOOD, Role.SUPER_ADMIN)
    before = noted(services, "")
    with pytest.raises(Conflict, match="has to remain"):
        services.users.set_role(AMIRA, root.id, Role.DEVELOPER)
    with pytest.raises(Conflict, match="is taken"):
        services.users.create(AMIRA, "ROOT", GOOD, Role.DEVELOPER)
    assert noted(services, "") == before


def test_providers_and_their_keys(services: Services) -> None:
    made = services.providers.create(AMIRA, name="acme", kind="openai", api_key="sk-0123456789-wxyz")
    services.providers.update(AMIRA, made.id, api_key="sk-9876543210-abcd", headers={"X-Team": "header-secret"})
    services.providers.update(AMIRA, made.id, remove_key=True)
    services.providers.set_active(AMIRA, made.id, False)
    services.providers.delete(AMIRA, made.id)
    log = noted(services, "provider.")
    assert [(action, detail.get("key", "—")) for _, action, _, detail in log] == [
        ("provider.create", "wxyz"),
        ("provider.edit", "abcd"),
        ("provider.edit", None),
        ("provider.off", "—"),
        ("provider.delete", "—"),
    ]
    assert log[1][3]["headers"] == ["X-Team"]
    assert {who for who, *_ in log} == {"amira"}
    assert "secret" not in str(log)
    assert "0123456789" not in str(log)


def test_configurations(services: Services) -> None:
    made = services.configurations.create(AMIRA, slug="bot", app="x", provider="local", model="m")
    edited = services.configurations.update(AMIRA, made.id, made.revision, content_policy="metadata", description="d")
    with pytest.raises(Conflict):
        services.configurations.update(AMIRA, made.id, made.revision, model="other")
    copy = services.configurations.clone(AMIRA, edited.id)
    services.configurations.set_active(AMIRA, copy.id, False)
    services.configurations.delete(AMIRA, copy.id)
    services.configurations.import_json(AMIRA, services.configurations.export_json(AMIRA, ["bot"]))
    assert noted(services, "configuration.") == [
        ("amira", "configuration.create", "bot", {"content_policy": "full"}),
        (
            *("amira", "configuration.edit", "bot"),
            {"fields": ["description", "content_policy"], "content_policy": "metadata"},
        ),
        ("amira", "configuration.create", "bot-copy", {"clone_of": "bot"}),
        ("amira", "configuration.off", "bot-copy", {}),
        ("amira", "configuration.delete", "bot-copy", {}),
        ("amira", "configuration.export", "json", {"rows": 1}),
        ("amira", "configuration.import", "a file", {"created": []}),
    ]


def test_exports_of_calls_say_who_what_and_how_many(services: Services) -> None:
    log_all(services.store, [{"ago": 60, "user_id": None, "app": app} for app in ("a", "a", "b")])
    asked = ActivityFilter(apps=("a",))
    for export in (services.activity.export_csv, services.activity.export_json, services.activity.export_sql):
        b"".join(export(AMIRA, asked))
    half_read = services.activity.export_csv(AMIRA, ActivityFilter())
    next(half_read)
    next(half_read)
    assert isinstance(half_read, Generator)
    half_read.close()
    assert [(who, form, detail["rows"]) for who, _, form, detail in noted(services, "activity.")] == [
        ("amira", "csv", 2),
        ("amira", "json", 2),
        ("amira", "sql", 2),
        ("amira", "csv", 3),
    ]
    assert noted(services, "activity.")[0][3]["filter"] == {"app": ["a"]}


def written(store: Store, count: int = 60, at: datetime | None = None) -> None:
    now = utc_now()
    rows = [
        {
            **{"id": make_id(), "at": at or now - timedelta(hours=number), "user_id": None, "detail": {"n": number}},
            **{"user_name": ("amira", "jonas")[number % 2], "action": f"x.{number % 3}", "subject": f"=s{number}"},
        }
        for number in range(count)
    ]
    with store.write() as connection:
        connection.execute(insert(audit_log), rows)


def test_it_is_read_by_person_action_and_time_in_pages(store: Store) -> None:
    written(store)
    log = Audit(store)
    everything = log.page(OPERATOR, AuditCriteria())
    assert (everything.count, everything.pages, len(everything.entries)) == (60, 3, 25)
    assert [entry.detail["n"] for entry in everything.entries] == list(range(25))
    assert [entry.detail["n"] for entry in log.page(OPERATOR, AuditCriteria(), 99).entries] == list(range(50, 60))
    asked = AuditCriteria(users=("jonas",), actions=("x.0",))
    assert {entry.detail["n"] % 6 for entry in log.page(OPERATOR, asked).entries} == {3}
    since, until = utc_now() - timedelta(hours=5.5), utc_now() - timedelta(hours=2.5)
    assert [entry.detail["n"] for entry in log.page(OPERATOR, AuditCriteria(since=since, until=until)).entries] == [
        3,
        4,
        5,
    ]
    assert [entry.detail["n"] for entry in log.page(OPERATOR, AuditCriteria(text=" =S5 ")).entries] == [
        5,
        *range(50, 60),
    ]
    assert log.page(OPERATOR, AuditCriteria(text="%")).count == 0
    assert log.options(OPERATOR).users == ["amira", "jonas"]
    assert log.options(OPERATOR).actions == ["x.0", "x.1", "x.2"]


def test_the_export_has_every_line_once_and_no_formula(store: Store) -> None:
    written(store, at=utc_now())  # entries of one moment are still told apart
    exported = b"".join(Audit(store, batch=7).export_csv(AMIRA, AuditCriteria(users=("jonas",))))
    rows = list(csv.DictReader(io.StringIO(exported.decode())))
    assert sorted(row["subject"] for row in rows) == sorted(f"'=s{number}" for number in range(1, 60, 2))
    (entry,) = Audit(store).page(OPERATOR, AuditCriteria(actions=("audit.export",))).entries
    assert (entry.user_name, entry.detail) == ("amira", {"rows": 30})


async def never(*_: Any) -> Any:
    raise AssertionError


def test_every_door_says_from_where(services: Services) -> None:
    services.setup.create_administrator(services.setup.read_code(), "root", GOOD, "page ::ffff:192.0.2.7")
    services.users.create(command_line.OPERATOR, "jonas", GOOD, Role.DEVELOPER)
    old = utc_now() - timedelta(days=60)
    with services.store.write() as connection:
        row = {"id": make_id(), "at": old, "user_name": "x", "action": "x", "subject": "x", "detail": {}}
        connection.execute(insert(audit_log), row)
    services.retention.change(AMIRA.with_origin("page " + "x" * 200), Days(audit=30))
    services.retention.run_if_due(lambda: True)
    entries = services.audit.page(OPERATOR, AuditCriteria(), size=200).entries
    places = {(entry.action, entry.subject): entry.came_from for entry in entries}
    assert places["user.create", "root"] == "page 192.0.2.7"
    assert places["user.create", "jonas"] == f"command line {getpass.getuser()}@{socket.gethostname()}"[:80]
    assert places["retention.change", "retention"] == "page " + "x" * 75
    assert places["retention.run", "retention"] == "job"
    gateway = Exchange({"type": "http", "client": ("192.0.2.9", 1), "headers": []}, never, never)
    assert gateway.place == "gateway 192.0.2.9"
    assert b"page 192.0.2.7" in b"".join(services.audit.export_csv(OPERATOR, AuditCriteria()))


def test_the_first_account_of_the_environment_says_so(settings: Settings) -> None:
    services = build(replace(settings, admin_user="root", admin_password=GOOD))
    (entry,) = services.audit.page(OPERATOR, AuditCriteria(actions=("user.create",))).entries
    services.close()
    assert (entry.subject, entry.came_from) == ("root", "environment")


@pytest.mark.parametrize("role", [Role.MASTER_DEVELOPER, Role.DEVELOPER, Role.ADMINISTRATOR])
def test_only_administrators_read_it(store: Store, role: Role) -> None:
    log, actor = Audit(store), make_actor("u", "x", role)
    for deed in (
        lambda: log.page(actor, AuditCriteria()),
        lambda: log.options(actor),
        lambda: log.export_csv(actor, AuditCriteria()),
    ):
        with pytest.raises(PermissionDenied, match="read the audit log"):
            deed()


def test_a_change_that_fails_takes_its_note_with_it(store: Store) -> None:
    actor = Actor(None, "x", Role.SUPER_ADMIN)

    def change() -> None:
        with store.write() as connection:
            audit.record(connection, actor, "x.y", "z")
            raise LLMManagerError("no")

    with pytest.raises(LLMManagerError):
        change()
    assert Audit(store).page(OPERATOR, AuditCriteria()).count == 0
