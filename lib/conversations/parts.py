"""The words of other programs' messages, in whatever kind of part they stand.

Parts are texts, or objects whose words stand under a name that depends on the program: spoken words are transcripts,
a canvas is the argument of a call, an answer of an assistant is `text.value`. Thoughts and calls of tools, which the
programs fold away, are not taken; of a message that is pictures and nothing else a mark is left in its place.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from lib.patterns import compile_pattern

Json = Mapping[str, Any]
_FOLDED_AWAY = frozenset(
    (
        *("think", "thinking", "thoughts", "reasoning", "redacted_thinking", "reasoning_recap"),
        *("tool_call", "tool_use", "tool_calls", "tool_result", "function_call", "agent_update"),
    )
)
_UNDER = ("text", "content", "transcript", "output_text", "refusal", "error", "result", "value", "output_str")
_DEEPEST = 8
_MOST_NESTED = 200
_PICTURE = compile_pattern(r"image|picture|photo|video", re.IGNORECASE)
# How ChatGPT marks what it cites; U+E202 stands between its parts.
_MARK = compile_pattern("\ue200([^\ue200\ue201]*+)\ue201")
_OLD_MARK = compile_pattern(r"【[^【】]{1,80}】")
_DETAILS = compile_pattern(r"<(/?)details\b((?:[^<>]++|<(?!/?details\b))*+)>")
_FOLDED_TYPE = compile_pattern(
    r"""\btype\s*+=\s*+["']?(?:reasoning|tool_calls|code_interpreter|openai_builtin_tool)\b""",
)
_RECEIPT = compile_pattern(
    r"Successfully (?:created|updated) text document|Failed to (?:create|update) text document",
)


def extract_words(parts: Any, depth: int = 0) -> str:
    """The words of a message's content: a text, a part, or a list of them, a line each."""
    if isinstance(parts, str):
        return parts
    if depth > _DEEPEST:
        return ""
    if isinstance(parts, list):
        return "\n".join(text for part in parts if (text := extract_words(part, depth + 1)).strip())
    if not isinstance(parts, Mapping) or _read_kind(parts) in _FOLDED_AWAY:
        return ""
    return next((text for name in _UNDER if (text := extract_words(parts.get(name), depth + 1)).strip()), "")


def build_picture_mark(parts: Any) -> str:
    """`[Picture]` where a content has pictures, with what they were drawn from where that is told."""
    for part in parts if isinstance(parts, list) else ():
        if isinstance(part, Mapping) and _PICTURE.search(_read_kind(part)):
            prompt = ((part.get("metadata") or {}).get("dalle") or {}).get("prompt")
            return f"[Picture: {prompt}]" if isinstance(prompt, str) and prompt else "[Picture]"
    return ""


def extract_canvas_words(recipient: str, text: Any) -> str:
    """The document that ChatGPT writes beside a conversation, with its name; as a fence where it is code."""
    if not recipient.startswith("canmore.") or not isinstance(text, str):
        return ""
    try:
        call = json.loads(text)
    except (ValueError, RecursionError):
        return text
    if not isinstance(call, dict):
        return ""
    content = call.get("content")
    if not isinstance(content, str):
        changes = [*(call.get("updates") or ()), *(call.get("comments") or ())]
        words = ((change.get("replacement") or change.get("comment")) for change in changes if isinstance(change, dict))
        return "\n".join(text for text in words if isinstance(text, str))
    kind = str(call.get("type") or "")
    name = call.get("name")
    if kind.startswith("code/"):
        content = f"```{kind.removeprefix('code/')}\n{content}\n```"
    return f"**{name}**\n\n{content}" if isinstance(name, str) and name else content


def is_receipt(author: Json, text: str) -> bool:
    """Whether a tool says no more than that a canvas was written."""
    return str(author.get("name") or "").startswith("canmore.") or _RECEIPT.match(text) is not None


def link_sources(text: str, metadata: Json) -> str:
    """The text with its marks of citations as links, or without those whose source is not told."""
    for reference in metadata.get("content_references") or ():
        mark = reference.get("matched_text") if isinstance(reference, Mapping) else None
        if isinstance(mark, str) and mark.strip():
            text = text.replace(mark, _link(reference))
    cited = [reference for reference in metadata.get("citations") or () if isinstance(reference, Mapping)]
    if cited:
        sources = iter([_link(reference.get("metadata") or {}) for reference in cited])
        text = _OLD_MARK.sub(lambda mark: next(sources, "") or mark[0], text)
    return _MARK.sub(_read_mark, text)


def _link(reference: Json) -> str:
    label = reference.get("alt")
    if isinstance(label, str) and label:
        return label
    items = [source for source in (*(reference.get("items") or ()), reference) if isinstance(source, Mapping)]
    links = [
        (source.get("title") or source.get("url"), source["url"])
        for source in items
        if isinstance(source.get("url"), str)
    ]
    return "".join(f" ([{title}]({url}))" for title, url in dict.fromkeys(links))


def _read_mark(mark: "re.Match[str]") -> str:
    """Return the name in an entity's mark, or an empty text for a citation's mark."""
    kind, _, label = mark[1].partition("\ue202")
    if kind != "entity":
        return ""
    try:
        return str(json.loads(label)[1])
    except (ValueError, RecursionError, LookupError, TypeError):
        return ""


def remove_folded(text: str) -> str:
    """An answer of Open WebUI without the blocks that it writes for thoughts and calls; the answer's own stay."""
    out: list[str] = []
    at = 0
    for begin in _DETAILS.finditer(text):
        if begin.start() < at or begin[1] or not _FOLDED_TYPE.search(begin[2]):
            continue
        out.append(text[at : begin.start()])
        at = _find_end_of_block(text, begin.end())
        at += len(text[at : at + 1000]) - len(text[at : at + 1000].lstrip())
    return "".join([*out, text[at:]])


def _find_end_of_block(text: str, at: int) -> int:
    """Where a block ends, with the blocks that are in it; of one whose inner blocks stay open, at its first end."""
    depth = 1
    first = len(text)
    for number, tag in enumerate(_DETAILS.finditer(text, at)):
        depth += -1 if tag[1] else 1
        first = min(first, tag.end()) if tag[1] else first
        if depth == 0:
            return tag.end()
        if number > _MOST_NESTED:
            break
    return first


def _read_kind(part: Json) -> str:
    return str(part.get("type") or part.get("content_type") or "")
