"""Ask the index's advisories about every pinned package, and write what they say: `make audit` (needs the network).

pip-audit runs in an environment of its own, so that it brings nothing into the product's. The report names the hash of
`constraints.txt`; a test fails when the pins have moved on since. A package that could not be looked up is no clean
bill: then nothing is written.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
PINS, REPORT = PROJECT / "constraints.txt", PROJECT / "docs" / "audit.json"
TOOL = "pip-audit==2.10.1"


def hash_of_pins() -> str:
    """The SHA-256 of `constraints.txt`, in hex."""
    return hashlib.sha256(PINS.read_bytes()).hexdigest()


def report_of(found: dict[str, Any]) -> dict[str, Any]:
    """The report of pip-audit's JSON; ValueError names packages that were not looked up."""
    skipped = [entry["name"] for entry in found["dependencies"] if "skip_reason" in entry]
    if skipped:
        raise ValueError(f"{len(skipped)} packages could not be looked up, {', '.join(skipped[:3])} among them.")
    known = {
        f"{entry['name']}=={entry['version']}": sorted(advisory["id"] for advisory in entry["vulns"])
        for entry in found["dependencies"]
        if entry["vulns"]
    }
    return {"constraints_sha256": hash_of_pins(), "packages": len(found["dependencies"]), "vulnerable": known}


def main() -> int:
    """Write the report; 1 when a package is vulnerable, 2 when not all could be looked up."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python, found = str(Path(folder) / "bin" / "python"), Path(folder) / "found.json"
        subprocess.run([python, "-m", "pip", "install", "--quiet", TOOL], check=True)
        asked = [python, "-m", "pip_audit", "-r", str(PINS), "--no-deps", "--disable-pip", "-f", "json"]
        subprocess.run([*asked, "-o", str(found)], check=False)  # it fails when something is found
        try:
            report = report_of(json.loads(found.read_text()))
        except (OSError, ValueError) as error:
            print(f"No report: {error}", file=sys.stderr)
            return 2
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"{report['packages']} packages, {len(report['vulnerable'])} vulnerable: {REPORT.relative_to(PROJECT)}")
    return 1 if report["vulnerable"] else 0


if __name__ == "__main__":
    sys.exit(main())
