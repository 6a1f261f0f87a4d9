"""A provider that echoes the key in everything it says, and then a search for the key in everything that is written.

The key of the provider, the value of one of its headers, and what Basic authorisation makes of them: none of them, nor
a long piece of one, may stand in the database's files, the spool, the logs, the exports, a page, a route or a trace.
"""

import base64
import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from streamlit.testing.v1 import AppTest

from lib import services as service_root
from lib.access.audit import AuditCriteria
from lib.access.permissions import OPERATOR, Role
from lib.activity.call_filter import ActivityFilter
from lib.calls.connection_test import check_connection
from lib.calls.request import CallRequest
from lib.errors import LLMManagerError
from lib.providers import redaction, safe_logs
from lib.services import Services
from lib.settings import PROJECT, Settings
from tests.calls.rig import AMIRA
from tests.pages.visitor import Visitor, words
from tests.providers.wire import Wire, openai_delta, serving

pytestmark = [pytest.mark.feature("CFG-6"), pytest.mark.filterwarnings("default")]
KEY = "canary!Zq8x+Yz/0123456789-abcdefGHIJKLMNOPQ"  # without a shape that gives it away
HEADER = "header.canary/9876543210~zyxwvutsrq"
PASSWORD = "admin-canary-password-0123456789"
SECRETS = (KEY, HEADER)


def guises(secret: str) -> list[str]:
    """How the secret may stand somewhere: as it is, encoded, cut."""
    basic = base64.b64encode(f"user:{secret}".encode()).decode()
    pieces = [secret[start : start + 16] for start in range(len(secret) - 15)]
    return [secret, quote(secret, safe=""), basic[8:-4], json.dumps(secret)[1:-1], *pieces]


def found_in(text: str | bytes) -> list[str]:
    """Guises of the secrets in a text."""
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return [guise for secret in SECRETS for guise in guises(secret) if guise in text]


def echoes(secret: str) -> list[str]:
    basic = base64.b64encode(f"user:{secret}".encode()).decode()
    return [
        f"Incorrect API key provided: {secret}.",
        f"key {secret[:20]}… is wrong, it ends in …{secret[15:]}",
        f"GET https://host/v1/models?key={quote(secret, safe='')} failed",
        f"Authorization: Basic {basic} refused",
        "x" * 270 + secret,  # cut by what bounds the message
    ]


def answer(wire: Wire, status: int, message: str) -> None:
    wire.begin("application/json", status, x_request_id=HEADER, www_authenticate=f"Bearer {KEY}")
    wire.say(json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": KEY}}))


@pytest.fixture
def visitor(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visitor]:
    visitor = Visitor(settings, monkeypatch, Role.SUPER_ADMIN)
    yield visitor
    visitor.close()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged anywhere, with the product's own cleaning."""
    stream, factory = io.StringIO(), logging.getLogRecordFactory()
    handler, root = logging.StreamHandler(stream), logging.getLogger()
    logging.setLogRecordFactory(lambda *args, **more: safe_logs.clean(factory(*args, **more)))
    level, handler.level = root.level, logging.DEBUG
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.setLevel(level)
    root.removeHandler(handler)
    logging.setLogRecordFactory(factory)


def configured(services: Services, url: str) -> str:
    services.providers.create(
        OPERATOR,
        name="echoing",
        kind="custom",
        base_url=url,
        api_key=KEY,
        headers={"X-Team": HEADER},
        allow_private=True,
    )
    services.configurations.create(OPERATOR, slug="echoing", app="tests", provider="echoing", model="m")
    return "echoing"


def test_an_echoed_key_is_nowhere(visitor: Visitor, settings: Settings, log: io.StringIO) -> None:
    services = visitor.services
    messages = [text for secret in SECRETS for text in echoes(secret)]
    turn = iter(range(10_000))

    def script(wire: Wire) -> None:
        number = next(turn)
        if number % 3 == 2:  # an error inside the stream
            wire.begin()
            error = {"error": {"message": messages[number % len(messages)]}}
            wire.say(openai_delta("Hello"), f"data: {json.dumps(error)}\n\n")
        else:
            answer(wire, (401, 400)[number % 3], messages[number % len(messages)])

    with serving(script) as server:
        slug = configured(services, f"{server.url}/v1")
        views = []
        for _ in range(3 * len(messages)):
            request = CallRequest(
                actor=AMIRA, messages=[{"role": "user", "content": "hi"}], configuration=slug, max_attempts=1
            )
            views.append(services.calls.run(request))
        check = check_connection(AMIRA, services.configurations.get(OPERATOR, slug), services.calls, services.providers)
        assert len(server.requests) == len(views) + 1
        assert KEY in str(server.requests[0]["headers"])
        assert HEADER in str(server.requests[0]["headers"])
    services.calls.flush()
    assert {view.status for view in views} <= {"error", "truncated"}
    assert any(redaction.MASK in (view.error_message or "") for view in views)
    seen: dict[str, str | bytes] = {
        "views": repr(views),
        "check": repr(check),
        "provider": repr(services.providers.get(OPERATOR, "echoing")),
        "log": log.getvalue(),
        "csv": b"".join(services.activity.export_csv(OPERATOR, ActivityFilter())),
        "json": b"".join(services.activity.export_json(OPERATOR, ActivityFilter())),
        "sql": b"".join(services.activity.export_sql(OPERATOR, ActivityFilter())),
        "audit": b"".join(services.audit.export_csv(OPERATOR, AuditCriteria())),
        "configurations": services.configurations.export_json(OPERATOR),
    }
    seen |= {
        f"page {name}": drawn(visitor.open(name))
        for name in ("providers", "activity", "playground", "access", "settings")
    }
    seen["page of the call"] = drawn(visitor.open("activity", id=views[0].log_id))
    seen |= {str(path): path.read_bytes() for path in settings.data_dir.rglob("*") if path.is_file()}
    assert len(seen) > 15
    assert {name: found for name, text in seen.items() if (found := found_in(text))} == {}


def drawn(page: AppTest) -> str:
    """Everything that a page sends to the browser."""
    return words(page) + str(page._tree) + "".join(str(getattr(element, "proto", "")) for element in page)


def test_errors_of_the_services_name_no_key(visitor: Visitor) -> None:
    services, said = visitor.services, []
    configured(services, "http://127.0.0.1:9/v1")
    for change in ({"base_url": f"https://{KEY}@host/v1"}, {"name": KEY}, {"headers": {HEADER: "x\n"}}):
        try:
            services.providers.update(OPERATOR, services.providers.get(OPERATOR, "echoing").id, **change)
        except LLMManagerError as error:
            said.append(redaction.redact(str(error)))
    assert len(said) >= 2
    assert found_in(" ".join(said)) == []


@pytest.mark.parametrize("name", ["plain", "arguments", "exception", "object", "stack"])
def test_log_records_are_clean_whoever_writes_them(log: io.StringIO, name: str) -> None:
    redaction.remember(KEY)
    logger = logging.getLogger("some.library")
    match name:
        case "plain":
            logger.warning("sent with " + KEY)
        case "arguments":
            logger.warning("sent with %s to %s after %d", KEY, "host", 3)
            assert "to host after 3" in log.getvalue()
        case "exception":
            try:
                raise ValueError(KEY)
            except ValueError:
                logger.exception("failed")
            assert "ValueError" in log.getvalue()
        case "object":
            logger.warning("headers %s", {"x-api-key": KEY})
            logger.warning(ValueError(KEY))
        case "stack":
            logger.warning("here", stack_info=True, extra={"more": 1})
    assert log.getvalue()
    assert found_in(log.getvalue()) == []


_CHILD = """
import asyncio, logging, os, sys, threading
sys.path.insert(0, {project!r})
from lib import services
current = services.current()
from lib.access.permissions import OPERATOR
current.providers.create(OPERATOR, name="p", kind="openai", api_key={key!r}, headers={{"X-Team": {header!r}}})
current.providers.update(OPERATOR, "p")
logging.basicConfig(level="DEBUG")

def fail(where):
    raise RuntimeError(where + {key!r} + {header!r} + os.environ["LLM_MANAGER_ADMIN_PASSWORD"])

thread = threading.Thread(target=fail, args=("thread",))
thread.start()
thread.join()

class Dying:
    def __del__(self):
        fail("unraisable")
Dying()

async def main():
    task = asyncio.get_running_loop().create_task(asyncio.sleep(0))
    asyncio.get_running_loop().call_soon(fail, "loop")
    await asyncio.sleep(0.05)
asyncio.run(main())
current.close()
fail("main")
"""


def test_traces_of_a_process_are_clean(tmp_path: Path) -> None:
    import os

    code = _CHILD.format(project=str(PROJECT), key=KEY, header=HEADER)
    script = tmp_path / "child.py"
    script.write_text(code.replace(repr(KEY), "KEY").replace(repr(HEADER), "HEADER"))
    script.write_text(f"import os\nKEY, HEADER = os.environ['K'], os.environ['H']\n{script.read_text()}")
    environment = {"LLM_MANAGER_DATA": str(tmp_path / "data"), "K": KEY, "H": HEADER}
    environment |= {"LLM_MANAGER_ADMIN_USER": "amira", "LLM_MANAGER_ADMIN_PASSWORD": PASSWORD}
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, env=dict(os.environ) | environment
    )
    told = done.stdout + done.stderr
    assert done.returncode == 1
    for where in ("thread", "unraisable", "loop", "main"):
        assert f"RuntimeError: {where}[hidden]" in told, told
    assert found_in(told) == []
    assert PASSWORD not in told


def test_a_started_process_knows_the_keys_it_has_not_used(settings: Settings) -> None:
    services = service_root.build(settings)
    fresh = "Never!Used=MmNnOoPpRrSsTt_55443322"
    services.providers.create(OPERATOR, name="p", kind="openai", api_key=fresh)
    services.close()
    redaction._guises_of.clear()
    assert fresh in redaction.redact(fresh)
    service_root.build(settings).close()
    assert redaction.redact(f"it was {fresh}.") == "it was [hidden]."


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (KEY, "[hidden]"),
        (f"at {KEY[:12]}…", "at [hidden]…"),
        (f"…{KEY[-14:]} at the end", "…[hidden] at the end"),
        (KEY[:11], KEY[:11]),  # too little to be of use, and too common to be hidden
        ("?api_key=abcdef123456&x=1", "?api_key=[hidden]&x=1"),
        ('{"api_key": "abcdef123456"}', '{"api_key": "[hidden]"}'),
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [hidden]"),
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic [hidden]"),
        ("postgresql+psycopg://app:pa55@db/x", "postgresql+psycopg://[hidden]@db/x"),
        ("AKIAIOSFODNN7EXAMPLE", "[hidden]"),
        ("ghp_0123456789abcdef", "[hidden]"),
        ("completion_tokens=123456, monkey=bananas, the key: an idea", None),
        ("task-based risk-free desk-top", None),
    ],
)
def test_what_is_hidden_and_what_is_not(text: str, hidden: str | None) -> None:
    redaction.remember(KEY)
    assert redaction.redact(text) == (text if hidden is None else hidden)


def test_remembering_is_safe_while_others_redact() -> None:
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(200):
                redaction.remember(f"{name}-secret-{number:04d}-abcdef")
                redaction.redact("nothing here")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
