"""Tools that a provider runs itself and charges for by the use, beside tokens: how they are told, bounded and held.

What a program runs itself is known (functions, and the tools whose calls come back to it); whatever else stands in
`tools`, in any spelling, is the provider's. Two protocols have a word for the most uses of one call: Anthropic's
`max_uses` of a tool, and `max_tool_calls` of OpenAI's responses for all of them together. Everything else has no bound.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from lib.patterns import compile_pattern
from lib.providers.kinds import Protocol, ProviderKind

USES = 5  # of a tool in one call, where a program under a hard budget names no limit
_FETCHED_TOKENS = 20_000  # of one page, where a program under a hard budget names no limit
MOST = 10**9
_RUN_BY_PROGRAMS = compile_pattern(
    r"(?:function|custom|local_shell|apply_patch|namespace|computer_use_preview|computer|computer_use|tool_search"
    r"|tool_search_tool_(?:regex|bm25)(?:_\d{8})?|(?:bash|text_editor|memory|computer)_\d{8})$",
)
_OF_FUNCTIONS = frozenset(
    """type function name description parameters strict input_schema input_examples cache_control defer_loading
    allowed_callers eager_input_streaming format tools functionDeclarations function_declarations display_width_px
    display_height_px display_number display_width display_height environment enable_zoom max_characters
    custom execution output_schema title index id""".split()  # noqa: SIM905
)
_FILES = ("file", "input_file")
_READER = {"id": "file-parser", "pdf": {"engine": "pdf-text"}}
_HUMP = compile_pattern(r"(?<=[a-z])(?=[A-Z])")
_WEB_TOOL = compile_pattern(r"web_(?:search|fetch)_\d{8}$")
_DATED = compile_pattern(r"_(?:\d{8}|\d{4}_\d{2}_\d{2})$")
USE_TOKENS = {"web_search": 10_000, "web_search_preview": 10_000, "file_search": 16_000, "code_interpreter": 8_000}


class Hosted(Struct, frozen=True):
    """Something the provider runs. `use` is its name in the list of fees.

    `uses` is how often it can run in one call, None where nothing bounds that; `tokens` what one use can add to the
    prompt, which is then read again.
    """

    field: str
    use: str
    uses: int | None = None
    tokens: int = 0


def limit_uses(kind: str, protocol: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
    """Copy a request's fields and limit the uses of its provider-run tools where it names no limit itself.

    Only Anthropic's tools and OpenAI's responses have such a limit; other requests come back unchanged.
    """
    limited = dict(body)
    tools = body.get("tools")
    if not isinstance(tools, list):
        return limited
    if kind == ProviderKind.ANTHROPIC:
        limited["tools"] = [_limit_tool(tool) for tool in tools]
    elif _counts_calls(kind, protocol) and limited.get("max_tool_calls") is None:
        hosted = [use for tool in tools for use in list_hosted_tools(kind, tool, limited, protocol)]
        limited |= {"max_tool_calls": USES} if hosted else {}
    return limited


def name_free_reader(body: Mapping[str, Any], messages: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """OpenRouter's request whose files are read by a reader without a fee, unless it names one.

    By itself OpenRouter reads scanned pages with one that is charged by the page.
    """
    contents = (content for message in messages if isinstance(content := message.get("content"), list))
    has_file = any(isinstance(part, dict) and part.get("type") in _FILES for content in contents for part in content)
    plugins = body.get("plugins") or []
    if not has_file or not isinstance(plugins, list):
        return dict(body)
    if any(isinstance(plugin, dict) and plugin.get("id") == _READER["id"] and plugin.get("pdf") for plugin in plugins):
        return dict(body)
    return {**body, "plugins": [*plugins, _READER]}


def bound_uses_nano(tools: Sequence[Hosted], fee_of: Callable[[str], int | None]) -> int | None:
    """Nano-dollars that what the provider runs can cost at most; None where nothing bounds it or no fee is known.

    `fee_of` says what one use costs by its name; None where nobody knows.
    """
    most = 0
    shared: dict[str, int] = {}  # one limit for all of a field: the dearest may take it all
    for hosted in tools:
        fee = fee_of(hosted.use)
        if hosted.uses is None or fee is None:
            return None
        if hosted.field == "max_tool_calls":
            shared[hosted.field] = max(shared.get(hosted.field, 0), fee * hosted.uses)
        else:
            most += fee * hosted.uses
    return most + sum(shared.values())


def bound_prompt_tokens(tools: Sequence[Hosted], prompt_tokens: int) -> int:
    """The most a prompt can come to: after each use it is read again, with what the use found."""
    uses = tokens = shared = 0
    for hosted in tools:
        if hosted.field == "max_tool_calls":
            shared = max(shared, hosted.uses or 0)
        else:
            uses += hosted.uses or 0
        tokens = max(tokens, hosted.tokens)
    uses = min(uses + shared, 10_000)
    return min(prompt_tokens * (uses + 1) + tokens * uses * (uses + 1) // 2, MOST)


def parse_whole_number(value: Any) -> int | None:
    """A count as a server might read it, also from text; None for what is none, or has no end."""
    if isinstance(value, str):
        try:
            value = float(value.strip())
        except ValueError:
            return None
    if not isinstance(value, int | float) or value != value or value in (math.inf, -math.inf) or value < 0:
        return None
    return math.ceil(min(value, MOST))


def has_only_plain_functions(tools: Any) -> bool:
    """Whether tools are nothing but functions of the program's in OpenAI's form, as the most are."""
    if not isinstance(tools, list):
        return False
    for tool in tools:
        if not isinstance(tool, dict) or len(tool) != 2 or tool.get("type") != "function":
            return False
        if not _is_named_by_program(tool.get("function")):
            return False
    return True


def list_hosted_tools(kind: str, tool: Any, body: Mapping[str, Any], protocol: str | None) -> Iterable[Hosted]:
    """List what one of a request's tools makes the provider run; empty for a tool that the program runs itself."""
    if not isinstance(tool, dict):
        return [Hosted("tools", "tool")]
    tool_type = str(tool.get("type") or "function")
    if _is_run_by_program(tool_type, tool):
        inner = tool.get("tools")
        inside = inner if isinstance(inner, list) else [] if inner is None else [inner]
        return [nested for each in inside for nested in list_hosted_tools(kind, each, body, protocol)]
    use = _use_of(tool_type, tool)
    if kind == ProviderKind.ANTHROPIC and _DATED.search(tool_type) and use in ("web_search", "web_fetch"):
        return [Hosted("tools", use, parse_whole_number(tool.get("max_uses")), _read_token_limit(use, tool))]
    if _counts_calls(kind, protocol) and _has_one_fee(tool):
        return [
            Hosted("max_tool_calls", use, parse_whole_number(body.get("max_tool_calls")), _read_token_limit(use, tool))
        ]
    return [Hosted("tools", use)]


def _is_run_by_program(tool_type: str, tool: Mapping[str, Any]) -> bool:
    """Whether it is a tool whose calls come back to the program, and nothing else stands beside."""
    if "function" in tool and not _is_named_by_program(tool["function"]):
        return False
    return _RUN_BY_PROGRAMS.match(tool_type) is not None and _OF_FUNCTIONS.issuperset(tool)


def _is_named_by_program(function: Any) -> bool:
    """Whether a function is the program's own; some providers dress theirs as one, `$web_search`."""
    return isinstance(function, dict) and not str(function.get("name", "")).startswith("$")


def _use_of(tool_type: str, tool: Mapping[str, Any]) -> str:
    """The name of a use: the tool's type without its day, or the field that stands for it, in small letters."""
    if tool_type not in ("function", "builtin_function"):
        return _DATED.sub("", tool_type)
    other = next((name for name in tool if name not in _OF_FUNCTIONS), tool_type)
    return _HUMP.sub("_", other).lower()


def _read_token_limit(use: str, tool: Mapping[str, Any]) -> int:
    if use == "web_fetch":
        limit = parse_whole_number(tool.get("max_content_tokens"))
        return _FETCHED_TOKENS if limit is None else limit
    return USE_TOKENS.get(use, 0)


def _has_one_fee(tool: Mapping[str, Any]) -> bool:
    """Whether what a use costs follows from its name: larger containers cost more."""
    container = tool.get("container")
    return not isinstance(container, dict) or container.get("memory_limit") in (None, "1g")


def _counts_calls(kind: str, protocol: str | None) -> bool:
    """Whether `max_tool_calls` bounds what the provider runs."""
    return kind == ProviderKind.OPENAI and protocol == Protocol.RESPONSES


def _limit_tool(tool: Any) -> Any:
    """One of Anthropic's tools with its limits."""
    if not isinstance(tool, dict) or not _WEB_TOOL.match(str(tool.get("type"))):
        return tool
    limited = dict(tool)
    if limited.get("max_uses") is None:
        limited["max_uses"] = USES
    if limited["type"].startswith("web_fetch") and limited.get("max_content_tokens") is None:
        limited["max_content_tokens"] = _FETCHED_TOKENS
    return limited
