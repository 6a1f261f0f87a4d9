"""What an experiment asks, as values: candidates, how answers are scored, and the table of inputs.

A candidate is a configuration, with a version of a prompt template or without one; then the table's column `prompt` is
what is asked. A template's variables are the table's columns of their names.
"""

import csv
import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lib.errors import InvalidInput
from lib.experiments.workflow_candidates import get_slug
from lib.files.text import decode_text

MOST_ROWS = 2_000
MOST_CANDIDATES = 8
MOST_PARALLEL = 8
MOST_CELLS = 5_000
_LARGEST = 20_000_000  # bytes of a CSV
_LONGEST_CELL = 200_000  # characters
PROMPT = "prompt"
EXPECTED = "expected"
Inputs = Mapping[str, str]


@dataclass(frozen=True)
class Candidate:
    """`version` belongs to `prompt`; both None where the rows hold the prompts.

    A configuration `workflow/<name>` is a workflow, `version` then its own.
    """

    configuration: str
    prompt: str | None = None
    version: int | None = None

    @property
    def workflow(self) -> str | None:
        """The workflow's name; None for a configuration."""
        return get_slug(self.configuration)

    @property
    def name(self) -> str:
        """The label that people read: template, version and configuration."""
        if self.workflow is not None:
            return f"{self.configuration} v{self.version}"
        return self.configuration if self.prompt is None else f"{self.prompt} v{self.version} · {self.configuration}"


@dataclass(frozen=True)
class ExperimentDraft:
    """An experiment to be made. `scorers` are records of `lib.experiments.scoring`; the cap is nano-dollars."""

    name: str
    candidates: Sequence[Candidate]
    rows: Sequence[Inputs]
    scorers: Sequence[Mapping[str, Any]] = field(default_factory=list)
    parallel: int = 4
    cap_nano_usd: int | None = None

    def check_columns(self) -> list[str]:
        """Check the table and return its columns; raises InvalidInput for too much, too little, or rows that differ."""
        cells = len(self.rows) * len(self.candidates)
        for noun, count, most in (
            ("rows", len(self.rows), MOST_ROWS),
            ("candidates", len(self.candidates), MOST_CANDIDATES),
            ("calls at once", self.parallel, MOST_PARALLEL),
            ("calls", cells, MOST_CELLS),
        ):
            if not 0 < count <= most:
                fix = f"There may be 1 to {most:,}."
                raise InvalidInput(f"{count:,} {noun} can't be run.", "", fix, field=noun.partition(" ")[0])
        if len(set(self.candidates)) < len(self.candidates):
            raise InvalidInput("A candidate stands twice.", "", "Take one of them out.", field="candidates")
        if self.cap_nano_usd is not None and self.cap_nano_usd <= 0:
            raise InvalidInput("The cap must be more than nothing.", "", "Leave it out for none.", field="cap")
        columns = list(self.rows[0])
        if any(list(row) != columns for row in self.rows):
            raise InvalidInput("The rows have different columns.", "", "Give every row the same ones.", field="rows")
        return columns


def read_csv(data: bytes) -> list[dict[str, str]]:
    """Read the rows of a CSV with a head line, comma or semicolon; raises InvalidInput with the line that can't be
    read.
    """
    if len(data) > _LARGEST:
        raise _make_error(f"It has {len(data):,} bytes; the limit is {_LARGEST:,}.")
    text = decode_text(data)
    head = text.partition("\n")[0]
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))  # the process's: others may have raised it
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if head.count(";") > head.count(",") else ",")
    try:
        lines = [(reader.line_num, line) for line in itertools.islice(reader, MOST_ROWS + 2) if any(line)]
    except csv.Error as error:
        raise _make_error(f"Line {reader.line_num}: {error}.") from None
    if len(lines) < 2:
        raise _make_error("It needs a line of column names and at least one row.")
    columns = [name.strip() for name in lines[0][1]]
    if len(set(columns)) < len(columns) or not all(columns):
        raise _make_error("Every column needs a name of its own.")
    if len(lines) > MOST_ROWS + 1:
        raise _make_error(f"It has more than {MOST_ROWS:,} rows.")
    for number, line in lines[1:]:
        if max(map(len, line)) > _LONGEST_CELL:
            raise _make_error(f"Line {number}: field larger than field limit ({_LONGEST_CELL})")
        if len(line) != len(columns):
            raise _make_error(f"Line {number} has {len(line)} cells, the head {len(columns)}.")
    return [dict(zip(columns, line, strict=True)) for _, line in lines[1:]]


def build_grid(values: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Build every combination of the columns' values, the last column changing fastest."""
    if not values or not all(values.values()):
        raise InvalidInput("The grid is empty.", "", "Give every column at least one value.", field="rows")
    count = 1
    for column in values.values():
        count *= len(column)
    if count > MOST_ROWS:
        raise InvalidInput(f"The grid has {count:,} rows.", f"The limit is {MOST_ROWS:,}.", field="rows")
    return [dict(zip(values, line, strict=True)) for line in itertools.product(*values.values())]


def _make_error(why: str) -> InvalidInput:
    return InvalidInput("The table can't be read.", why, "Give a CSV with a head line.", field="rows")
