"""What servers offer beside tools: resources, which become files of a question, and prompts, which become templates.

Lists are those that were last read, from SQL; reading one asks the server. All of it is text from outside: nothing
invisible is passed on, and a file counts as a document from outside when tools are weighed.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from lib.errors import InvalidInput
from lib.mcp.pins import clean, strip_invisible
from lib.mcp.server import ActualState, McpServer
from lib.patterns import compile_pattern

MOST_FILES = 8  # of one resource
_LARGEST = 4 * 1024 * 1024  # bytes of a file
_LONGEST_NAME = 100
_NOT_IN_A_VARIABLE = compile_pattern(r"[^A-Za-z0-9_]")
_ENDINGS = {"text/plain": ".txt", "text/markdown": ".md", "application/json": ".json", "text/html": ".html"}
_ENDINGS |= {"text/csv": ".csv", "image/png": ".png", "image/jpeg": ".jpg", "image/gif": ".gif", "image/webp": ".webp"}


@dataclass(frozen=True)
class ServerResource:
    """Something to read; `label` is what people choose by."""

    server: str
    uri: str
    label: str
    description: str
    media_type: str


@dataclass(frozen=True)
class ServerPrompt:
    """A prompt to fill in, with the names of its arguments."""

    server: str
    name: str
    label: str
    description: str
    arguments: tuple[str, ...]


def list_resources(servers: Sequence[McpServer]) -> list[ServerResource]:
    """List the resources of servers that are there."""
    return [
        ServerResource(
            server.name,
            str(entry["uri"]),
            _read_label(entry),
            strip_invisible(str(entry.get("description") or "")),
            str(entry.get("mimeType") or ""),
        )
        for server, entry in _list_entries(servers, "resources")
        if entry.get("uri")
    ]


def list_prompts(servers: Sequence[McpServer]) -> list[ServerPrompt]:
    """List the prompts of servers that are there."""
    return [
        ServerPrompt(
            server.name,
            str(entry["name"]),
            _read_label(entry),
            strip_invisible(str(entry.get("description") or "")),
            tuple(str(argument.get("name")) for argument in entry.get("arguments") or () if argument.get("name")),
        )
        for server, entry in _list_entries(servers, "prompts")
        if entry.get("name")
    ]


def _list_entries(servers: Sequence[McpServer], kind: str) -> Iterator[tuple[McpServer, Mapping[str, Any]]]:
    for server in servers:
        if server.state.actual in (ActualState.READY, ActualState.NO_TOOLS):
            for entry in getattr(server.state, kind):
                yield server, entry


def _read_label(entry: Mapping[str, Any]) -> str:
    words = entry.get("title") or entry.get("name") or entry.get("uri") or ""
    return strip_invisible(str(words))[:_LONGEST_NAME]


def read_files(result: Mapping[str, Any]) -> list[tuple[str, bytes]]:
    """Read a resource's answer as files, each a name and its bytes; raises InvalidInput for what is none."""
    files = []
    for content in (result.get("contents") or [])[:MOST_FILES]:
        if "text" in content:
            text = str(content["text"])
            _check_size(len(text))  # before it is gone through
            data = strip_invisible(text).encode("utf-8", "replace")
        else:
            try:
                data = base64.b64decode(str(content.get("blob") or ""), validate=True)
            except (binascii.Error, ValueError):
                raise InvalidInput("The resource can't be read.", "Its bytes are not base64.") from None
        _check_size(len(data))
        files.append((_name_file(str(content.get("uri") or ""), str(content.get("mimeType") or "")), data))
    if not files:
        raise InvalidInput("The resource is empty.", "The server sent nothing.")
    return files


def _check_size(size: int) -> None:
    if size > _LARGEST:
        why = f"It has {size:,} bytes or more; the limit is {_LARGEST:,}."
        raise InvalidInput("The resource is too large.", why)


def _name_file(uri: str, media_type: str) -> str:
    """The last part of an address, with an ending that says what it is."""
    try:
        path = urlsplit(uri).path or urlsplit(uri).netloc
    except ValueError:
        path = ""
    name = strip_invisible(unquote(path.rstrip("/").rpartition("/")[2])).strip()[:_LONGEST_NAME] or "resource"
    ending = _ENDINGS.get(media_type.partition(";")[0].strip(), "")
    return name if "." in name or not ending else name + ending


def name_variables(prompt: ServerPrompt) -> dict[str, str]:
    """The variables that stand for a prompt's arguments in a template: `{{name}}` by argument."""
    return {argument: f"{{{{{_NOT_IN_A_VARIABLE.sub('_', argument)}}}}}" for argument in prompt.arguments}


def write_template(result: Mapping[str, Any]) -> str:
    """Write a filled prompt's messages as the text of a template; raises InvalidInput where it has no words."""
    texts = []
    for message in result.get("messages") or []:
        content = clean(message.get("content") or {})
        blocks = content if isinstance(content, list) else [content]
        words = "\n".join(str(block["text"]) for block in blocks if block.get("type") == "text" and block.get("text"))
        if words:
            texts.append(f"Assistant: {words}" if message.get("role") == "assistant" else words)
    if not texts:
        raise InvalidInput("The prompt has no words.", "The server sent none that a template can hold.")
    return "\n\n".join(texts)
