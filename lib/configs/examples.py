"""The configurations an installation starts with: the bundled model, which works at once, and five to fill in."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from lib.clock import utc_now
from lib.configs.configuration import ConfigurationDraft
from lib.db.engine import Store
from lib.db.tables import configurations, providers, user_preferences
from lib.providers.kinds import LOCAL_MODEL, ProviderKind

_MARK = {"user_id": "installation", "key": "seeded-configurations", "value": True}
_ALL = ("streaming", "tools", "vision", "json")
_TEXT = ("streaming", "tools", "json")


@dataclass(frozen=True)
class Example:
    """A configuration and the kind (and seeded name) of its provider; those that need a key start switched off."""

    draft: ConfigurationDraft
    provider: ProviderKind
    is_active: bool = False
    is_global_default: bool = False


def _make_example(slug: str, provider: ProviderKind, model: str, description: str, able: tuple[str, ...]) -> Example:
    parameters = {} if provider is ProviderKind.LOCAL else {"temperature": 0.7}
    return Example(ConfigurationDraft(slug, "general", model, description, "", parameters, able), provider)


_K = ProviderKind
_LOCAL = ConfigurationDraft(
    "local-default",
    "general",
    LOCAL_MODEL,
    "The bundled model: small, offline, free. Good for trying things out.",
    "You are a helpful assistant. Answer briefly.",
    {"temperature": 0.7, "max_tokens": 512},
    ("streaming",),
)
EXAMPLES = (
    Example(_LOCAL, _K.LOCAL, is_active=True, is_global_default=True),
    _make_example("ollama-qwen3", _K.OLLAMA, "qwen3:4b", "Qwen 3 on your own Ollama server.", _TEXT),
    _make_example(
        "ollama-deepseek-coder", _K.OLLAMA, "deepseek-coder:6.7b", "DeepSeek Coder on your own Ollama.", ("streaming",)
    ),
    _make_example("openai-default", _K.OPENAI, "gpt-4.1-mini", "OpenAI. Needs a key.", _ALL),
    _make_example("anthropic-default", _K.ANTHROPIC, "claude-sonnet-4-6", "Anthropic. Needs a key.", _ALL),
    _make_example(
        "openrouter-default", _K.OPENROUTER, "openai/gpt-4.1-mini", "Any model of OpenRouter's. Needs a key.", _ALL
    ),
)


def add_once(store: Store, rows: list[dict[str, Any]]) -> None:
    """Insert the examples' rows unless this installation had them before."""
    with store.read() as connection:
        was_seeded = select(user_preferences.c.key).where(
            user_preferences.c.user_id == _MARK["user_id"], user_preferences.c.key == _MARK["key"]
        )
        if connection.scalar(was_seeded) is not None:
            return
    try:
        with store.write() as connection:
            connection.execute(insert(user_preferences).values(**_MARK, updated_at=utc_now()))
            ids = {row.name: row.id for row in connection.execute(select(providers.c.name, providers.c.id))}
            taken_slugs = set(connection.scalars(select(configurations.c.slug)))
            for row, example in zip(rows, EXAMPLES, strict=True):
                if row["slug"] not in taken_slugs:
                    connection.execute(
                        insert(configurations).values(**row, provider_id=ids.get(example.provider.value))
                    )
    except IntegrityError:
        return  # another process was faster
