"""Ask the index's advisories about every pinned package, and write what they say: `make audit` (needs the network).

pip-audit runs in an environment of its own, so that it brings nothing into the product's. The report names the hash of
`constraints.txt`; a test fails when the pins have moved on since. It says how many packages were looked up and what is
known of them: where the advisories could not be reached that is nothing, `vulnerable` is null and `not_looked_up` says
why. One package is asked about first, so that an index without advisories is not asked about all.
"""

import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
PINS = PROJECT / "constraints.txt"
REPORT = PROJECT / "docs" / "audit.json"
TOOL = "pip-audit==2.10.1"


def hash_of_pins() -> str:
    """The SHA-256 of `constraints.txt`, in hex."""
    return sha256(PINS.read_bytes()).hexdigest()


def report_of(dependencies: Sequence[dict[str, Any]], why_not: str = "") -> dict[str, Any]:
    """The report of pip-audit's list of packages; `why_not`: the reason where packages could not be looked up."""
    skipped = {entry["name"]: entry["skip_reason"] for entry in dependencies if "skip_reason" in entry}
    answered = [entry for entry in dependencies if "skip_reason" not in entry]
    known = {
        f"{entry['name']}=={entry['version']}": sorted(advisory["id"] for advisory in entry["vulns"])
        for entry in answered
        if entry["vulns"]
    }
    return {
        "constraints_sha256": hash_of_pins(),
        "looked_up": len(answered),
        "not_looked_up": why_not or skipped,
        "vulnerable": known if answered else None,
    }


def describe(report: dict[str, Any]) -> str:
    """What a report says in a line; nothing that was not looked up is called free of advisories."""
    if report["vulnerable"] is None:
        return f"No package was looked up, so nothing is known: {report['not_looked_up']}"
    left = len(report["not_looked_up"])
    rest = f", {left} not looked up" if left else ""
    return f"{report['looked_up']} packages looked up, {len(report['vulnerable'])} vulnerable{rest}."


def is_better(report: dict[str, Any], earlier: dict[str, Any] | None) -> bool:
    """Whether a report replaces an earlier one: it is of other pins, or as many packages were looked up."""
    if earlier is None or earlier["constraints_sha256"] != report["constraints_sha256"]:
        return True
    return bool(report["looked_up"] >= earlier["looked_up"])


def _look_up(python: str, pins: Sequence[str], folder: Path) -> list[dict[str, Any]]:
    """Ask pip-audit about these pins; ValueError or OSError where it could not ask."""
    wanted = folder / "pins.txt"
    answer = folder / "answer.json"
    wanted.write_text("\n".join(pins) + "\n")
    answer.unlink(missing_ok=True)
    command = [python, "-m", "pip_audit", "-r", str(wanted), "--no-deps", "--disable-pip", "-f", "json"]
    subprocess.run([*command, "-o", str(answer)], check=False)  # it fails when something is vulnerable
    dependencies: list[dict[str, Any]] = json.loads(answer.read_text())["dependencies"]
    return dependencies


def audit() -> dict[str, Any]:
    """The report of the pins as they are; of nothing looked up where the advisories can't be reached."""
    pins = [line for line in PINS.read_text().splitlines() if "==" in line and not line.startswith("#")]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = str(folder / "bin" / "python")
        try:
            venv.create(folder, with_pip=True)
            subprocess.run([python, "-m", "pip", "install", "--quiet", TOOL], check=True)
            first = _look_up(python, pins[:1], folder)
            if any("skip_reason" in entry for entry in first):
                return report_of([], f"the index has no advisories: {first[0]['skip_reason']}")
            return report_of(_look_up(python, pins, folder))
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            return report_of([], f"the advisories could not be reached ({type(error).__name__})")


def main() -> int:
    """Write the report; 1 when a package is vulnerable, 2 when not all could be looked up."""
    report = audit()
    earlier = json.loads(REPORT.read_text()) if REPORT.exists() else None
    if is_better(report, earlier):
        REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{describe(report)} {REPORT.relative_to(PROJECT)}")
    if report["not_looked_up"]:
        return 2
    return 1 if report["vulnerable"] else 0


if __name__ == "__main__":
    sys.exit(main())
