"""Messages of requests are stored once for their owner, read back as they were, and go with the last payload."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import delete, func, select, update

from lib.db.engine import Store
from lib.db.tables import message_links, stored_messages, usage_logs, usage_payloads
from lib.jobs.retention import Days
from lib.ledger.closing import Closing, insert_closings
from lib.ledger.content_policy import REDACTED, read_stored_messages, sanitise_request
from lib.ledger.kept_messages import KeptMessages, drop_unused, restore_request
from lib.settings import Settings
from tests.calls.rig import AMIRA, Rig
from tests.ledger.ledger_rig import closing, opening

pytestmark = [pytest.mark.feature("CALL-9"), pytest.mark.feature("CALL-4")]
KEPT = KeptMessages(b"k" * 32)
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 100_000}}
TURNS = 200


def said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "content": text}


def conversation(turns: int) -> list[dict[str, Any]]:
    """The request of a turn: a system prompt, a question with a picture, and all that was said since."""
    first = {"role": "user", "content": [{"type": "text", "text": "What is this?"}, PICTURE]}
    later = [said("assistant" if n % 2 else "user", f"word {n} \u2603") for n in range(1, 2 * turns - 1)]
    return [said("system", "Be brief."), first, *later]


def end(request: Any, owner: str | None = "amira") -> Closing:
    return closing(opening("me", user_id=owner, request=request))


def write(store: Store, *closings: Closing, kept: KeptMessages | None = KEPT) -> None:
    with store.write() as connection:
        assert insert_closings(connection, closings, stored_messages=kept) == len(closings)


def read(store: Store, log_id: str) -> Any:
    with store.read() as connection:
        row = connection.execute(select(usage_payloads).where(usage_payloads.c.id == log_id)).mappings().one()
        return restore_request(connection, row)


def count(store: Store) -> tuple[int, int]:
    with store.read() as connection:
        links, messages = (
            connection.scalar(select(func.count()).select_from(table)) for table in (message_links, stored_messages)
        )
        return links, messages  # type: ignore[return-value]


def forget(store: Store, *log_ids: str) -> None:
    with store.write() as connection:
        mine = usage_payloads.c.id.in_(log_ids)
        chains = set(connection.scalars(select(usage_payloads.c.messages_id).where(mine))) - {None}
        connection.execute(delete(usage_payloads).where(mine))
        drop_unused(connection, chains)


def test_a_long_conversation_grows_by_the_sum_of_its_messages(store: Store) -> None:
    ends = [end(conversation(turns)) for turns in range(1, TURNS + 1)]
    for start in range(0, TURNS, 50):
        write(store, *ends[start : start + 50])
    whole = conversation(TURNS)
    assert count(store) == (len(whole), len(whole))
    with store.read() as connection:
        stored = sum(len(json.dumps(message)) for message in connection.scalars(select(stored_messages.c.message)))
        payloads = [json.dumps(request) for request in connection.scalars(select(usage_payloads.c.request))]
    assert stored == sum(len(json.dumps(message)) for message in whole)
    assert max(map(len, payloads)) < 100
    for number in (0, 1, 99, TURNS - 1):
        assert read(store, ends[number].row.id) == conversation(number + 1)


def test_messages_go_with_the_last_payload_that_has_them(store: Store) -> None:
    first, second, branch = end(conversation(2)), end(conversation(3)), end([*conversation(2), said("user", "Else?")])
    write(store, first, second, branch)
    forget(store, second.row.id)
    assert read(store, first.row.id) == conversation(2)
    assert read(store, branch.row.id)[-1] == said("user", "Else?")
    forget(store, first.row.id, branch.row.id)
    assert count(store) == (0, 0)


def test_nobody_shares_messages_and_no_name_tells_what_was_said(store: Store) -> None:
    write(store, end(conversation(2)), end(conversation(2), "jonas"), end(conversation(2), None))
    assert count(store) == (12, 12)
    write(store, end(conversation(2)), kept=KeptMessages(b"o" * 32))
    assert count(store) == (16, 16), "names depend on the key"


def test_short_and_older_requests_are_stored_whole_and_read_alike(store: Store) -> None:
    short = end([said("system", "Be brief."), said("user", "Hi")])
    older = end(conversation(3))
    nothing = end({"content_policy": "metadata", "prompt_tokens": 3})
    write(store, short, nothing)
    write(store, older, kept=None)
    assert count(store) == (0, 0)
    assert read(store, short.row.id) == short.payload["request"]
    assert read(store, older.row.id) == conversation(3)
    assert read(store, nothing.row.id) == nothing.payload["request"]
    forget(store, short.row.id, older.row.id, nothing.row.id)


def test_what_is_masked_is_stored_masked(store: Store) -> None:
    messages = [said("user", f"Write to ada{n}@example.com") for n in range(3)]
    masked = end(sanitise_request(REDACTED, messages, 12))
    write(store, masked)
    restored = read(store, masked.row.id)
    assert (restored["content_policy"], restored["prompt_tokens"], len(read_stored_messages(restored))) == (
        REDACTED,
        12,
        3,
    )
    with store.read() as connection:
        assert "example.com" not in json.dumps(list(connection.scalars(select(stored_messages.c.message))))


def test_a_closing_that_is_written_again_changes_nothing(store: Store) -> None:
    ended = end(conversation(3))
    again = Closing.from_record(json.loads(json.dumps(ended.to_record(), default=lambda moment: moment.isoformat())))
    write(store, ended)
    before = count(store)
    with store.write() as connection:
        assert insert_closings(connection, [again], stored_messages=KEPT) == 0
    assert count(store) == before


def test_a_call_is_read_back_whole_until_its_words_are_too_old(settings: Settings) -> None:
    rig = Rig(settings)
    try:
        messages = [said("user", "My name is Ada."), said("assistant", "Hello Ada."), said("user", "Who am I?")]
        view = rig.services.calls.run(replace(rig.request("say:Ada"), messages=messages))
        rig.services.calls.flush()
        assert count(rig.services.store) == (3, 3)
        assert rig.services.activity.detail(AMIRA, view.log_id).messages == messages
        assert rig.services.runs.view(AMIRA, view.call_id).messages == messages
        with rig.services.store.write() as connection:
            long_ago = update(usage_logs).values(started_at=datetime(2001, 1, 1, tzinfo=UTC))
            connection.execute(long_ago)
        rig.services.retention.change(AMIRA, Days(words=1))
        assert rig.services.retention.run(AMIRA).words == 1
        assert count(rig.services.store) == (0, 0)
        assert rig.services.activity.detail(AMIRA, view.log_id).messages is None
    finally:
        rig.services.close()
