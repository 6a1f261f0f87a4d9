"""Saved views: one's own, shared ones, and that nobody changes another's."""

import pytest

from lib.access.permissions import Role, make_actor
from lib.access.saved_views import SavedViews
from lib.db.engine import Store
from lib.errors import InvalidInput, NotFound

AMIRA = make_actor("00000000-0000-7000-8000-00000000000a", "amira", Role.SUPER_ADMIN)
JONAS = make_actor("00000000-0000-7000-8000-00000000000b", "jonas", Role.DEVELOPER)
QUERY = {"tab": ["explore"], "split": ["app"], "provider": ["openai", "local"]}

pytestmark = pytest.mark.feature("COST-5")


def test_a_view_is_kept_replaced_by_name_and_deleted(store: Store) -> None:
    views = SavedViews(store)
    first = views.save(JONAS, "  Cost   of apps ", QUERY)
    assert (first.name, first.query, first.is_shared) == ("Cost of apps", QUERY, False)
    second = views.save(JONAS, "Cost of apps", {"split": ["user"]}, pinned=True)
    assert [view.id for view in views.list(JONAS)] == [second.id]
    views.delete(JONAS, second.id)
    assert views.list(JONAS) == []
    for name in ("", " ", "x" * 81, "a\x00b"):
        with pytest.raises(InvalidInput):
            views.save(JONAS, name, QUERY)
    with pytest.raises(InvalidInput):
        views.save(JONAS, "Long", {"app": ["x" * 5_000]})


def test_another_sees_a_view_once_it_is_shared_and_never_changes_it(store: Store) -> None:
    views = SavedViews(store)
    mine = views.save(JONAS, "Mine", QUERY)
    assert views.list(AMIRA) == []
    with pytest.raises(NotFound):
        views.get(AMIRA, mine.id)
    views.change(JONAS, mine.id, shared=True, pinned=True)
    assert [(view.name, view.is_pinned) for view in views.list(AMIRA)] == [("Mine", True)]
    with pytest.raises(NotFound):
        views.delete(AMIRA, mine.id)
    with pytest.raises(NotFound):
        views.change(AMIRA, mine.id, shared=False, pinned=False)
    assert views.get(JONAS, mine.id).is_shared
