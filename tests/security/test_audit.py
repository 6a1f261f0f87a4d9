"""The audit of the pinned packages: what could not be looked up is no clean bill, and a report is of these pins."""

import json

import pytest

from scripts.audit import REPORT, hash_of_pins, report_of

pytestmark = pytest.mark.feature("CFG-6")


def test_a_package_that_could_not_be_looked_up_is_no_clean_bill() -> None:
    found = {"dependencies": [{"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}]}
    with pytest.raises(ValueError, match="1 packages could not be looked up, b among them"):
        report_of(found)


def test_a_report_names_what_is_vulnerable_and_the_pins_it_is_of() -> None:
    entries = [{"name": "a", "version": "1", "vulns": [{"id": "X-2"}, {"id": "X-1"}]}, {"name": "b", "vulns": []}]
    report = report_of({"dependencies": entries})
    assert report == {"constraints_sha256": hash_of_pins(), "packages": 2, "vulnerable": {"a==1": ["X-1", "X-2"]}}


@pytest.mark.skipif(not REPORT.exists(), reason="no audit has been made yet: `make audit` needs the network")
def test_the_report_is_of_the_pins_as_they_are() -> None:
    assert json.loads(REPORT.read_text())["constraints_sha256"] == hash_of_pins(), "run `make audit`"
