"""`keys`: made, listed, revoked and limited from the command line."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from lib.access.grants import Limits
from lib.access.permissions import OPERATOR
from lib.db.engine import Store
from lib.services import Services
from lib.settings import Settings
from tests.cli.commands import Run, refused, succeeded

pytestmark = pytest.mark.feature("GATE-3")


def opened(tmp_path: object) -> Services:
    """The services on what the commands wrote."""
    folder = tmp_path / "data"  # type: ignore[operator]
    url = f"sqlite:///{folder / 'llm_manager.db'}"
    return Services(Settings(data_dir=folder, database_url=url), Store(url))


def test_the_key_is_the_last_line_and_works_until_it_is_revoked(run: Run, tmp_path: object) -> None:
    shown = succeeded(run("keys", "create", "--app", "bot", "--model", "support-*", "openai/*", "--expires", "30"))
    token = shown.splitlines()[-1]
    services = opened(tmp_path)
    key = services.api_keys.authenticate(token)
    assert key is not None
    assert (key.app, key.grant.models) == ("bot", ("support-*", "openai/*"))
    assert key.expires_at is not None
    assert timedelta(days=29.9) < key.expires_at - datetime.now(UTC) < timedelta(days=31.1)
    listed = json.loads(succeeded(run("keys", "list", "--json")))
    assert [(row["prefix"], row["state"], row["owner"]) for row in listed] == [(token[:12], "active", None)]
    assert token not in json.dumps(listed)
    assert token[:12] in succeeded(run("keys", "revoke", token[:12]))
    assert Services(services.settings, services.store).api_keys.authenticate(token) is None
    assert "revoked" in succeeded(run("keys", "list"))
    assert "No key begins so." in refused(run("keys", "revoke", token[:12]))
    services.close()


def test_an_owner_by_name_and_refusals_in_a_sentence(run: Run, tmp_path: object) -> None:
    assert "no user nobody" in refused(run("keys", "create", "--app", "bot", "--user", "nobody"))
    assert "app" in refused(run("keys", "create", "--app", "Not A Slug"))
    assert "expired already" in refused(run("keys", "create", "--app", "bot", "--expires", "2020-01-01"))
    succeeded(run("users", "add", "jonas", "--role", "developer", LLM_MANAGER_NEW_PASSWORD="correct horse battery"))
    more = ("--user", "Jonas", "--requests-per-minute", "9", "--concurrency", "2", "--endpoint", "chat", "api")
    token = succeeded(run("keys", "create", "--app", "bot", *more)).splitlines()[-1]
    services = opened(tmp_path)
    key = services.api_keys.authenticate(token)
    assert key is not None
    assert (key.owner, key.grant.limits) == ("jonas", Limits(9, None, 2))
    services.close()


def test_an_app_is_limited_and_freed(run: Run, tmp_path: object) -> None:
    succeeded(run("keys", "limit", "--app", "bot", "--tokens-per-minute", "5000"))
    services = opened(tmp_path)
    assert services.limits.list_apps(OPERATOR) == {"bot": Limits(None, 5000)}
    assert "no limits now" in succeeded(run("keys", "limit", "--app", "bot"))
    assert services.limits.list_apps(OPERATOR) == {}
    services.close()
