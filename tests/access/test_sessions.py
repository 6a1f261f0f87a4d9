"""Signing in tells a stranger nothing, slows guessing down, and ends when it should."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from lib.access.permissions import OPERATOR, Role
from lib.access.sessions import Sessions
from lib.access.users import Users
from lib.clock import utc_now
from lib.db.engine import Store
from lib.db.tables import login_failures, sessions, users
from lib.errors import InvalidInput, LLMManagerError, Throttled

GOOD = "correct horse battery"


@pytest.fixture
def people(store: Store) -> Users:
    made = Users(store)
    made.create(OPERATOR, "amira", GOOD, Role.SUPER_ADMIN)
    return made


@pytest.mark.feature("ACC-2")
def test_a_session_is_a_row_whose_token_is_nowhere(store: Store, people: Users) -> None:
    service = Sessions(store)
    first, second = (service.login("Amira ", GOOD, "10.0.0.1", "Firefox") for _ in range(2))
    assert first != second  # a fresh token at every login
    actor = service.find_actor(first)
    assert actor is not None
    assert (actor.name, actor.role) == ("amira", Role.SUPER_ADMIN)
    with store.read() as connection:
        rows = connection.execute(select(sessions)).mappings().all()
    assert {row["token_hash"] for row in rows} == {hashlib.sha256(t.encode()).hexdigest() for t in (first, second)}
    service.end(first)
    assert service.find_actor(first) is None
    assert service.find_actor(second) is not None
    service.end_all_of(actor.user_id or "")
    assert service.find_actor(second) is None
    assert service.find_actor(None) is None
    assert service.find_actor("made up") is None


@pytest.mark.feature("ACC-2")
def test_unknown_disabled_and_wrong_have_one_answer(store: Store, people: Users) -> None:
    jonas = people.create(OPERATOR, "jonas", GOOD, Role.DEVELOPER)
    people.set_active(OPERATOR, jonas.id, False)
    answers = set()
    for name, password in (("amira", "not the password"), ("nobody", GOOD), ("jonas", GOOD), ("amira", "x" * 500)):
        with pytest.raises(InvalidInput) as caught:
            Sessions(store).login(name, password, f"address of {name} {len(password)}")
        answers.add(str(caught.value))
    assert len(answers) == 1


@pytest.mark.feature("ACC-2")
def test_guessing_is_slowed_down_for_known_and_unknown_names_alike(store: Store, people: Users) -> None:
    for name in ("amira", "nobody"):
        for _ in range(5):
            with pytest.raises(InvalidInput):
                Sessions(store).login(name, "guess", f"address of {name}")
        with pytest.raises(Throttled) as caught:
            Sessions(store).login(name, GOOD, "a new address")
        assert caught.value.retry_after in range(1, 4)
    with store.write() as connection:  # the pause passes
        connection.execute(update(login_failures).values(last_failed_at=utc_now() - timedelta(seconds=10)))
    assert Sessions(store).login("amira", GOOD, "a new address")
    with store.read() as connection:
        assert len(connection.execute(select(login_failures)).all()) == 3  # amira's own count is forgotten


@pytest.mark.feature("ACC-2")
def test_one_address_cannot_try_name_after_name(store: Store, people: Users) -> None:
    service = Sessions(store)
    with store.write() as connection:
        subject = hashlib.sha256(b"address:10.0.0.9").hexdigest()
        row = {"subject": subject, "failures": 25, "last_failed_at": utc_now()}
        connection.execute(login_failures.insert(), row)
    with pytest.raises(Throttled):
        service.login("amira", GOOD, "10.0.0.9")
    assert service.login("amira", GOOD, "10.0.0.10")


@pytest.mark.feature("ACC-2")
@pytest.mark.parametrize("column", ["expires_at", "last_seen_at"])
def test_a_session_ends_by_age_and_by_idleness(store: Store, people: Users, column: str) -> None:
    service = Sessions(store)
    token = service.login("amira", GOOD, "10.0.0.1")
    with store.write() as connection:
        connection.execute(update(sessions).values({column: utc_now() - timedelta(days=4)}))
    assert service.find_actor(token) is None
    service.sweep()
    with store.read() as connection:
        assert connection.execute(select(sessions)).all() == []


def test_a_used_session_stays_awake(store: Store, people: Users) -> None:
    service = Sessions(store)
    token = service.login("amira", GOOD, "10.0.0.1")
    with store.write() as connection:
        connection.execute(update(sessions).values(last_seen_at=utc_now() - timedelta(hours=1)))
    assert service.find_actor(token) is not None
    with store.read() as connection:
        assert utc_now() - connection.execute(select(sessions.c.last_seen_at)).scalar_one() < timedelta(minutes=1)
        assert connection.execute(select(users.c.last_login_at)).scalar_one() is not None


@pytest.mark.feature("ACC-2")
def test_guesses_at_once_count_like_guesses_in_a_row(store: Store, people: Users) -> None:
    service, answers = Sessions(store), Counter[type]()

    def guess(n: int) -> None:
        try:
            service.login("amira", f"guess number {n}", f"10.1.0.{n}")
        except LLMManagerError as error:
            answers[type(error)] += 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(guess, range(24)))
    assert answers == {InvalidInput: 5, Throttled: 19}


@pytest.mark.feature("ACC-2")
def test_a_name_pauses_for_a_minute_at_most_and_success_forgives_it(store: Store, people: Users) -> None:
    service = Sessions(store)
    with store.write() as connection:
        subject = hashlib.sha256(b"name:amira").hexdigest()
        row = {"subject": subject, "failures": 1000, "last_failed_at": utc_now()}
        connection.execute(login_failures.insert(), row)
    with pytest.raises(Throttled) as caught:
        service.login("amira", GOOD, "10.0.0.1")
    assert caught.value.retry_after in range(55, 61)
    with store.write() as connection:
        connection.execute(update(login_failures).values(last_failed_at=utc_now() - timedelta(seconds=61)))
    assert service.login("amira", GOOD, "10.0.0.1")
    with store.read() as connection:
        assert connection.execute(select(login_failures)).all() == []  # neither the name's nor the address's


@pytest.mark.feature("ACC-2")
def test_an_own_account_does_not_wipe_the_count_of_its_address(store: Store, people: Users) -> None:
    service = Sessions(store)
    people.create(OPERATOR, "eve", GOOD, Role.DEVELOPER)
    for n in range(20):
        with pytest.raises(InvalidInput):
            service.login(f"somebody{n}", "guess", "10.0.0.9")
        if n % 6 == 0:
            service.login("eve", GOOD, "10.0.0.9")
    with pytest.raises(Throttled):
        service.login("eve", GOOD, "10.0.0.9")


def test_names_no_database_would_take_are_just_wrong(store: Store, people: Users) -> None:
    for name, password in (("a\0mira", GOOD), ("x" * 5000, GOOD), ("amira\0", "a\0b"), ("", "")):
        with pytest.raises(InvalidInput):
            Sessions(store).login(name + "?", password, f"10.2.0.{len(name)}")
