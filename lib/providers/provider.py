"""A registered provider as a value, and the rules its fields keep."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from lib.errors import InvalidInput
from lib.patterns import compile_pattern
from lib.providers import hosts
from lib.providers.kinds import FACTS, KindFacts, ProviderKind, look_up_facts

_NAME = compile_pattern(r"[A-Za-z0-9][A-Za-z0-9 ._\-]{0,79}")
_HEADER_NAME = compile_pattern(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]{1,80}")
_OWN_HEADERS = {"host", "content-length", "connection", "transfer-encoding"}


@dataclass(frozen=True)
class Provider:
    """What a page may show of a provider: its key by the last four characters, its extra headers by their names."""

    id: str
    name: str
    kind: str
    base_url: str
    key_last4: str | None
    key_host: str | None
    header_names: tuple[str, ...]
    organisation: str
    allow_private: bool
    is_active: bool
    last_check: Mapping[str, Any] | None = field(repr=False)
    created_at: datetime
    updated_at: datetime

    @property
    def facts(self) -> KindFacts:
        """Return the facts of the provider's kind, such as its label, usual address and whether it needs a key."""
        return look_up_facts(self.kind)

    @property
    def address(self) -> str:
        """The base URL in force: its own, or its kind's."""
        return self.base_url or self.facts.base_url

    @property
    def has_key(self) -> bool:
        """Whether a key is stored."""
        return self.key_last4 is not None

    @property
    def needs_key(self) -> bool:
        """Whether it can't work because its key is missing."""
        return self.facts.needs_key and not self.has_key

    @property
    def state(self) -> str:
        """`off`, `needs key` or `ready`."""
        if not self.is_active:
            return "off"
        return "needs key" if self.needs_key else "ready"


RESERVED_NAME = "workflow"


def check_name(name: str) -> str:
    """A name that can stand in the ledger."""
    name = name.strip()
    if name.lower() == RESERVED_NAME:
        why = "workflow/<slug> names workflows among the models."
        raise InvalidInput("The name can't be used.", why, "Choose another name.", field="name")
    if _NAME.fullmatch(name):
        return name
    raise InvalidInput(
        "The name can't be used.",
        "It needs 1 to 80 letters, digits, spaces, dots, dashes or underscores, and starts with a letter or digit.",
        "Choose another name.",
        field="name",
    )


def check_kind(kind: str) -> ProviderKind:
    """A known kind."""
    if kind in {supported.value for supported in FACTS}:
        return ProviderKind(kind)
    raise InvalidInput(f"{kind[:40]} is not a kind of provider.", "", f"Use one of {', '.join(FACTS)}.", field="kind")


def check_base_url(kind: ProviderKind, base_url: str, *, allow_private: bool) -> str:
    """The address as stored (empty: the kind's own); InvalidInput where it is missing, unreadable or private."""
    base_url = base_url.strip().rstrip("/")
    if look_up_facts(kind).in_process:
        return ""
    if not base_url and look_up_facts(kind).needs_base_url:
        raise InvalidInput(
            "The base URL is missing.", "", "Write it like https://api.example.com/v1.", field="base_url"
        )
    if base_url:
        hosts.check(base_url, allow_private=allow_private or is_own_address(kind, base_url))
    return base_url


def is_own_address(kind: str, base_url: str) -> bool:
    """Whether an address is the kind's own: Ollama's stands on this machine and needs no leave."""
    return not base_url or base_url == look_up_facts(kind).base_url


def check_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Extra headers that can be sent."""
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OWN_HEADERS or any(c in value for c in "\r\n\0"):
            raise InvalidInput(f"The header {name[:60]} can't be sent.", "", "Correct it.", field="headers")
    return dict(headers)


def check_key(key: str | None) -> str | None:
    """A key without blanks around it, or None when there is none."""
    key = (key or "").strip()
    if any(not 32 < ord(sign) < 127 for sign in key):
        raise InvalidInput("The key holds blanks or signs that keys don't have.", "", "Copy it again.", field="api_key")
    return key or None
