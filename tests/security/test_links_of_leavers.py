"""What a leaver has put aside opens nothing: links work as long as who gave them might give them still."""

from collections.abc import Iterator

import pytest

from lib.access.membership import find_person
from lib.access.permissions import OPERATOR, Actor, Role
from lib.errors import NotFound
from lib.services import Services, build
from lib.settings import Settings

pytestmark = pytest.mark.feature("ACC-2")
PASSWORD = "correct horse battery"


@pytest.fixture
def services(settings: Settings) -> Iterator[Services]:
    made = build(settings)
    yield made
    made.close()


def person(services: Services, name: str, role: Role) -> Actor:
    user = services.users.create(OPERATOR, name, PASSWORD, role)
    with services.store.read() as connection:
        found = find_person(connection, user.id)
    assert found is not None
    return found


@pytest.mark.parametrize("leaving", ["taken out", "another role", "switched off", "stays"])
def test_an_invitation_of_who_no_longer_rules_the_team_opens_nothing(services: Services, leaving: str) -> None:
    team = services.teams.create(OPERATOR, "Research")
    person(services, "amira", Role.SUPER_ADMIN)
    ben = person(services, "ben", Role.DEVELOPER)
    services.teams.add(OPERATOR, team.id, "ben", Role.TEAM_ADMINISTRATOR)
    with services.store.read() as connection:
        in_team = find_person(connection, str(ben.user_id), team.id)
    assert in_team is not None
    token = services.access_links.invite(in_team, team.id, Role.MASTER_DEVELOPER)
    match leaving:
        case "taken out":
            services.teams.remove(OPERATOR, team.id, str(ben.user_id))
        case "another role":
            services.teams.set_role(OPERATOR, team.id, str(ben.user_id), Role.DEVELOPER)
        case "switched off":
            services.users.set_active(OPERATOR, str(ben.user_id), active=False)
    if leaving == "stays":
        assert services.access_links.look(token).role == Role.MASTER_DEVELOPER
        assert services.access_links.accept(token, "mallory", PASSWORD)
        return
    with pytest.raises(NotFound):
        services.access_links.look(token)
    with pytest.raises(NotFound):
        services.access_links.accept(token, "mallory", PASSWORD)


def test_a_new_password_by_link_ends_the_other_links_and_those_of_a_former_super_admin(services: Services) -> None:
    amira = person(services, "amira", Role.SUPER_ADMIN)
    person(services, "zoe", Role.SUPER_ADMIN)
    ben = person(services, "ben", Role.DEVELOPER)
    first, second = (services.access_links.reset_password(amira, str(ben.user_id)) for _ in range(2))
    services.access_links.accept(first, "", PASSWORD + " anew")
    with pytest.raises(NotFound):
        services.access_links.accept(second, "", PASSWORD)
    third = services.access_links.reset_password(amira, str(ben.user_id))
    services.users.set_role(OPERATOR, str(amira.user_id), Role.DEVELOPER)
    with pytest.raises(NotFound):
        services.access_links.accept(third, "", PASSWORD)
