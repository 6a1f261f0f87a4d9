"""Content policies: what of a call's words reaches the disk, in every place where words are kept."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from lib.activity.call_filter import ActivityFilter
from lib.calls.live_call import LiveCall
from lib.calls.plan_sources import PlanSources
from lib.calls.plans import make_plan
from lib.calls.request import CallRequest
from lib.db.tables import open_calls, usage_payloads
from lib.ledger import content_policy
from lib.ledger.masking import mask
from lib.providers.chunks import ReasoningDelta, TextDelta, ToolCallDelta
from lib.providers.redaction import remember
from lib.settings import Settings
from tests.calls.rig import AMIRA, Rig

pytestmark = pytest.mark.feature("CALL-8")
MAIL, PHONE, CARD = "amira.k@example.org", "+49 30 1234567", "4111 1111 1111 1111"
WORD = "zanzibarian"


@pytest.fixture
def rig(settings: Settings) -> Iterator[Rig]:
    rig = Rig(settings)
    yield rig
    rig.services.close()


def request(rig: Rig, policy: str, script: str, prompt: str, **more: Any) -> CallRequest:
    slug = f"{policy}-{len(rig.services.configurations.list(AMIRA))}"
    rig.services.configurations.create(
        AMIRA, slug=slug, app="tests", provider="scripted", model=script, content_policy=policy
    )
    return CallRequest(actor=AMIRA, messages=[{"role": "user", "content": prompt}], configuration=slug, **more)


def stored_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def live(rig: Rig, policy: str, prompt: str) -> LiveCall:
    asked = request(rig, policy, "echo", prompt)
    return LiveCall(
        make_plan(asked, PlanSources(rig.services.configurations, rig.services.providers, rig.services.overrides))
    )


def test_metadata_leaves_no_word_anywhere(rig: Rig, settings: Settings) -> None:
    view = rig.services.calls.run(
        request(rig, "metadata", "echo+think:3", f"Tell me of {WORD}", tags={"ticket": 7}, parameters={"stop": [WORD]})
    )
    assert WORD in view.text  # its owner sees the answer while the buffer lives
    rig.services.calls.flush()
    assert WORD.encode() not in stored_bytes(settings.data_dir)
    (row,) = rig.rows(view.call_id)
    assert row["completion_tokens"] > 0
    assert row["parameters"] == {"stop": content_policy.NOT_KEPT}
    detail = rig.services.activity.detail(AMIRA, row["id"])
    assert (detail.content_policy, detail.messages, detail.prompt_text) == ("metadata", None, None)
    assert (detail.response_text, detail.response) == (None, {})
    again = rig.services.runs.view(AMIRA, view.call_id)
    assert (again.text, again.reasoning, again.messages) == ("", "", [])
    activity = rig.services.activity
    for export in (activity.export_csv, activity.export_json, activity.export_sql):
        assert WORD.encode() not in b"".join(export(AMIRA, ActivityFilter()))


def test_metadata_of_an_error_keeps_only_our_own_sentence(rig: Rig) -> None:
    assert content_policy.sanitise_error("metadata", f"It refused. It said: {WORD}. Try.") == (
        "It refused. What else was said was not kept."
    )
    view = rig.services.calls.run(request(rig, "metadata", "error:400", WORD))
    (row,) = rig.rows(view.call_id)
    assert row["error_message"].endswith("What else was said was not kept.")


@pytest.mark.parametrize("policy", ["metadata", "redacted"])
def test_a_running_call_leaves_no_private_word_in_row_or_spool(rig: Rig, settings: Settings, policy: str) -> None:
    prompt = " ".join([f"{MAIL} asks"] + ["word"] * 1000)
    call_id = rig.services.calls.start(request(rig, policy, "echo+slow:20ms", prompt))
    while not (parts := [path for path in settings.data_dir.rglob("*.part") if path.stat().st_size]):
        assert rig.services.calls.view(AMIRA, call_id).running
        time.sleep(0.02)
    assert MAIL in rig.services.calls.view(AMIRA, call_id).text
    notes = [json.loads(line) for path in parts for line in path.read_text().splitlines()]
    assert {note["text"] for note in notes} == {""}
    assert notes[-1]["tokens"][1] > 0
    assert MAIL.encode() not in stored_bytes(settings.data_dir)
    with rig.services.store.read() as connection:
        request_row = connection.scalar(select(open_calls.c.request))
    assert request_row is not None
    assert request_row["content_policy"] == policy
    rig.services.calls.stop(AMIRA, call_id)
    rig.services.calls.wait(AMIRA, call_id)
    assert MAIL.encode() not in stored_bytes(settings.data_dir)


def test_redacted_masks_the_request_the_answer_and_the_rest(rig: Rig) -> None:
    remember("the-installations-own-secret")
    prompt = f"Write to {MAIL} or call {PHONE}; card {CARD}; the-installations-own-secret"
    view = rig.services.calls.run(request(rig, "redacted", "echo", prompt, parameters={"stop": [MAIL]}))
    assert MAIL in view.text
    rig.services.calls.flush()
    (row,) = rig.rows(view.call_id)
    with rig.services.store.read() as connection:
        kept = connection.execute(select(usage_payloads).where(usage_payloads.c.id == row["id"])).mappings().one()
    masked = "Write to [e-mail] or call [phone]; card [card]; [hidden]"
    assert (kept["prompt_text"], kept["response_text"].strip()) == (masked, masked)
    assert kept["request"]["messages"] == [{"role": "user", "content": masked}]
    assert row["parameters"] == {"stop": ["[e-mail]"]}
    assert rig.services.activity.detail(AMIRA, row["id"]).content_policy == "redacted"
    assert content_policy.read_stored_messages(kept["request"])[0]["content"] == masked


def test_what_is_split_over_chunks_is_masked_whole(rig: Rig) -> None:
    call = live(rig, "redacted", "hello")
    for piece in ("Ask ami", "ra.k@exam", "ple.org, card 4111 11", "11 1111 1111"):
        call.attempt.take(TextDelta(piece))
        call.attempt.take(ReasoningDelta(piece))
        assert call.checkpoint()["text"] == ""
    for piece in ('{"to": "amira.k\\u0040exa', 'mple.org", "n": 1}'):
        call.attempt.take(ToolCallDelta(0, "t1", "send", piece))
    from lib.calls.attempt_closing import make_payload

    kept = make_payload(call)
    assert kept["response_text"] == "Ask [e-mail], card [card]"
    assert kept["response"]["reasoning"] == "Ask [e-mail], card [card]"
    assert json.loads(kept["response"]["tool_calls"][0]["arguments"]) == {"to": "[e-mail]", "n": 1}


def test_full_keeps_everything_as_it_is(rig: Rig) -> None:
    view = rig.services.calls.run(request(rig, "full", "echo", f"Write to {MAIL}"))
    rig.services.calls.flush()
    detail = rig.services.activity.detail(AMIRA, view.log_id)
    assert detail.messages == [{"role": "user", "content": f"Write to {MAIL}"}]
    assert (detail.content_policy, (detail.response_text or "").strip()) == ("full", f"Write to {MAIL}")


def test_files_are_left_out_of_masked_messages() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    message = {"role": "user", "content": [{"type": "text", "text": MAIL}, image]}
    kept = content_policy.sanitise_request("redacted", [message], 10)
    parts = [{"type": "text", "text": "[e-mail]"}, {"type": "image_url", "image_url": "[not kept]"}]
    assert kept["messages"] == [{"role": "user", "content": parts}]


def test_a_check_keeps_no_words_where_none_may_be_kept(rig: Rig) -> None:
    from lib.calls.connection_test import check_connection

    rig.services.configurations.create(
        AMIRA, slug="quiet", app="tests", provider="scripted", model=f"say:{WORD}", content_policy="metadata"
    )
    chosen = rig.services.configurations.get(AMIRA, "quiet")
    check = check_connection(AMIRA, chosen, rig.services.calls, rig.services.providers)
    assert (check.ok, check.message) == (True, "It answered.")


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"mail {MAIL}, now", "mail [e-mail], now"),
        ("IBAN DE89 3704 0044 0532 0130 00 is mine", "IBAN [iban] is mine"),
        ("gb82west12345698765432", "[iban]"),
        ("GB83WEST12345698765432", None),  # its check digits are wrong
        ("4111-1111-1111-1111 12/29", "[card] 12/29"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("378282246310005 and 5555555555554444", "[card] and [card]"),
        ("from 10.0.0.1 or 2001:db8::ff00:42:8329", "from [ip] or [ip]"),
        ("version 1.2.3.4.5 at 12:30:45, std::vector", "version 1.2.3.4.5 at 12:30:45, std::vector"),
        ("call +49 30 1234567, 0049 170 1234567 or 030 1234567", "call [phone], [phone] or [phone]"),
        ("(415) 555-2671, 01701234567", "[phone], [phone]"),
        ("2026-10-31 14:22:28, $1,829.36, 0190a000-0000-7000-8000-000000000000", None),
        ("epoch 1761920548123, 176,300 tokens, 37.9 %", None),
        ("sk-abcdefghijklmnop and Bearer abcdefghijkl", "[hidden] and Bearer [hidden]"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- end", "[hidden] end"),
    ],
)
def test_what_is_private_is_masked_and_the_rest_is_not(text: str, masked: str | None) -> None:
    assert mask(text) == (text if masked is None else masked)


@pytest.mark.parametrize("text", ["1234567890 ", "a1b2 ", "::", "@.", "x.", "0", "+1 ", "a@b"])
def test_masking_takes_linear_time(text: str) -> None:
    def seconds(length: int) -> float:
        """The least of a few: what else the machine does counts for nothing."""
        taken = []
        for _ in range(3):
            started = time.thread_time()
            mask(text * (length // len(text)))
            taken.append(time.thread_time() - started)
        return min(taken)

    assert seconds(160_000) < 8 * seconds(40_000) + 0.1  # 16 times as much where it is quadratic
