"""What a request's own fields choose, run or multiply at the provider, beside the model and the tokens it names.

Three kinds of fields can make a call cost more than its prompt and its ceiling say, or ask a model that nobody allowed:

- those that choose models (`models`, `fallbacks`, a tool's `model`), or hide the choice (`preset`, a stored prompt);
- those that let the provider run something and charge for it apart (`tools` other than the program's own, `plugins`,
  `web_search_options` …), some of which have a limit of uses that can be set in the request;
- those that multiply answers or their length (`n`, `best_of`, `num_predict` …), also as text or inside `options`.

`examine` reads them; who sends the call checks models against the key's scope, holds what uses can cost, and under a
hard budget sets limits or refuses what has none (`lib.providers.hosted_tools`). Sources: the API references of OpenAI
(chat, responses), Anthropic (server tools), Gemini, OpenRouter (routing, plugins, presets), Mistral, Groq, xAI,
Perplexity, Alibaba, and of vLLM, Ollama and text-generation-inference for lengths.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from lib.patterns import compile_pattern
from lib.providers.hosted_tools import (
    MOST,
    USE_TOKENS,
    Hosted,
    has_only_plain_functions,
    list_hosted_tools,
    parse_whole_number,
)
from lib.providers.kinds import ProviderKind, is_free


class Choices(Struct, frozen=True):
    """What the fields of a request choose: `models` beside its own, `hidden` names fields whose choice can't be seen.

    `answers` is by how much the tokens of one answer are multiplied, `ceiling` the highest length named beside the
    usual ones, `unbounded` names fields that put no bound to it; `host` tells that the program picks who serves.
    """

    models: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    hosted: tuple[Hosted, ...] = ()
    answers: int = 1
    ceiling: int = 0
    unbounded: tuple[str, ...] = ()
    host: bool = False


NOTHING = Choices()

# ---- choose models
_MODELS = frozenset(
    """models fallbacks fallback fallback_models fallback_model backup_models model_list context_window_fallbacks
    content_policy_fallbacks engine model_id deployment deployment_id draft_model""".split()  # noqa: SIM905
)
_HIDDEN = frozenset(
    """preset preset_id router agent_id assistant_id workflow_id prompt_id extra_body extra_query extra_headers
    providerOptions provider_options litellm_params user_config custom_llm_provider api_base base_url
    compound_custom""".split()  # noqa: SIM905
)
_HARMLESS_ROUTES = ("fallback", "", None)

# ---- run and charge apart
_HOSTED = {
    "web_search_options": "web_search",
    "plugins": "plugins",
    "search_parameters": "live_search",
    "enable_search": "web_search",
    "enable_web_search": "web_search",
    "web_search": "web_search",
    "search_options": "web_search",
    "search_settings": "web_search",
    "forced_search": "web_search",
    "force_search_enhancement": "web_search",
    "enable_enhancement": "web_search",
    "enable_deep_search": "web_search",
    "enable_code_interpreter": "code_interpreter",
    "connectors": "web_search",
    "data_sources": "file_search",
    "mcp_servers": "mcp",
    "container": "code_execution",
    "server_tools": "server_tools",
    "builtin_tools": "server_tools",
    "tool_resources": "file_search",
}
_FREE_PLUGINS = ("response-healing", "context-compression")
_FREE_PARSERS = ("pdf-text", "native", "cloudflare-ai")  # of OpenRouter's plugin file-parser
_TOOLS = {"tools"}
_RUNS_BY_NAME = compile_pattern(r":online|@preset/|-search-|compound")
_SEARCH_MODEL = compile_pattern(r"-search-(?:preview|api)")
_OFF = (None, False, "", "off", "none", "false", 0)
# ---- multiply
_ANSWERS = frozenset(
    "n best_of num_return_sequences candidateCount candidate_count num_candidates num_completions".split()  # noqa: SIM905
)
_BEAMS = frozenset("num_beams beam_width beam_size".split())  # noqa: SIM905
_LENGTHS = frozenset(
    """num_predict max_new_tokens max_output_tokens maxOutputTokens max_tokens_to_sample max_length max_gen_len
    min_tokens min_new_tokens max_generated_tokens""".split()  # noqa: SIM905
)
_INSIDE = frozenset("options parameters generation_config generationConfig sampling_params".split())  # noqa: SIM905

FIELDS = frozenset(
    (
        *(_MODELS | _HIDDEN | _ANSWERS | _BEAMS | _LENGTHS | _INSIDE),
        *_HOSTED,
        *("tools", "provider", "route", "prompt"),
    )
)


def examine(kind: str, protocol: str | None, model: str, body: Mapping[str, Any]) -> Choices:
    """Read what a request's fields choose beside its model: other models, provider-run tools, numbers of answers.

    Without a `protocol` the body holds the parameters of a request that is still to be translated.
    """
    if _RUNS_BY_NAME.search(model) is None:  # the most requests
        names = FIELDS.intersection(body)
        if not names or (names == _TOOLS and has_only_plain_functions(body["tools"])):
            return NOTHING
    if is_free(kind):
        return NOTHING
    of_model = tuple(_yield_model_tools(kind, model))
    reading = _FieldReader(kind, protocol, model, body)
    choices = Choices(
        models=tuple(dict.fromkeys(name for name in reading.models if name != model)),
        hidden=tuple(dict.fromkeys([*reading.hidden, *(["model"] if "@preset/" in model else [])])),
        hosted=(*of_model, *reading.hosted),
        answers=reading.answers,
        ceiling=reading.ceiling,
        unbounded=tuple(dict.fromkeys(reading.unbounded)),
        host=body.get("provider") is not None,
    )
    return NOTHING if choices == NOTHING else choices


class _FieldReader:
    """Reads a body field by field."""

    def __init__(self, kind: str, protocol: str | None, model: str, body: Mapping[str, Any]) -> None:
        self.kind = kind
        self.protocol = protocol
        self.body = body
        self.models = list[str]()
        self.hidden = list[str]()
        self.unbounded = list[str]()
        self.hosted = list[Hosted]()
        self.ceiling = 0
        self._answers = 1
        self._beams = 1
        self._is_search_model = _SEARCH_MODEL.search(model) is not None
        self._read(body)

    @property
    def answers(self) -> int:
        return min(self._answers * self._beams, MOST)

    def _read(self, fields: Mapping[str, Any]) -> None:
        for name in FIELDS.intersection(fields):
            value = fields[name]
            if value is None:
                continue
            if name in _MODELS:
                self._take_models(name, value)
            elif name in _HIDDEN or self._hides(name, value):
                self.hidden.append(name)
            elif name in _HOSTED:
                self._take_hosted(name, value)
            elif name == "tools":
                self._take_tools(value)
            elif name in _INSIDE:
                if isinstance(value, Mapping):
                    self._read({inner: value[inner] for inner in (_ANSWERS | _BEAMS | _LENGTHS).intersection(value)})
            else:
                self._multiply(name, value)

    def _hides(self, name: str, value: Any) -> bool:
        if name == "route":
            return value not in _HARMLESS_ROUTES
        return name == "prompt" and isinstance(value, Mapping)  # stored at the provider, with a model and tools

    def _take_models(self, name: str, value: Any) -> None:
        names = list(_yield_names(value))
        self.models += [model for model in names if model]
        if "" in names:
            self.hidden.append(name)

    def _take_hosted(self, name: str, value: Any) -> None:
        if not _is_on(name, value) or (name == "web_search_options" and self._is_search_model):
            return
        if name == "plugins":
            self.models += _list_plugin_models(value)
        use = _HOSTED[name]
        uses = None
        if name == "search_parameters" and isinstance(value, Mapping):
            uses = parse_whole_number(value.get("max_search_results"))
        self.hosted.append(Hosted(name, use, uses))

    def _take_tools(self, value: Any) -> None:
        tools = value if isinstance(value, list) else [value]
        for tool in tools:
            if isinstance(tool, dict) and isinstance(name := tool.get("model"), str):
                self.models.append(name)
            self.hosted += list_hosted_tools(self.kind, tool, self.body, self.protocol)

    def _multiply(self, name: str, value: Any) -> None:
        if name not in _ANSWERS and name not in _BEAMS and name not in _LENGTHS:
            return
        count = parse_whole_number(value)
        if count is None:
            self.unbounded.append(name)
        elif name in _ANSWERS:
            self._answers = max(self._answers, count)
        elif name in _BEAMS:
            self._beams = max(self._beams, count)
        else:
            self.ceiling = max(self.ceiling, count)


def _yield_model_tools(kind: str, model: str) -> Iterator[Hosted]:
    """Yield the tools that the provider runs because of the model's name alone, such as a web search."""
    if kind == ProviderKind.OPENROUTER or model.startswith("openrouter/"):
        if "online" in model.split(":")[1:]:
            yield Hosted("model", "plugins")
    elif kind == ProviderKind.OPENAI and _SEARCH_MODEL.search(model):
        yield Hosted("model", "web_search_preview", 1, USE_TOKENS["web_search_preview"])
    elif kind == ProviderKind.GROQ and "compound" in model:  # models that search and run code by themselves
        yield Hosted("model", "compound")


def _is_on(name: str, value: Any) -> bool:
    """Whether a field switches something on."""
    if isinstance(value, Mapping):
        if name == "search_parameters":
            return str(value.get("mode", "auto")).lower() != "off"
        return value.get("enable", value.get("enabled", True)) not in _OFF
    if isinstance(value, list):
        return bool(value) and not (name == "plugins" and all(_is_free_plugin(plugin) for plugin in value))
    return (value.strip().lower() if isinstance(value, str) else value) not in _OFF


def _is_free_plugin(plugin: Any) -> bool:
    return isinstance(plugin, dict) and (plugin.get("id") in _FREE_PLUGINS or _is_free_parser(plugin))


def _is_free_parser(plugin: Any) -> bool:
    pdf = plugin.get("pdf") if isinstance(plugin, dict) and plugin.get("id") == "file-parser" else None
    return isinstance(pdf, dict) and pdf.get("engine") in _FREE_PARSERS


def _yield_names(value: Any) -> Iterator[str]:
    """The models that a field names; an empty text for what names none."""
    match value:
        case str():
            yield from (name.strip() for name in value.split(","))
        case list():
            for element in value:
                yield from _yield_names(element)
        case {"model": str(name)}:
            yield name
        case dict() if value and all(isinstance(inner, list) for inner in value.values()):
            yield from _yield_names(list(value.values()))  # {"a": ["b", "c"]}: instead of a, b or c
        case _:
            yield ""


def _list_plugin_models(plugins: Any) -> list[str]:
    entries = [plugin for plugin in plugins if isinstance(plugin, Mapping)] if isinstance(plugins, list) else []
    return [name for plugin in entries if isinstance(name := plugin.get("model"), str)]
