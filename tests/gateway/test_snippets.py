"""The programs that people copy run: against a real server, with the real curl, SDKs, LangChain and `llm`.

Those in JavaScript are parsed, for their packages come from elsewhere.
"""

import ast
import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
import yaml
from starlette.applications import Starlette

from lib import services as root
from lib.access.permissions import OPERATOR
from lib.gateway.serve.routes import build_middleware, routes
from lib.services import Services, build
from lib.settings import PROJECT, Settings
from lib.snippets.app_snippets import GatewayAccess, Snippet, build_snippets
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("GATE-1")
ODD = 'acme/it\'s "odd" $(false) `x`\nEND'


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayAccess]:
    """A server whose one model says hello."""
    folder = tmp_path_factory.mktemp("snippets")
    services = build(Settings(folder, f"sqlite:///{folder / 'llm_manager.db'}"))
    services.providers.create(OPERATOR, name="scripted", kind="scripted")
    services.configurations.create(OPERATOR, slug="greeter", app="app", provider="scripted", model="say:Hello there")
    token, _ = services.api_keys.create(OPERATOR, app="connected")
    root.use(services)
    server = uvicorn.Server(uvicorn.Config(_app(services), host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + CEILING_S
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield GatewayAccess(f"http://127.0.0.1:{port}", token, "greeter", "greeter")
    server.should_exit = True
    thread.join(CEILING_S)
    root.use(None)
    services.close()


def _app(services: Services) -> Starlette:
    @asynccontextmanager
    async def calls_on_the_loop(_app: Starlette) -> AsyncIterator[None]:
        await services.calls.adopt()
        yield
        await asyncio.to_thread(services.calls.close)

    return Starlette(routes=routes, middleware=build_middleware(lambda: b""), lifespan=calls_on_the_loop)


def named(connection: GatewayAccess, tab: str, title: str) -> Snippet:
    return next(one for one in build_snippets(connection) if (one.tab, one.title) == (tab, title))


def ran(*command: str, **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=CEILING_S, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("title", ["OpenAI's SDK", "OpenAI's SDK, streamed", "Anthropic's SDK"])
def test_the_python_programs_print_the_answer(connection: GatewayAccess, title: str) -> None:
    assert ran(sys.executable, "-c", named(connection, "Python", title).text).strip() == "Hello there"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Chat", '"content": "Hello there"'),
        ("Chat, streamed", "data: [DONE]"),
        ("Messages, Anthropic's protocol", '"text": "Hello there"'),
        ("Embeddings", "embed"),  # its model makes none, and the server says so
    ],
)
def test_the_curl_commands_get_an_answer(connection: GatewayAccess, title: str, expected: str) -> None:
    answer = ran("bash", "-c", named(connection, "curl", title).text)
    assert expected in answer.replace('":"', '": "')
    assert "invalid_api_key" not in answer


def test_the_variables_are_enough_for_the_sdks(connection: GatewayAccess) -> None:
    set_up = named(connection, "Environment", "Variables the SDKs read").text
    program = (
        "from openai import OpenAI\nfrom anthropic import Anthropic\n"
        "asked = dict(model='greeter', messages=[{'role': 'user', 'content': 'hi'}], max_tokens=20)\n"
        "print(OpenAI().chat.completions.create(**asked).choices[0].message.content)\n"
        "print(Anthropic().messages.create(**asked).content[0].text)\n"
    )
    answer = ran("bash", "-c", f"{set_up}\nexec {shlex.quote(sys.executable)} -c {shlex.quote(program)}")
    assert answer.split("\n") == ["Hello there", "Hello there", ""]


def test_the_langchain_program_prints_the_answer(connection: GatewayAccess) -> None:
    assert ran(sys.executable, "-c", named(connection, "LangChain", "LangChain").text).strip() == "Hello there"


def test_the_llm_command_prints_the_answer(connection: GatewayAccess, tmp_path: Path) -> None:
    here = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LLM_USER_PATH": str(tmp_path),
        "LLM_LOAD_PLUGINS": "",  # the bundled model's package is one, and its runner is not installed
    }
    answer = ran("bash", "-c", named(connection, "llm", "The llm command line").text, **here)
    assert answer.strip() == "Hello there"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("title", ["OpenAI's SDK", "Anthropic's SDK"])
@pytest.mark.parametrize("model", ["greeter", ODD])
def test_the_javascript_programs_parse(tmp_path: Path, title: str, model: str) -> None:
    file = tmp_path / "program.mjs"
    file.write_text(named(GatewayAccess("http://h", "llmm_x", model, "e"), "JavaScript", title).text)
    assert ran("node", "--check", str(file)) == ""


def test_an_odd_name_stays_whole_in_the_entry_for_llm(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "llm"
    fake.write_text(f'#!/bin/sh\n[ "$1 $2" = "logs path" ] && echo {tmp_path}/logs.db; echo "$@" >> {tmp_path}/asked\n')
    fake.chmod(0o755)
    snippet = named(GatewayAccess("http://h:1", "llmm_x", ODD, "e"), "llm", "The llm command line")
    ran("bash", "-c", snippet.text, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    [entry] = yaml.safe_load((tmp_path / "extra-openai-models.yaml").read_text())
    assert entry == {
        "model_id": f"llm-manager/{ODD}",
        "model_name": ODD,
        "api_base": "http://h:1/v1",
        "api_key_name": "llm-manager",
    }
    assert f"-m llm-manager/{ODD} Say hello." in (tmp_path / "asked").read_text()


def test_an_odd_name_breaks_out_of_no_program() -> None:
    found = build_snippets(GatewayAccess("http://h:1", "llmm_x", ODD, ODD))
    for one in found:
        if one.language == "python":
            values = [node.value for node in ast.walk(ast.parse(one.text)) if isinstance(node, ast.Constant)]
            assert ODD in values, one
        elif one.tab == "curl":
            words = shlex.split(one.text)
            assert json.loads(words[words.index("-d") + 1])["model"] == ODD
    assert [one.title for one in found if one.tab == "LangChain"] == ["LangChain"]


def test_the_calls_count_for_the_app_of_the_key(connection: GatewayAccess) -> None:
    ran(sys.executable, "-c", named(connection, "Python", "OpenAI's SDK").text)
    table = root.current().statistics.stats_table(OPERATOR, ["app", "origin"])
    assert set(zip(table["app"], table["origin"], strict=True)) == {("connected", "gateway")}
    assert re.fullmatch(r"llmm_[\w-]{43}", connection.key)


def test_the_programs_of_the_documents_run(connection: GatewayAccess) -> None:
    document = (PROJECT / "docs" / "examples.md").read_text()
    here = (("http://localhost:8501", connection.origin), ("llmm_...", connection.key), ("local-default", "greeter"))
    [curl] = re.findall(r"```bash\n(curl .*?)```", document, flags=re.DOTALL)
    [python] = [one for one in re.findall(r"```python\n(.*?)```", document, flags=re.DOTALL) if "openai" in one]
    for was, now in here:
        curl, python = curl.replace(was, now), python.replace(was, now)
    assert "Hello there" in ran("bash", "-c", curl)
    assert ran(sys.executable, "-c", python) == "Hello there\n" * 20
