"""Reads test collections: documents, questions, and which answers which, as the public ones are kept.

A folder holds `corpus.jsonl` or `docs.jsonl` (`_id` or `id`, `title`, `text`), `queries.jsonl` (`_id` or `id`, `text`)
and `qrels.tsv` or `qrels/test.tsv` (question, document, grade; with or without a head; TREC's four columns too).
A CSV of one's own has the columns `question`, `document` and, if wanted, `grade`.
"""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lib.errors import InvalidInput
from lib.knowledge.collections import make_storable

DOCUMENT_FILES = ("corpus.jsonl", "docs.jsonl")
QUESTIONS = "queries.jsonl"
_QRELS = ("qrels.tsv", "qrels/test.tsv", "qrels/dev.tsv", "qrels/train.tsv")
_LONGEST_QUESTION = 4_000
_LONGEST_CELL = 100_000


@dataclass(frozen=True)
class CorpusEntry:
    """A document as it stands in a corpus."""

    id: str
    title: str
    text: str

    @property
    def whole(self) -> str:
        """Its title before its text, unless the text begins with it; empty where there are no words at all."""
        text = self.text.strip()
        return text if text.startswith(self.title) else f"{self.title}\n\n{text}".strip()


@dataclass(frozen=True)
class CorpusQuestion:
    """A question with the grade of each document that was judged, by the documents' names."""

    id: str
    text: str
    grades: Mapping[str, int] = field(default_factory=dict)


def find_corpus(folder: Path) -> Path | None:
    """The file with a folder's documents, where it is a test collection."""
    return next((folder / name for name in DOCUMENT_FILES if (folder / name).is_file()), None)


def read_entries(path: Path) -> Iterator[CorpusEntry]:
    """The documents of a JSON lines file; InvalidInput names the line that can't be read."""
    for number, line in enumerate(_read_lines(path), start=1):
        record = _parse_record(path.name, number, line)
        yield CorpusEntry(
            _read_id(path.name, number, record), _clean_words(record.get("title")), _clean_words(record.get("text"))
        )


def read_folder(folder: Path) -> list[CorpusQuestion]:
    """The questions of a test collection with their judgements; those without any are left out."""
    qrels = next((folder / name for name in _QRELS if (folder / name).is_file()), None)
    if qrels is None or not (folder / QUESTIONS).is_file():
        raise InvalidInput(
            f"{folder} is no test collection.", "", f"It needs {QUESTIONS} and qrels.tsv or qrels/test.tsv.", "corpus"
        )
    return read_questions(_read_lines(folder / QUESTIONS), _read_lines(qrels))


def read_questions(queries: Iterable[str], qrels: Iterable[str]) -> list[CorpusQuestion]:
    """Questions from the lines of `queries.jsonl` and of a file of judgements."""
    grades: dict[str, dict[str, int]] = {}
    for number, line in enumerate(qrels, start=1):
        cells = line.strip().split("\t") if "\t" in line else line.split()
        if not line.strip():
            continue
        try:
            if len(cells) not in (3, 4):
                raise ValueError
            grades.setdefault(cells[0], {})[cells[-2]] = int(float(cells[-1]))
        except (ValueError, OverflowError):
            if number > 1:  # the first line may be a head
                why = f"Line {number} does not have a question, a document and a grade."
                raise InvalidInput("The judgements can't be read.", why, "", "qrels") from None
    questions = []
    for number, line in enumerate(queries, start=1):
        record = _parse_record(QUESTIONS, number, line)
        question_id = _read_id(QUESTIONS, number, record)
        text = _clean_words(record.get("text"))
        if text and any(grade > 0 for grade in grades.get(question_id, {}).values()):
            questions.append(CorpusQuestion(question_id, text[:_LONGEST_QUESTION], grades[question_id]))
    if not questions:
        raise InvalidInput("There are no questions.", "None of them has a relevant document.", "", "queries")
    return questions


def read_csv(text: str) -> list[CorpusQuestion]:
    """Questions from a CSV; several lines with the same question are several documents that answer it."""
    rows = csv.DictReader(io.StringIO(make_storable(text.removeprefix("\ufeff"))))
    try:
        return _read_rows(rows)
    except csv.Error as error:
        raise InvalidInput("The CSV can't be read.", f"Line {rows.line_num + 1}: {error}.", "", "csv") from error


def _read_rows(rows: "csv.DictReader[str]") -> list[CorpusQuestion]:
    if not {"question", "document"} <= {(name or "").strip().lower() for name in rows.fieldnames or ()}:
        raise InvalidInput("The CSV can't be read.", "", "Name its columns question, document and grade.", "csv")
    grades: dict[str, dict[str, int]] = {}
    for row in rows:
        if any(len(str(value)) > _LONGEST_CELL for value in row.values()):  # the module's limit is the process's
            why = f"Line {rows.line_num}: field larger than {_LONGEST_CELL:,} characters."
            raise InvalidInput("The CSV can't be read.", why, "", "csv")
        cells = {(name or "").strip().lower(): str(value or "").strip() for name, value in row.items()}
        if not cells["question"] or not cells["document"]:
            continue
        try:
            grade = int(cells.get("grade") or 1)
        except ValueError as error:
            why = f"Line {rows.line_num}: {cells['grade'][:40]!r} is no whole number."
            raise InvalidInput("The CSV can't be read.", why, "", "csv") from error
        grades.setdefault(cells["question"][:_LONGEST_QUESTION], {})[cells["document"]] = grade
    return [CorpusQuestion("", question, judged) for question, judged in grades.items() if max(judged.values()) > 0]


def _read_lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            yield from (line for line in file if line.strip())
    except OSError as error:
        raise InvalidInput(f"{path} can't be read.", error.strerror or "") from error


def _parse_record(name: str, number: int, line: str) -> Mapping[str, object]:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        raise InvalidInput(f"{name} can't be read.", f"Line {number} is not a JSON object.")
    return record


def _read_id(name: str, number: int, record: Mapping[str, object]) -> str:
    record_id = _clean_words(record.get("_id", record.get("id")))
    if not record_id or len(record_id) > 200:
        raise InvalidInput(f"{name} can't be read.", f"Line {number} has no id of up to 200 signs.")
    return record_id


def _clean_words(value: object) -> str:
    return make_storable(str(value)).strip() if isinstance(value, str | int) else ""
