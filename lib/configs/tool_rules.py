"""The tools of a configuration: which, when a person is asked, who runs them for programs, and how far a turn may go.

The column `configurations.tools` holds what differs from the defaults, so that an empty one means "no tools".
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, TypeVar

from lib.errors import InvalidInput

MOST_PATTERNS = 200
LONGEST_PATTERN = 80
NANO = 1_000_000_000
_Choice = TypeVar("_Choice", bound=StrEnum)


class ApprovalPolicy(StrEnum):
    """What happens before a tool runs: nothing, a person is asked, or it does not run."""

    AUTO = "auto"
    ASK = "ask"
    DENY = "deny"


STRICTNESS = (ApprovalPolicy.AUTO, ApprovalPolicy.ASK, ApprovalPolicy.DENY)


class ProgramTools(StrEnum):
    """What becomes of tools when a program calls the configuration by HTTP.

    `off` passes a program's own tools through untouched and adds none; `run` gives a request without tools those of
    the configuration; `mix` adds those of them that only read to a request that brings its own.
    """

    OFF = "off"
    RUN = "run"
    MIX = "mix"


@dataclass(frozen=True)
class ToolRules:
    """Patterns name tools, `*` stands for anything. Seconds, characters and cost are those of a whole turn.

    With `waits` a program's request waits for a person's decision; else it is told the address of the question.
    More tools than `most_described` are not described to the model: it searches them by a tool of its own.
    """

    names: tuple[str, ...] = ()
    approval: Mapping[str, ApprovalPolicy] = field(default_factory=dict)
    programs: ProgramTools = ProgramTools.OFF
    waits: bool = False
    most_described: int = 20
    max_rounds: int = 8
    max_seconds: int = 300
    max_output_characters: int = 50_000  # of one result
    max_cost_nano_usd: int | None = None

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "ToolRules":
        """Read the JSON of the column `configurations.tools`; raises InvalidInput (field `tools`)."""
        if not isinstance(record, Mapping):
            raise _make_error("The tools are not an object.")
        if unknown := set(record) - set(cls.__dataclass_fields__):
            raise _make_error(f"{', '.join(sorted(map(str, unknown)))[:80]} is not known.")
        approval = record.get("approval", {})
        if not isinstance(approval, Mapping) or len(approval) > MOST_PATTERNS:
            raise _make_error("The approvals are an object of tools and policies.")
        return cls(
            names=tuple(_read_patterns(record.get("names", ()))),
            approval={_read_pattern(name): _read_choice(ApprovalPolicy, policy) for name, policy in approval.items()},
            programs=_read_choice(ProgramTools, record.get("programs", ProgramTools.OFF)),
            waits=bool(record.get("waits", False)),
            most_described=_read_number(record, "most_described", 1, 128, 20),
            max_rounds=_read_number(record, "max_rounds", 1, 50, 8),
            max_seconds=_read_number(record, "max_seconds", 1, 3600, 300),
            max_output_characters=_read_number(record, "max_output_characters", 100, 1_000_000, 50_000),
            max_cost_nano_usd=_read_cost(record.get("max_cost_nano_usd")),
        )

    def to_record(self) -> dict[str, Any]:
        """Write the JSON of the column, without what is as by default."""
        default = asdict(ToolRules())
        record = {name: part for name, part in asdict(self).items() if part != default[name]}
        if "names" in record:
            record["names"] = list(record["names"])
        return record

    def names_tool(self, name: str) -> bool:
        """Whether a tool is one of the configuration's."""
        return any(fnmatchcase(name, pattern) for pattern in self.names)

    def names_server(self, server: str) -> bool:
        """Whether a tool of a server may be one of the configuration's: those are called `server__tool`."""
        own = f"{server}__"
        return any(pattern.startswith(own) or fnmatchcase(own, pattern) for pattern in self.names)

    def policy_of(self, name: str) -> ApprovalPolicy | None:
        """The policy that the configuration sets for a tool, the strictest of those that match; None: none does."""
        policies = [policy for pattern, policy in self.approval.items() if fnmatchcase(name, pattern)]
        return max(policies, key=STRICTNESS.index) if policies else None


def _read_patterns(patterns: Any) -> list[str]:
    if not isinstance(patterns, list | tuple) or len(patterns) > MOST_PATTERNS:
        raise _make_error(f"Its names are a list of at most {MOST_PATTERNS}.")
    return list(dict.fromkeys(_read_pattern(pattern) for pattern in patterns))


def _read_pattern(pattern: Any) -> str:
    if not isinstance(pattern, str) or not 0 < len(pattern.strip()) <= LONGEST_PATTERN:
        raise _make_error(f"{str(pattern)[:40]!r} names no tool.")
    return pattern.strip()


def _read_choice(kind: type[_Choice], text: Any) -> _Choice:
    try:
        return kind(text)
    except ValueError:
        raise _make_error(f"{str(text)[:40]!r} is none of {', '.join(kind)}.") from None


def _read_number(record: Mapping[str, Any], name: str, least: int, most: int, default: int) -> int:
    number = record.get(name, default)
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
        raise _make_error(f"{name} is a whole number from {least:,} to {most:,}.")
    return number


def _read_cost(cost: Any) -> int | None:
    if cost is None:
        return None
    if isinstance(cost, bool) or not isinstance(cost, int) or not 0 < cost <= 1_000_000 * NANO:
        raise _make_error("max_cost_nano_usd is a whole number of nano-dollars.")
    return cost


def _make_error(why: str) -> InvalidInput:
    return InvalidInput("The configuration's tools can't be used.", why, "Correct them.", field="tools")
