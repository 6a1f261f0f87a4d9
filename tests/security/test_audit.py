"""The audit of the pinned packages: its report is of these pins, and what was not looked up is never called clean."""

import json
from typing import Any

import pytest

from scripts.audit import REPORT, describe, hash_of_pins, is_better, report_of

pytestmark = pytest.mark.feature("CFG-6")


def test_the_report_is_of_the_pins_as_they_are() -> None:
    assert json.loads(REPORT.read_text())["constraints_sha256"] == hash_of_pins(), "run `make audit`"


def test_a_report_names_what_is_vulnerable_and_the_pins_it_is_of() -> None:
    entries: list[dict[str, Any]] = [{"name": "b", "version": "2", "vulns": []}]
    entries.append({"name": "a", "version": "1", "vulns": [{"id": "X-2"}, {"id": "X-1"}]})
    report = report_of(entries)
    assert report["constraints_sha256"] == hash_of_pins()
    assert report["looked_up"] == 2
    assert report["vulnerable"] == {"a==1": ["X-1", "X-2"]}
    assert describe(report) == "2 packages looked up, 1 vulnerable."


def test_a_package_that_could_not_be_looked_up_is_named() -> None:
    report = report_of([{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}])
    assert report["not_looked_up"] == {"b": "not found"}
    assert describe(report) == "1 packages looked up, 0 vulnerable, 1 not looked up."


def test_where_nothing_was_looked_up_nothing_is_known() -> None:
    report = report_of([], "no network")
    assert report["vulnerable"] is None
    assert describe(report) == "No package was looked up, so nothing is known: no network"


def test_a_report_without_answers_replaces_none_with_answers() -> None:
    answered = report_of([{"name": "a", "version": "1", "vulns": []}])
    unanswered = report_of([], "no network")
    assert is_better(answered, unanswered)
    assert not is_better(unanswered, answered)
    assert is_better(unanswered, {**answered, "constraints_sha256": "of other pins"})
    assert is_better(unanswered, None)
