"""Twelve permissions by four roles by every function of the services that names an actor: refused before anything else.

The table is complete by construction: a public function that takes an actor and is missing here fails a test.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from lib.access.permissions import ROLE_PERMISSIONS, Actor, Permission, Role, actor_for
from lib.access.preferences import Preferences
from lib.access.users import Users
from lib.budgets.budget import CallFacts
from lib.budgets.budgets import Budgets
from lib.budgets.webhook import Webhook
from lib.calls.activity import Activity
from lib.calls.calls import Calls
from lib.calls.connection import check_connection
from lib.calls.request import CallRequest
from lib.calls.runs import Runs
from lib.configs.configurations import Configurations
from lib.configs.overrides import OverrideDraft, Overrides
from lib.demo import Demo
from lib.errors import LLMManagerError, PermissionDenied
from lib.providers.circuits import Circuits
from lib.providers.discovery import Models
from lib.providers.registry import Providers
from lib.services import Services, build
from lib.settings import Settings
from lib.statistics.queries import Statistics

pytestmark = pytest.mark.feature("ACC-1")
P = Permission
NOBODY = "0190a000-0000-7000-8000-000000000000"  # an id that is nobody's: whoever may ask gets "no such thing"
Deed = Callable[[Services, Actor], Any]
NEEDS: dict[str, tuple[Permission, Deed]] = {
    "Providers.list": (P.VIEW_CONFIGS, lambda s, a: s.providers.list(a)),
    "Providers.get": (P.VIEW_CONFIGS, lambda s, a: s.providers.get(a, NOBODY)),
    "Providers.used_by": (P.VIEW_CONFIGS, lambda s, a: s.providers.used_by(a, NOBODY)),
    "Providers.create": (P.MANAGE_PROVIDERS, lambda s, a: s.providers.create(a, name="x", kind="no such kind")),
    "Providers.update": (P.MANAGE_PROVIDERS, lambda s, a: s.providers.update(a, NOBODY, name="x")),
    "Providers.set_active": (P.MANAGE_PROVIDERS, lambda s, a: s.providers.set_active(a, NOBODY, False)),
    "Providers.delete": (P.MANAGE_PROVIDERS, lambda s, a: s.providers.delete(a, NOBODY)),
    "Providers.rotate_keys": (P.MANAGE_ENCRYPTION_KEYS, lambda s, a: s.providers.rotate_keys(a)),
    "Circuits.list": (P.VIEW_CONFIGS, lambda s, a: s.circuits.list(a)),
    "Circuits.close": (P.MANAGE_PROVIDERS, lambda s, a: s.circuits.close(a, NOBODY, "m")),
    "Configurations.list": (P.VIEW_CONFIGS, lambda s, a: s.configurations.list(a)),
    "Configurations.get": (P.VIEW_CONFIGS, lambda s, a: s.configurations.get(a, NOBODY)),
    "Configurations.apps": (P.VIEW_CONFIGS, lambda s, a: s.configurations.apps(a)),
    "Configurations.default_for": (P.VIEW_CONFIGS, lambda s, a: s.configurations.default_for(a, "x")),
    "Configurations.export_json": (P.VIEW_CONFIGS, lambda s, a: s.configurations.export_json(a)),
    "Configurations.create": (
        P.CREATE_CONFIGS,
        lambda s, a: s.configurations.create(a, slug="no slug!", app="x", model="m"),
    ),
    "Configurations.clone": (P.CREATE_CONFIGS, lambda s, a: s.configurations.clone(a, NOBODY)),
    "Configurations.import_json": (P.CREATE_CONFIGS, lambda s, a: s.configurations.import_json(a, "{")),
    "Configurations.update": (P.EDIT_CONFIGS, lambda s, a: s.configurations.update(a, NOBODY, 1, model="m")),
    "Configurations.set_active": (P.EDIT_CONFIGS, lambda s, a: s.configurations.set_active(a, NOBODY, False)),
    "Configurations.set_default": (P.EDIT_CONFIGS, lambda s, a: s.configurations.set_default(a, NOBODY)),
    "Configurations.clear_default": (P.EDIT_CONFIGS, lambda s, a: s.configurations.clear_default(a, NOBODY)),
    "Configurations.delete": (P.DELETE_CONFIGS, lambda s, a: s.configurations.delete(a, NOBODY)),
    "Overrides.list": (P.VIEW_CONFIGS, lambda s, a: s.overrides.list(a)),
    "Overrides.get": (P.VIEW_CONFIGS, lambda s, a: s.overrides.get(a, NOBODY)),
    "Overrides.matching": (P.VIEW_CONFIGS, lambda s, a: s.overrides.matching(a, "x", None, NOBODY)),
    "Overrides.effective": (P.VIEW_CONFIGS, lambda s, a: s.overrides.effective(a, _any(s), {})),
    "Overrides.create": (P.EDIT_CONFIGS, lambda s, a: s.overrides.create(a, OverrideDraft(""))),
    "Overrides.update": (P.EDIT_CONFIGS, lambda s, a: s.overrides.update(a, NOBODY, OverrideDraft("x"))),
    "Overrides.set_active": (P.EDIT_CONFIGS, lambda s, a: s.overrides.set_active(a, NOBODY, False)),
    "Overrides.delete": (P.EDIT_CONFIGS, lambda s, a: s.overrides.delete(a, NOBODY)),
    "Models.list": (P.VIEW_CONFIGS, lambda s, a: s.models.list(a, NOBODY)),
    "Models.refresh": (P.EDIT_CONFIGS, lambda s, a: s.models.refresh(a, NOBODY)),
    "Calls.start": (P.TEST_CONFIGS, lambda s, a: s.calls.start(_request(a))),
    "Calls.run": (P.TEST_CONFIGS, lambda s, a: s.calls.run(_request(a))),
    "Budgets.list": (P.VIEW_STATS, lambda s, a: s.budgets.list(a)),
    "Budgets.get": (P.VIEW_STATS, lambda s, a: s.budgets.get(a, NOBODY)),
    "Budgets.find": (P.VIEW_STATS, lambda s, a: s.budgets.find(a, "global", "", "day")),
    "Budgets.history": (P.VIEW_STATS, lambda s, a: s.budgets.history(a, NOBODY)),
    "Budgets.notices": (P.VIEW_STATS, lambda s, a: s.budgets.notices(a)),
    "Budgets.attention": (P.VIEW_STATS, lambda s, a: s.budgets.attention(a)),
    "Budgets.subject": (P.VIEW_STATS, lambda s, a: s.budgets.subject(a, "user", NOBODY)),
    "Budgets.check": (P.VIEW_STATS, lambda s, a: s.budgets.check(a, CallFacts("p", "a"), 1)),
    "Budgets.create": (
        P.MANAGE_PROVIDERS,
        lambda s, a: s.budgets.create(a, scope="global", period="day", limit_nano=0),
    ),
    "Budgets.update": (P.MANAGE_PROVIDERS, lambda s, a: s.budgets.update(a, NOBODY, limit_nano=1)),
    "Budgets.recount": (P.MANAGE_PROVIDERS, lambda s, a: s.budgets.recount(a, NOBODY)),
    "Budgets.delete": (P.MANAGE_PROVIDERS, lambda s, a: s.budgets.delete(a, NOBODY)),
    "Webhook.state": (P.VIEW_STATS, lambda s, a: s.webhook.state(a)),
    "Webhook.set": (P.MANAGE_PROVIDERS, lambda s, a: s.webhook.set(a, url="no address", secret="short")),
    "Webhook.remove": (P.MANAGE_PROVIDERS, lambda s, a: s.webhook.remove(a)),
    "Webhook.test": (P.MANAGE_PROVIDERS, lambda s, a: s.webhook.test(a)),
    "check_connection": (
        P.TEST_CONFIGS,
        lambda s, a: check_connection(a, replace(_any(s), provider_id=None), s.calls, s.providers),
    ),
}
SUPER_ADMIN_ONLY: dict[str, Deed] = {
    "Users.list": lambda s, a: s.users.list(a),
    "Users.create": lambda s, a: s.users.create(a, "eve", "short", Role.SUPER_ADMIN),
    "Users.set_role": lambda s, a: s.users.set_role(a, NOBODY, Role.DEVELOPER),
    "Users.set_active": lambda s, a: s.users.set_active(a, NOBODY, False),
    "Users.set_password": lambda s, a: s.users.set_password(a, NOBODY, "short"),
    "Demo.load": lambda s, a: s.demo.load(a, 0),
    "Demo.remove": lambda s, a: s.demo.remove(a),
}
# One's own things, whatever the role; that they are one's own is what test_isolation.py shows.
OWN = {"Users.change_own_password", "Calls.view", "Calls.stop", "Calls.wait", "Calls.running"}
SCOPED_BY_ROWS = (Activity, Runs, Statistics, Preferences)


def _any(services: Services) -> Any:
    return services.configurations.list(actor_for("u", "root", Role.SUPER_ADMIN))[0]


def _request(actor: Actor) -> CallRequest:
    return CallRequest(actor=actor, messages=[{"role": "user", "content": "hi"}], configuration="no-such")


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("matrix")
    made = build(Settings(data_dir=folder, database_url=f"sqlite:///{folder / 'llm_manager.db'}"))
    yield made
    made.close()


def refused(deed: Deed, services: Services, actor: Actor) -> bool:
    """Whether the deed needs a permission that the actor lacks; other refusals mean that the actor was let in."""
    try:
        deed(services, actor)
    except PermissionDenied:
        return True
    except LLMManagerError:
        return False
    return False


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", NEEDS)
def test_a_role_may_do_what_its_permissions_say(services: Services, name: str, role: Role) -> None:
    permission, deed = NEEDS[name]
    assert refused(deed, services, actor_for("u", "amira", role)) == (permission not in ROLE_PERMISSIONS[role])


@pytest.mark.parametrize("name", NEEDS)
def test_the_one_missing_permission_is_enough_to_be_refused(services: Services, name: str) -> None:
    permission, deed = NEEDS[name]
    everything_else = frozenset(Permission) - {permission}
    assert refused(deed, services, Actor("u", "amira", Role.DEVELOPER, everything_else))


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("name", SUPER_ADMIN_ONLY)
def test_people_and_sample_data_are_for_super_admins(services: Services, name: str, role: Role) -> None:
    assert refused(SUPER_ADMIN_ONLY[name], services, actor_for("u", "amira", role)) == (role is not Role.SUPER_ADMIN)


def test_every_function_that_takes_an_actor_is_in_the_table() -> None:
    known = {*NEEDS, *SUPER_ADMIN_ONLY, *OWN}
    for service in (Providers, Circuits, Configurations, Overrides, Models, Users, Calls, Demo, Budgets, Webhook):
        for name, function in inspect.getmembers(service, inspect.isfunction):
            takes_one = {"actor", "request"} & set(inspect.signature(function).parameters)
            assert name.startswith("_") or not takes_one or f"{service.__name__}.{name}" in known, name
    for service in SCOPED_BY_ROWS:
        for name, function in inspect.getmembers(service, inspect.isfunction):
            inputs = list(inspect.signature(function).parameters)
            assert name.startswith("_") or len(inputs) == 1 or inputs[1] == "actor", (service, name)
