"""What a configuration remembers: its tiers, whose answers are shared, for how long and how much."""

from dataclasses import dataclass
from enum import StrEnum

from lib.errors import InvalidInput

DAY_S = 86_400
LONGEST_TTL_S = 366 * DAY_S
LARGEST_BYTES = 64 << 30
SMALLEST_BYTES = 1 << 20


class CacheTier(StrEnum):
    """How an answer was found, as `usage_logs.cache` has it."""

    EXACT = "exact"
    LOOSE = "loose"
    SEMANTIC = "semantic"


class SharingScope(StrEnum):
    """Among whom answers are shared. `person`: the key's owner and the end user that a request names."""

    PERSON = "person"
    TEAM = "team"
    APP = "app"


class SemanticMode(StrEnum):
    """What is done with a question that means the same: nothing, noted, asked of a judge, or served once proved."""

    OFF = "off"
    SHADOW = "shadow"
    JUDGED = "judged"
    PROVED = "proved"


@dataclass(frozen=True)
class CacheRules:
    """The rules of one configuration. `bound_per_mille`: the most wrong answers among a thousand that may be served."""

    exact: bool = False
    loose: bool = False
    semantic: SemanticMode = SemanticMode.OFF
    scope: SharingScope = SharingScope.PERSON
    ttl_s: int = DAY_S
    most_bytes: int = 64 << 20
    bound_per_mille: int = 10
    judge_configuration_id: str | None = None
    keeps_pace: bool = False

    @property
    def is_on(self) -> bool:
        """Whether anything is remembered."""
        return self.exact or self.loose or self.semantic is not SemanticMode.OFF

    @property
    def compares_words(self) -> bool:
        """Whether another request than the same one may find an answer."""
        return self.loose or self.semantic is not SemanticMode.OFF

    def check(self) -> None:
        """Raise InvalidInput for rules that can't be kept."""
        if not 1 <= self.ttl_s <= LONGEST_TTL_S:
            raise InvalidInput("Answers can be remembered for a second up to 366 days.", f"{self.ttl_s} s were asked.")
        if not SMALLEST_BYTES <= self.most_bytes <= LARGEST_BYTES:
            raise InvalidInput("A cache holds 1 MiB to 64 GiB.", f"{self.most_bytes:,} bytes were asked.")
        if not 1 <= self.bound_per_mille <= 100:
            raise InvalidInput(
                "The bound is 1 to 100 wrong answers among a thousand.", f"{self.bound_per_mille} was asked."
            )
        if self.semantic is SemanticMode.JUDGED and not self.judge_configuration_id:
            raise InvalidInput(
                "The semantic tier needs a judge in this mode.",
                "No configuration was chosen that decides whether two questions ask for the same.",
                "Choose one, or use the mode shadow, which serves nothing.",
            )
