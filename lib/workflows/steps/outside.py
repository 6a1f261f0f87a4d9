"""Steps that reach outside the run: the knowledge base, tools, public HTTP addresses."""

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from lib.errors import InvalidInput
from lib.fast_json import decode, encode, hash_json
from lib.providers.adapters.asking import HttpResponse, ask
from lib.providers.adapters.http_client import Client
from lib.providers.adapters.unpacking import AnswerTooLarge
from lib.tools.http_request import check_headers
from lib.workflows.definition import HttpNode, RetrieveNode, ToolNode
from lib.workflows.execution import StepContext
from lib.workflows.expressions import fill_text, fill_value
from lib.workflows.people import ask_person
from lib.workflows.run import StepError, StepResult
from lib.workflows.tool_calls import run_tool

_LARGEST_ANSWER = 2_000_000
_SECONDS = 60.0
_LONGEST_BODY = 1_000_000


async def search_passages(context: StepContext, collection: str, question: str, k: int | None) -> list[dict[str, Any]]:
    """Search a collection, once: [{"n", "title", "text", "score", "document_id"}]."""
    execution = context.execution
    key = f"{context.path}#search"
    hashed = hash_json([collection, question, k])
    earlier = execution.journal.actions.get(key)
    if earlier is not None and earlier.state == "done" and earlier.input_hash == hashed:
        return list(earlier.result)
    hits = await execution.interpreter.run_blocking(
        execution.interpreter.search, execution.actor, collection, question, k
    )
    await execution.interpreter.run_blocking(execution.journal.start_action, key, context.attempt, hashed, None)
    await execution.interpreter.run_blocking(execution.journal.end_action, key, "done", hits)
    return list(hits)


class RetrieveStep:
    """Passages from the knowledge base."""

    async def resolve(self, context: StepContext) -> Any:
        """The collection and the question."""
        node: RetrieveNode = context.node
        return {
            "collection": fill_text(node.collection, context.scope),
            "question": fill_text(node.question, context.scope),
            "k": node.k,
        }

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Search the collection; the output has the passages, and their texts as one."""
        passages = await search_passages(context, resolved["collection"], resolved["question"], resolved["k"])
        text = "\n\n".join(f"[{passage['n']}] {passage['title']}\n{passage['text']}" for passage in passages)
        return StepResult({"text": text, "passages": passages})


class ToolStep:
    """A tool."""

    async def resolve(self, context: StepContext) -> Any:
        """Its name and arguments."""
        node: ToolNode = context.node
        return {"tool": node.tool, "arguments": fill_value(dict(node.arguments), context.scope)}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Run it; an error that it reports is the step's."""
        result = await run_tool(context, "tool", resolved["tool"], resolved["arguments"])
        if result["is_error"]:
            raise StepError(str(result["text"])[:2_000] or "The tool reports an error.", is_transient=True)
        return StepResult({"text": result["text"], "data": result["data"]})


class HttpStep:
    """A request to a public address on the node's own list."""

    async def resolve(self, context: StepContext) -> Any:
        """Method, address, headers and body, filled in; the address has to be on the list."""
        node: HttpNode = context.node
        url = fill_text(node.url, context.scope).strip()
        check_host(url, node.allowed_hosts)
        headers = {name.lower(): fill_text(text, context.scope) for name, text in node.headers.items()}
        check_headers(headers)
        return {"method": node.method, "url": url, "headers": headers, "body": fill_value(node.body, context.scope)}

    async def perform(self, context: StepContext, resolved: Any) -> StepResult:
        """Send it once; whoever does not know whether it was sent asks a person, unless it only reads."""
        execution = context.execution
        block = execution.interpreter.run_blocking
        key = f"{context.path}#http"
        hashed = hashlib.sha256(encode(resolved)).hexdigest()
        earlier = execution.journal.actions.get(key)
        if earlier is not None and earlier.input_hash == hashed:
            if earlier.state == "done":
                return StepResult(earlier.result)
            if earlier.state == "started" and resolved["method"] not in ("GET", "PUT", "DELETE"):
                title = f"Was {resolved['url'][:100]} asked? Send it again?"
                reason = "its process ended while it was sent, and nobody knows whether it arrived"
                number = f"again.{execution.run.executions}"
                decision = await ask_person(context, number, title, reason, {"request": resolved})
                if not decision.is_approved:
                    raise StepError(
                        "Nobody knows whether the request arrived, and it is not sent again.", is_final=True
                    )
        await block(execution.journal.start_action, key, context.attempt, hashed, None)
        try:
            output = _read_answer(await _send(resolved))
        except StepError:
            await block(execution.journal.end_action, key, "failed", None)
            raise
        await block(execution.journal.end_action, key, "done", output)
        return StepResult(output)


def check_host(url: str, allowed: tuple[str, ...]) -> None:
    """Raise StepError unless the address is http(s) and its host, or a domain above it (`*.example.org`), is listed."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
    except ValueError:
        host = ""
    if not host or parts.scheme not in ("http", "https"):
        raise StepError(f"{url[:100]} is no http(s) address.", is_final=True)
    for pattern in allowed:
        name = pattern.lower()
        if host == name or (name.startswith("*.") and host.endswith(name[1:])):
            return
    raise StepError(f"The host {host} is not on the step's list: {', '.join(allowed)[:200]}.", is_final=True)


async def _send(resolved: Mapping[str, Any]) -> HttpResponse:
    headers = {"user-agent": "llm-manager", "accept": "*/*", **resolved["headers"]}
    body = b""
    if resolved["body"] is not None:
        is_text = isinstance(resolved["body"], str)
        body = resolved["body"].encode("utf-8", "replace") if is_text else encode(resolved["body"])
        headers.setdefault("content-type", "text/plain; charset=utf-8" if is_text else "application/json")
    if len(body) > _LONGEST_BODY:
        raise StepError(f"The body has {len(body):,} bytes; the limit is {_LONGEST_BODY:,}.", is_final=True)
    client = Client()
    try:
        return await ask(
            client, resolved["method"], resolved["url"], headers, body, seconds=_SECONDS, most=_LARGEST_ANSWER
        )
    except InvalidInput as error:
        raise StepError(str(error), is_final=True) from None
    except AnswerTooLarge:
        raise StepError(f"The answer has more than {_LARGEST_ANSWER:,} bytes.", is_final=True) from None
    except TimeoutError:
        raise StepError(f"It took longer than {_SECONDS:g} seconds.", is_transient=True) from None
    except (OSError, UnicodeError) as error:
        raise StepError(f"The connection failed: {type(error).__name__}.", is_transient=True) from None
    finally:
        client.close()


def _read_answer(answer: HttpResponse) -> dict[str, Any]:
    text = answer.body.decode("utf-8", "replace")
    if answer.status >= 400:
        is_transient = answer.status in (408, 425, 429) or answer.status >= 500
        raise StepError(f"It answered with status {answer.status}: {text[:300]}", is_transient=is_transient)
    try:
        data = decode(text)
    except (ValueError, RecursionError):
        data = None
    return {"status": answer.status, "text": text, "data": data}
