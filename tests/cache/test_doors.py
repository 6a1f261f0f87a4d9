"""Remembered answers at the doors: programs' headers, the command line, the page."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from lib.access.permissions import OPERATOR, Role
from lib.cache.policy import CacheRules, SemanticMode
from lib.calls.request import CachePolicy, CallRequest
from lib.cli.main import main
from lib.db.tables import usage_logs
from lib.gateway.models.cache_control import read_cache_policy
from lib.settings import Settings
from tests.gateway.api_rig import opened
from tests.pages.visitor import Visitor, press, words

CHAT = {"model": "rivers", "messages": [{"role": "user", "content": "What is the longest river?"}]}


@pytest.mark.feature("CACHE-3")
def test_a_program_is_answered_from_memory_in_either_form_and_says_when_not(settings: Settings) -> None:
    with opened(settings) as (rig, client):
        services = rig.services
        configuration = services.configurations.get(OPERATOR, "rivers")
        services.cache.change_rules(OPERATOR, configuration.id, CacheRules(exact=True))
        services.cache.start()
        head = rig.key(rig.jonas, endpoints=["chat"])

        def ask(path: str = "/v1/chat/completions", body: Any = CHAT, **headers: str) -> Any:
            answer = client.post(path, json=body, headers=head | headers)
            assert answer.status_code == 200, answer.text
            services.cache.recall.flush()
            return answer

        first = ask()
        assert "cache-status" not in first.headers
        again = ask()
        assert again.headers["cache-status"] == "llm-manager; hit; detail=exact"
        assert int(again.headers["age"]) >= 0
        assert again.json()["choices"] == first.json()["choices"]
        streamed = ask(body=CHAT | {"stream": True})
        assert streamed.headers["cache-status"] == "llm-manager; hit; detail=exact"
        told = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
        text = "".join(event["choices"][0]["delta"].get("content") or "" for event in told if event["choices"])
        assert text == first.json()["choices"][0]["message"]["content"]
        for directive in ("no-store", "no-cache", "max-age=0"):
            assert "cache-status" not in ask(**{"cache-control": directive}).headers, directive
        assert "cache-status" in ask(**{"cache-control": "max-age=600"}).headers
        other = rig.key(rig.person("ada", Role.DEVELOPER), endpoints=["chat"])
        assert "cache-status" not in client.post("/v1/chat/completions", json=CHAT, headers=other).headers


@pytest.mark.feature("CACHE-2")
def test_a_changed_collection_is_another_question_and_whoever_lost_it_is_told_nothing(settings: Settings) -> None:
    with opened(settings) as (rig, client):
        services = rig.services
        configuration = services.configurations.get(OPERATOR, "rivers")
        services.cache.change_rules(OPERATOR, configuration.id, CacheRules(exact=True))
        services.cache.start()
        other = rig.key(rig.person("ada", Role.DEVELOPER), endpoints=["api"])

        def post(path: str, status: int = 200, **body: Any) -> Any:
            answer = client.post(f"/api/collections{path}", headers=rig.of_jonas, json=body)
            assert answer.status_code == status, answer.text
            services.cache.recall.flush()
            return answer.json()

        def add(name: str, text: bytes) -> None:
            post(f"/{collection}/documents", 201, file_name=name, base64=base64.b64encode(text).decode())
            services.knowledge.ingest.run_due()

        def find_tier() -> str:
            asked: Any = {"question": "How often is the boiler descaled?", "configuration": "rivers"}
            call_id = post(f"/{collection}/answer", **asked)["call"]["call_id"]
            services.calls.flush()
            with services.store.read() as connection:
                return str(connection.scalar(select(usage_logs.c.cache).where(usage_logs.c.call_id == call_id)))

        collection = post("", 201, name="Manual", embedding_model="script/words:64")["id"]
        add("boiler.txt", b"The boiler is descaled every four weeks.")
        assert [find_tier(), find_tier()] == ["none", "exact"]
        add("newer.txt", b"From March on the boiler is descaled every two weeks.")
        assert [find_tier(), find_tier()] == ["none", "exact"]
        stranger = {"question": "How often is the boiler descaled?", "configuration": "rivers"}
        refused = client.post(f"/api/collections/{collection}/answer", headers=other, json=stranger)
        assert refused.status_code == 404


@pytest.mark.feature("CACHE-1")
@pytest.mark.parametrize(
    ("line", "policy"),
    [
        (b"no-store", CachePolicy(reads=False, writes=False)),
        (b"No-Cache", CachePolicy(reads=False)),
        (b"private, max-age=60", CachePolicy(ttl_s=60)),
        (b"max-age=99999999999999999999", None),
        (b"max-age=-1", None),
        (b"max-age=\xb2", None),  # a digit that is no number
        (b"public", None),
        (b"", None),
    ],
)
def test_cache_control_is_read_as_it_is_defined(line: bytes, policy: CachePolicy | None) -> None:
    assert read_cache_policy({b"cache-control": line}) == policy


@pytest.mark.feature("CACHE-1")
def test_commands_set_show_and_purge(settings: Settings, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    from lib import services as service_root

    monkeypatch.setenv("LLM_MANAGER_DATA", str(settings.data_dir))
    monkeypatch.delenv("DATABASE_URL", raising=False)

    def run(*argv: str) -> str:
        service_root.use(None)
        assert main(["cache", *argv]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    service_root.use(None)
    main(["providers", "add", "scripted", "--kind", "scripted"])
    main(["configs", "add", "echo", "--app", "x", "--provider", "scripted", "--model", "echo"])
    capsys.readouterr()
    try:
        assert "Nothing is remembered" in run("stats")
        assert run("set", "echo", "--exact", "--loose", "--ttl", "600") == "echo remembers answers now.\n"
        assert run("set", "echo", "--no-loose", "--semantic", "shadow") == "echo remembers answers now.\n"
        (row,) = json.loads(run("stats", "--json"))
        assert (row["configuration"], row["exact"], row["loose"], row["semantic"]) == ("echo", True, False, "shadow")
        assert run("purge", "--all") == "Forgot 0 answers.\n"
        assert "None yet" in run("shadow", "echo")
        assert "No would-be hits" in run("prove")
        service_root.use(None)
        assert main(["cache", "purge"]) == 1
        assert "Say what is to be forgotten" in capsys.readouterr().err
    finally:
        service_root.use(None)


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


@pytest.mark.feature("CACHE-4")
@pytest.mark.filterwarnings("default")
def test_the_page_tells_what_was_saved_and_what_is_proved(visitor: Visitor) -> None:
    assert "Nothing is remembered" in words(visitor.open("cache"))
    services = visitor.services
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    made = services.configurations.create(OPERATOR, slug="echo", app="x", provider="scripted", model="echo+priced")
    services.cache.change_rules(OPERATOR, made.id, CacheRules(exact=True))
    services.cache.start()
    for _ in range(3):
        asked = [{"role": "user", "content": "What is the longest river of the world, and how long is it?"}]
        services.calls.run(CallRequest(actor=OPERATOR, messages=asked, configuration="echo"))
        services.cache.recall.flush()
    services.cache.change_rules(
        OPERATOR, made.id, replace(services.cache.rules(OPERATOR, made.id), semantic=SemanticMode.SHADOW)
    )
    assert "66.7 %" in [metric.value for metric in visitor.open("cache").metric]
    said = words(visitor.open("cache", id=made.id))
    assert "exact · semantic in shadow" in said
    assert "No question in other words has come yet" in said
    visitor.draw("lib.ui.cache.rules_dialog.show_rules", f"configurations.list(actor), {made.id!r}")
    dialog = visitor.draw("lib.ui.cache.rules_dialog.show_purge", "configurations.list(actor), only_own=False")
    dialog.radio[0].set_value("Everything")
    dialog.run()
    press(dialog, "Forget them")
    assert services.cache.figures(OPERATOR)[0].entries == 0
