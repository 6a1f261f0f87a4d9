"""Conversations at size: search over 100,000 messages, a thread of 1,000, the meter, the list; each with its limit.

    .venv/bin/python benchmarks/conversations.py [--messages 100000]

Prints a table; the exit status is 1 when a limit is passed. SQLite in a temporary folder; times are medians of five.
The words are made up, as frequent as words are. `stranger` owns none of the messages that the words are in.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.access.permissions import Actor, Role, make_actor
from lib.clock import make_id, utc_now
from lib.conversations.conversations import build_conversation_row
from lib.db.tables import conversations, messages
from lib.services import Services, build
from lib.settings import Settings

SEARCH_LIMIT_MS, OPEN_LIMIT_MS = 100, 500
IN_EACH = 1_000
OWNER = make_actor("00000000-0000-7000-8000-00000000000a", "owner", Role.DEVELOPER)
STRANGER = make_actor("00000000-0000-7000-8000-00000000000b", "stranger", Role.DEVELOPER)


def median_ms(work: Callable[[], Any]) -> float:
    """Milliseconds, after one run to warm up."""
    work()
    times = []
    for _ in range(5):
        began = time.perf_counter()
        work()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def fill(services: Services, count: int, words: list[str]) -> str:
    """Conversations of 1,000 messages with 80 words each; the id of the last."""
    chance, now = random.Random(1), utc_now()
    weights = [1 / (place + 1) for place in range(len(words))]
    made: dict[str, Any] = {}
    for _ in range(max(1, count // IN_EACH)):
        made = build_conversation_row(str(OWNER.user_id), "bench", now)
        made["configuration_id"] = services.configurations.default_for(OWNER, "bench").id
        rows: list[dict[str, Any]] = []
        for place in range(IN_EACH):
            rows.append(
                {
                    "id": make_id(),
                    "conversation_id": made["id"],
                    "owner_id": OWNER.user_id,
                    "parent_id": rows[-1]["id"] if rows else None,
                    "role": "assistant" if place % 2 else "user",
                    "content": " ".join(chance.choices(words, weights, k=80)),
                    "parts": [],
                    "tokens": 110,
                    "status": "ok",
                    "model": "",
                    "created_at": now,
                }
            )
        made["leaf_id"] = rows[-1]["id"]
        with services.store.write() as connection:
            connection.execute(conversations.insert().values(**made))
            connection.execute(messages.insert(), rows)
    return str(made["id"])


def main() -> int:
    """Fill, measure, print; 1 when a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    count = parser.parse_args().messages
    chance = random.Random(2)
    words = ["".join(chance.choices("etaoinshrdlu", k=chance.randint(3, 9))) for _ in range(20_000)]
    with tempfile.TemporaryDirectory() as folder:
        services = build(Settings(Path(folder), f"sqlite:///{folder}/llm_manager.db"))
        conversation_id = fill(services, count, words)
        thread = services.talk.read(OWNER, conversation_id)

        def search(actor: Actor, asked: str) -> Callable[[], Any]:
            return lambda: services.conversation_search.messages(actor, asked)

        works: list[tuple[str, float, Callable[[], Any]]] = []
        for name, asked in (
            ("the most frequent word", words[0]),
            ("a rare word", words[-1]),
            ("three words", " ".join((words[5], words[50], words[500]))),
            ("a beginning of three letters", words[1][:3]),
        ):
            works += [(f"search: {name}", SEARCH_LIMIT_MS, search(OWNER, asked))]
            works += [(f"search: {name}, stranger", SEARCH_LIMIT_MS, search(STRANGER, asked))]
        works += [
            ("open 1,000 messages", OPEN_LIMIT_MS, lambda: services.talk.read(OWNER, conversation_id)),
            ("read all 1,000", OPEN_LIMIT_MS, lambda: services.talk.read(OWNER, conversation_id, 0)),
            ("meter of 1,000 messages", OPEN_LIMIT_MS, lambda: services.contexts.meter(OWNER, thread)),
            ("list", OPEN_LIMIT_MS, lambda: services.conversations.list(OWNER)),
        ]
        passed = True
        print(f"{'conversations':<48}{'ms':>9}{'limit':>8}")
        for name, limit, work in works:
            took = median_ms(work)
            passed = passed and took <= limit
            print(f"{name:<48}{took:>9.1f}{limit:>8.0f}{'' if took <= limit else '  passed'}")
        services.close()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
