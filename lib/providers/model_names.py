"""The names under which a model may be listed, with its price and its facts, from the name it is called by.

Providers' listings and documents write one model in many ways: with what only addresses it (`models/…`, a region, a
route of litellm's, an ARN), with the day of its snapshot (`gpt-4.1-2025-04-14`, `claude-haiku-4-5@20251001`), with a
way to be served (OpenRouter's `:nitro`), or as a fine-tune (`ft:gpt-4o-mini-2024-07-18:acme:support:Abc12345`). Each
kind has its own forms. What is taken off never changes which model answers: a fine-tune keeps its `ft:`, since it costs
more than its base, and what does not name its model (a deployment, a preset, a router) keeps its name and so has no
price.

Sources: the model pages of OpenAI, Anthropic, Gemini, Mistral, Amazon Bedrock (ids, inference profiles), Vertex AI,
Azure, Fireworks, OpenRouter (variants), and litellm's provider pages.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache

from lib.patterns import compile_pattern
from lib.providers.kinds import ProviderKind

Key = tuple[str, str]  # kind of provider, name of the model

_SNAPSHOT = r"-\d{4}-\d{2}-\d{2}|[-@]\d{8}(?:-v\d+:\d+)?|(?<=-preview)-\d{2}-\d{2}(?:\d{2})?"
_DATED = compile_pattern(rf"(?:{_SNAPSHOT}|[-@]latest|@default)$")
_DAY = compile_pattern(rf"(?:{_SNAPSHOT})$")
_REGION = compile_pattern(r"(?<![^/])(?:us|eu|apac|global|au|jp|ca|in|us-gov)\.(?=[a-z0-9]+\.)")
_AREA = compile_pattern(r"^[a-z]{2}(?:-gov)?-[a-z]+-\d/")  # of Amazon's data centres: us-east-1/
_BEDROCK_ROUTE = compile_pattern(r"^(?:converse_like|converse|invoke|async_invoke)/")
_BEDROCK_ARN = compile_pattern(
    r"^arn:aws[a-z-]*:bedrock:([a-z0-9-]*):\d*:(?:inference-profile|foundation-model)/(.+)$",
)
_CONTEXT = compile_pattern(r"(?<=:\d):\d+k?$")  # amazon.nova-pro-v1:0:300k
_AZURE_ROUTE = compile_pattern(r"^(?:responses|o_series|gpt5_series)/")
_AZURE_AREA = compile_pattern(r"^(global-standard|global|us-gov|[a-z]{2,4})/")
_PUBLISHER = compile_pattern(r"^publishers/[^/]+/models/")
_STABLE = compile_pattern(r"(?<=\d)(-[a-z-]+)?-0\d\d$")  # gemini-2.0-flash-001
_HASH = compile_pattern(r":[0-9a-f]{40,64}$")
_SAME_PRICE = frozenset({"online", "nitro", "floor", "exacto", "beta", "thinking"})  # who serves an OpenRouter model
_FIREWORKS = "accounts/fireworks/models/"
_SYNONYMS = {
    "bedrock_converse": "bedrock", "cohere_chat": "cohere", "azure_text": "azure", "ai21_chat": "ai21",
    "vertex_ai_beta": "vertex_ai", "text-completion-openai": "openai", "text-completion-codestral": "codestral",
}  # fmt: skip
_OWN_KINDS = {"openai", "anthropic", "gemini", "groq", "mistral", "deepseek", "openrouter"}
_UNNAMED = ("openai/", "anthropic/", "vertex_ai/", "bedrock/", "cohere/")  # whose models litellm knows without a prefix


@lru_cache(maxsize=10_000)
def list_model_keys(kind: str, model: str) -> tuple[Key, ...]:
    """Kind and name of each entry of a list that may be the model's, the most specific first."""
    keys = list(_yield_keys(kind, model))
    return tuple(dict.fromkeys([*keys, *((kind, strip_date(name)) for kind, name in keys)]))


@lru_cache(maxsize=10_000)
def list_alias_keys(kind: str, model: str) -> tuple[Key, ...]:
    """The names of a model called without a day, whose price may be its snapshots'; none for a snapshot itself."""
    keys = list_model_keys(kind, model)
    return () if any(_DAY.search(name) for _, name in keys) else tuple(key for key in keys if not _DATED.search(key[1]))


def strip_date(name: str) -> str:
    """A name without the day of its snapshot, `-latest` or `@default`."""
    return _DATED.sub("", name)


def strip_to_bare_name(kind: str, model: str) -> str:
    """A model's name without what only addresses it, its date or `-latest`; for comparing names of two lists."""
    unprefixed = model.removeprefix("responses/").removeprefix(f"{kind}/").removeprefix("models/")
    return strip_date(_REGION.sub("", unprefixed))


def is_free_variant(kind: str, model: str) -> bool:
    """Whether the name itself says that its tokens cost nothing: OpenRouter's `:free`, and its router of these."""
    if kind == ProviderKind.LITELLM:
        provider, _, routed_model = model.partition("/")
        return provider == ProviderKind.OPENROUTER and is_free_variant(provider, routed_model)
    return kind == ProviderKind.OPENROUTER and (
        "free" in model.split(":")[1:] or model.removeprefix("openrouter/") in ("openrouter/free", "free")
    )


def _yield_keys(kind: str, model: str) -> Iterator[Key]:
    yield kind, model
    plain_name = model.removeprefix("responses/")  # which says what protocol to speak, not which model
    if kind == ProviderKind.LITELLM:
        yield from _yield_litellm_keys(plain_name)
        return
    bare = plain_name.removeprefix(f"{kind}/").removeprefix("models/")
    forms = _OF_KIND.get(kind, _yield_plain_names)
    yield from ((kind, name) for name in (plain_name, *forms(bare)))


def _yield_plain_names(name: str) -> Iterator[str]:
    """A name as it is, or that of its fine-tune's base among the fine-tunes."""
    yield name
    if name.startswith("ft:") and name.count(":") > 1:
        yield ":".join(name.split(":")[:2])


def _yield_gemini_names(name: str) -> Iterator[str]:
    yield name
    yield _STABLE.sub(r"\1", name)


def _yield_openrouter_names(name: str) -> Iterator[str]:
    """A variant that only chooses who serves the model has its price; `:extended` and what is unknown has not."""
    yield name
    base, *variants = name.split(":")
    priced_variants = [variant for variant in variants if variant not in _SAME_PRICE]
    yield ":".join([base, *priced_variants])


_Forms = Callable[[str], Iterator[str]]
_OF_KIND: dict[str, _Forms] = {"gemini": _yield_gemini_names, "openrouter": _yield_openrouter_names}


def _yield_litellm_keys(qualified_name: str) -> Iterator[Key]:
    """The provider stands first in the name; some are kinds of their own, and a few go without a prefix."""
    provider, slash, model = qualified_name.partition("/")
    if not slash:
        for prefix in _UNNAMED:
            yield from _yield_litellm_keys(prefix + qualified_name)
        return
    provider = _SYNONYMS.get(provider, provider)
    if provider in _OWN_KINDS:
        yield from _yield_keys(provider, model)
        return
    forms = _OF_LITELLM.get(provider, _yield_plain_names)
    yield from ((ProviderKind.LITELLM.value, f"{provider}/{name}") for name in forms(model))


def _yield_bedrock_names(name: str) -> Iterator[str]:
    """`us.` and its like are priced apart where listed; a place without a price of its own has its neighbours'."""
    if match := _BEDROCK_ARN.match(name):
        name = f"{match[1]}/{match[2]}" if match[1] else match[2]
    name = _CONTEXT.sub("", _BEDROCK_ROUTE.sub("", name))
    yield name
    area = _AREA.match(name)
    model = _AREA.sub("", name)
    is_government = (area is not None and "-gov-" in area[0]) or model.startswith("us-gov.")
    bare = _REGION.sub("", model)
    if is_government:  # dearer than elsewhere, the same in both areas
        yield from (f"{prefix}{bare}" for prefix in ("us-gov.", "us-gov-west-1/", "us-gov-east-1/"))
        return
    yield model
    if model != bare and not model.startswith("global."):
        yield f"us.{bare}"
    yield bare


def _yield_vertex_names(name: str) -> Iterator[str]:
    name = _PUBLISHER.sub("", name)
    yield name
    yield _STABLE.sub(r"\1", name) if name.startswith("gemini-") else name


def _yield_azure_names(name: str) -> Iterator[str]:
    """`eu/` and `us/` are dearer than `global/`; a zone without a price of its own has theirs."""
    name = _AZURE_ROUTE.sub("", name)
    yield name
    if zone := _AZURE_AREA.match(name):
        bare = name[zone.end() :]
        yield from () if zone[1].startswith("global") else (f"us/{bare}", f"eu/{bare}")
        yield bare


def _yield_fireworks_names(name: str) -> Iterator[str]:
    """The short name is that of Fireworks' own account; another account's models are fine-tunes."""
    yield name
    yield name.removeprefix(_FIREWORKS)
    if "/" not in name:
        yield _FIREWORKS + name


def _yield_replicate_names(name: str) -> Iterator[str]:
    yield name
    yield _HASH.sub("", name)


_OF_LITELLM: dict[str, _Forms] = {
    "bedrock": _yield_bedrock_names, "bedrock_mantle": _yield_bedrock_names, "vertex_ai": _yield_vertex_names,
    "azure": _yield_azure_names, "fireworks_ai": _yield_fireworks_names, "replicate": _yield_replicate_names,
}  # fmt: skip
