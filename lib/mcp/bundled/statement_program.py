"""The child's side of `statements`: {"address", "sql"} as JSON on standard input, what came of it as JSON on output.

That is the rows as `Rows` has them, or {"error": [kind, title, why, fix]}.
"""

import json
import sys

from lib.errors import LLMManagerError
from lib.mcp.bundled.database import open_reader


def main() -> None:
    """Run the statement and write what came of it."""
    job = json.loads(sys.stdin.buffer.read())
    try:
        answer = open_reader(job["address"]).query(job["sql"]).to_json()
    except LLMManagerError as error:
        answer = {"error": [type(error).__name__, error.title, error.why, error.fix]}
    sys.stdout.buffer.write(json.dumps(answer).encode())


if __name__ == "__main__":
    main()
