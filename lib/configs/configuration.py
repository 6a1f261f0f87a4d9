"""A configuration as a value: which model an app uses, through which provider, told what, with which parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lib.clock import utc_now
from lib.configs.routing import Routing
from lib.configs.tool_rules import ToolRules
from lib.db.tables import FIRST_TEAM
from lib.errors import InvalidInput
from lib.patterns import compile_pattern
from lib.providers.kinds import ProviderKind
from lib.providers.parameter_rules import check as check_parameters

CAPABILITIES = ("streaming", "tools", "vision", "json")
CONTENT_POLICIES = ("full", "redacted", "metadata")  # what of the words of a call is kept
UNSUPPORTED = ("refuse", "drop")  # what becomes of a parameter that the model does not take
_SLUG = compile_pattern(r"[a-z0-9][a-z0-9._\-]{0,79}")
_LONGEST_SYSTEM_PROMPT = 200_000
_LEADS_AWAY = compile_pattern(r"(?:^|/)\.\.?(?:/|$)|[?#%\\\x00-\x1f]")
_LEADS_AWAY_AT_GOOGLE = compile_pattern(rf"{_LEADS_AWAY.pattern}|:")  # a colon begins a method there


@dataclass(frozen=True)
class Configuration:
    """`needs` says what keeps it from working: nothing (None), `key`, `provider`, `provider off` or `off`."""

    id: str
    slug: str
    app: str
    description: str
    provider_id: str | None
    provider_name: str
    provider_kind: str
    model: str
    system_prompt: str = field(repr=False)
    parameters: Mapping[str, Any]
    capabilities: tuple[str, ...]
    routing: Mapping[str, Any]
    content_policy: str
    unsupported_parameters: str
    is_active: bool
    is_default: bool
    is_global_default: bool
    revision: int
    needs: str | None
    created_at: datetime
    updated_at: datetime
    tools: Mapping[str, Any] = field(default_factory=dict)  # as `ToolRules.to_record` writes it
    team_id: int = FIRST_TEAM

    @classmethod
    def make_for_model(cls, provider_id: str, provider_name: str, provider_kind: str, model: str) -> "Configuration":
        """Make the configuration that stands for a model called without one: only the model is set, its id is empty.

        The name may become a part of an address, so it must not lead to another one; raises InvalidInput.
        """
        leads_away = _LEADS_AWAY_AT_GOOGLE if provider_kind == ProviderKind.GEMINI else _LEADS_AWAY
        if provider_kind != ProviderKind.SCRIPTED and leads_away.search(model):
            why = "It holds signs that no model's name has."
            raise InvalidInput("The model can't be used.", why, "Correct it.", field="model")
        now = utc_now()
        return cls(
            id="",
            slug=f"{provider_name}/{model}",
            app="general",
            description="",
            provider_id=provider_id,
            provider_name=provider_name,
            provider_kind=provider_kind,
            model=_check_model(model),
            system_prompt="",
            parameters={},
            capabilities=CAPABILITIES,
            routing={},
            content_policy="full",
            unsupported_parameters="drop",
            is_active=True,
            is_default=False,
            is_global_default=False,
            revision=0,
            needs=None,
            created_at=now,
            updated_at=now,
        )


@dataclass(frozen=True)
class ConfigurationDraft:
    """The fields that a person may set; `to_columns` checks them."""

    slug: str
    app: str
    model: str
    description: str = ""
    system_prompt: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    capabilities: Sequence[str] = ("streaming",)
    routing: Mapping[str, Any] = field(default_factory=dict)
    content_policy: str = "full"
    unsupported_parameters: str = "refuse"
    tools: Mapping[str, Any] = field(default_factory=dict)

    def to_columns(self) -> dict[str, Any]:
        """Check every field and return the columns to store; raises InvalidInput with the field that can't be used."""
        return {
            "slug": check_slug(self.slug, "slug"),
            "app": check_slug(self.app, "app"),
            "model": _check_model(self.model),
            "description": self.description.strip()[:2000],
            "system_prompt": _check_system_prompt(self.system_prompt),
            "parameters": check_parameters(self.parameters),
            "capabilities": _check_capabilities(self.capabilities),
            "routing": Routing.from_record(self.routing).to_record(),
            "content_policy": _check_choice(self.content_policy, CONTENT_POLICIES, "content_policy"),
            "unsupported_parameters": _check_choice(self.unsupported_parameters, UNSUPPORTED, "unsupported_parameters"),
            "tools": ToolRules.from_record(self.tools).to_record(),
        }


def check_slug(text: str, field_name: str) -> str:
    """Return a short lower-case name that can stand in an address; raises InvalidInput."""
    text = text.strip()
    if _SLUG.fullmatch(text):
        return text
    raise InvalidInput(
        f"The {'name' if field_name == 'slug' else field_name} can't be used.",
        f"{text[:40]!r} must be lower-case letters, digits, dots, dashes or underscores, at most 80.",
        "Write it like support-bot.",
        field=field_name,
    )


def _check_model(text: str) -> str:
    text = text.strip()
    if text and len(text) <= 200 and text.isprintable():
        return text
    raise InvalidInput(
        "The model's name can't be used.",
        "It is empty or too long.",
        "Write it as the provider does, like gpt-4.1-mini.",
        field="model",
    )


def _check_system_prompt(text: str) -> str:
    if len(text) <= _LONGEST_SYSTEM_PROMPT:
        return text.replace("\0", "")
    raise InvalidInput(
        "The system prompt is too long.",
        f"It has {len(text):,} characters; the limit is {_LONGEST_SYSTEM_PROMPT:,}.",
        "Shorten it.",
        field="system_prompt",
    )


def _check_capabilities(names: Sequence[str]) -> list[str]:
    if unknown := set(names) - set(CAPABILITIES):
        raise InvalidInput(
            f"{', '.join(sorted(unknown))[:60]} is not a capability.",
            "",
            f"Use any of {', '.join(CAPABILITIES)}.",
            field="capabilities",
        )
    return [name for name in CAPABILITIES if name in names]


def _check_choice(text: str, allowed: Sequence[str], field_name: str) -> str:
    if text in allowed:
        return text
    raise InvalidInput(f"{text[:40]!r} can't be used.", "", f"Choose one of {', '.join(allowed)}.", field=field_name)
