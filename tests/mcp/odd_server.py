"""A server of tools of the older protocol, in the standard library alone, that does what its arguments say.

`odd_server.py [MODE …]`: hang (says nothing), crash (ends at once), garbage (prints lines that are no messages first),
empty (no tools), child (starts a process that outlives it), invisible, changed (its tool says something else), more
(a second tool), offers (a resource and a prompt), version:X, modern-only is not spoken.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

MODES = set(sys.argv[1:])
VERSION = next((mode[8:] for mode in MODES if mode.startswith("version:")), "1.0")


def say(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def tool(name: str, description: str) -> dict[str, Any]:
    schema = {"type": "object", "properties": {"text": {"type": "string"}, "size": {"type": "integer"}}}
    return {"name": name, "description": description, "inputSchema": schema, "annotations": {"readOnlyHint": True}}


def tools() -> list[dict[str, Any]]:
    if "empty" in MODES:
        return []
    description = "Says it again, louder" if "changed" in MODES else "Says it again"
    names = ["echo", "environment", "large", "die", "slow"] + (["second"] if "more" in MODES else [])
    return [tool(name, description + ("\u200b" if "invisible" in MODES else "")) for name in names]


def run(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    if name == "die":
        os._exit(7)
    if name == "slow":
        time.sleep(3600)
    texts = {
        "echo": str(arguments.get("text")),
        "environment": json.dumps(dict(os.environ)),
        "large": "x" * int(arguments.get("size", 0)),
    }
    return {"content": [{"type": "text", "text": texts.get(name, "")}]}


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    match message.get("method"):
        case "initialize":
            return {
                "protocolVersion": "2024-11-05",
                "capabilities": {"tools": {}, **({"resources": {}, "prompts": {}} if "offers" in MODES else {})},
                "serverInfo": {"name": "odd", "version": VERSION},
            }
        case "tools/list":
            return {"tools": tools()}
        case "resources/list":
            return {"resources": [{"uri": "notes://today/plan", "name": "Plan", "mimeType": "text/markdown"}]}
        case "resources/read":
            return {
                "contents": [{"uri": message["params"]["uri"], "mimeType": "text/markdown", "text": "Buy\u200b milk"}]
            }
        case "prompts/list":
            return {"prompts": [{"name": "greet", "arguments": [{"name": "the-name", "required": True}]}]}
        case "prompts/get":
            words = f"Greet {message['params']['arguments']['the-name']}."
            return {"messages": [{"role": "user", "content": {"type": "text", "text": words}}]}
        case "tools/call":
            return run(message["params"]["name"], message["params"].get("arguments") or {})
    return None


def main() -> None:
    print("odd server begins", file=sys.stderr, flush=True)
    if "crash" in MODES:
        sys.exit("it can't begin: no licence")
    if "child" in MODES:
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
    if "garbage" in MODES:
        print("welcome!\n" * 20, flush=True)
    if "hang" in MODES:
        time.sleep(3600)
    for line in sys.stdin:
        message = json.loads(line)
        if "id" not in message:
            continue
        result = answer(message)
        if result is None:
            say({"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "Method not found"}})
        else:
            say({"jsonrpc": "2.0", "id": message["id"], "result": result})


main()
