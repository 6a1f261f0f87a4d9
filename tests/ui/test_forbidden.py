"""At the address of a page that a role does not open stands which roles do."""

import pytest

from lib.access.permissions import Permission, Role, make_actor
from lib.ui.forbidden import explain


@pytest.mark.feature("ACC-2")
def test_a_closed_page_names_the_roles_that_open_it() -> None:
    words = explain(make_actor("u", "jonas", Role.DEVELOPER), Permission.MANAGE_ENCRYPTION_KEYS)
    assert words == (
        "It opens for the roles super-admin and master-developer; yours is developer. "
        "Ask a super-admin for another role."
    )
    teams = explain(make_actor("u", "jonas", Role.DEVELOPER), None)
    assert "the roles super-admin and team-administrator;" in teams
