"""Preferences stay with their person; nobody else's change, and the operator has none."""

import threading

import pytest

from lib.access.permissions import OPERATOR, Role, make_actor
from lib.access.preferences import PLAYGROUND_CONFIGURATION, REPORT_ZONE, Preferences
from lib.db.engine import Store
from lib.errors import InvalidInput, PermissionDenied

AMIRA = make_actor("00000000-0000-7000-8000-00000000000a", "amira", Role.SUPER_ADMIN)
JONAS = make_actor("00000000-0000-7000-8000-00000000000b", "jonas", Role.DEVELOPER)


@pytest.mark.feature("PLAY-8")
def test_a_value_is_kept_and_replaced_and_belongs_to_one_person(store: Store) -> None:
    preferences = Preferences(store)
    assert preferences.get(AMIRA, PLAYGROUND_CONFIGURATION, "local-assistant") == "local-assistant"
    preferences.set(AMIRA, PLAYGROUND_CONFIGURATION, "support-bot")
    preferences.set(AMIRA, PLAYGROUND_CONFIGURATION, {"panes": ["a", "b"], "n": None})
    assert Preferences(store).get(AMIRA, PLAYGROUND_CONFIGURATION) == {"panes": ["a", "b"], "n": None}
    assert preferences.get(JONAS, PLAYGROUND_CONFIGURATION, "x") == "x"


@pytest.mark.feature("PLAY-8")
def test_the_report_zone_is_utc_until_chosen_and_must_exist(store: Store) -> None:
    preferences = Preferences(store)
    assert preferences.report_zone(AMIRA).key == "UTC"
    preferences.set(AMIRA, REPORT_ZONE, "Asia/Kathmandu")
    assert preferences.report_zone(AMIRA).key == "Asia/Kathmandu"
    for wrong in ("Mars/Olympus", "", None, "../../etc/passwd", "/etc/localtime", 3, "x\x00"):
        with pytest.raises(InvalidInput):
            preferences.set(AMIRA, REPORT_ZONE, wrong)
    assert preferences.report_zone(AMIRA).key == "Asia/Kathmandu"


@pytest.mark.feature("PLAY-8")
def test_the_operator_has_defaults_only(store: Store) -> None:
    preferences = Preferences(store)
    with pytest.raises(PermissionDenied):
        preferences.set(OPERATOR, REPORT_ZONE, "Europe/Berlin")
    assert preferences.report_zone(OPERATOR).key == "UTC"
    assert preferences.get(OPERATOR, "anything", 7) == 7


@pytest.mark.feature("PLAY-8")
def test_two_tabs_may_set_the_same_key_at_once(store: Store) -> None:
    preferences, failures = Preferences(store), []
    start = threading.Barrier(4)

    def save(value: int) -> None:
        start.wait()
        try:
            for _ in range(5):
                preferences.set(AMIRA, "tab", value)
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=save, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert preferences.get(AMIRA, "tab") in range(4)
