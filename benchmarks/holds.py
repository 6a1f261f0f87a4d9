"""Is what a hard budget holds for a call an upper bound, and a tight one?

    .venv/bin/python benchmarks/holds.py [FOLDER]

FOLDER holds recorded exchanges, one JSON file each: `provider` (a kind), `status`, `request.body`, `request.path` and
`expected.usage` in the provider's own words. Without one the requests are made here and their tokens counted with the
vocabularies that litellm brings. Printed by kind: how many prompts were longer than their bound, how near guess and
bound are to the count, and the hold against what the call would cost with an answer as long as its ceiling. The exit
status is 1 when a bound was passed or the hold is loose. Requests that run a provider's tools, choose another model or
go on from a kept answer are left out: what those add is not in the request.
"""

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from msgspec.structs import replace

from lib.budgets.estimate import compute_completion_ceiling, compute_upper_bound_nano
from lib.clock import utc_now
from lib.providers.chunks import Usage
from lib.providers.prices.price_book import PriceBook
from lib.providers.protocols import usage as counts
from lib.tokens.prompt_size import measure
from lib.tokens.prompt_tokens import bound_prompt, estimate_prompt

USUAL_CEILING = 1_000  # where a recorded request names none
MEDIAN, NINETY = 3.0, 10.0  # times the cost
Row = tuple[str, str, Mapping[str, Any], int, int | None]  # kind, model, body, prompt tokens, ceiling


def recorded(folder: Path) -> Iterator[Row]:
    """The exchanges that can be judged."""
    for path in sorted(folder.glob("*/*.json")):
        exchange = json.loads(path.read_text())
        body, kind = exchange["request"].get("body"), exchange["provider"]
        told = (exchange.get("expected") or {}).get("usage")
        if exchange["status"] >= 400 or not isinstance(body, dict) or not told or _adds_unseen(body):
            continue
        model = str(body.get("model") or exchange["request"]["path"].split("models/")[-1].split(":")[0])
        reads = {"anthropic": counts.read_anthropic, "gemini": counts.read_gemini}.get(kind, counts.read_openai)
        usage = reads(told) or counts.read_ollama(told)
        if usage is None or not usage.prompt_tokens:
            continue
        body = chat_of_gemini(body) if kind == "gemini" else body
        said = [body.get(name) for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")]
        yield kind, model, body, usage.prompt_tokens, next((int(one) for one in said if one), None)


def _adds_unseen(body: Mapping[str, Any]) -> bool:
    kinds = [str(tool.get("type", "")) + "".join(tool) for tool in body.get("tools") or [] if isinstance(tool, dict)]
    hosted = ("file_search", "fileSearch", "web_search", "tool_search", "googleSearch", "codeExecution", "code_inter")
    unseen = ("previous_response_id", "conversation", "models")
    return any(body.get(name) for name in unseen) or any(name in kind for kind in kinds for name in hosted)


def chat_of_gemini(body: Mapping[str, Any]) -> dict[str, Any]:
    """Gemini's content as chat messages, as a program here would have sent them."""
    system = body.get("systemInstruction")
    contents = [*([{**system, "role": "system"}] if system else []), *(body.get("contents") or [])]
    messages = [{"role": one.get("role"), "content": [_part(part) for part in one["parts"]]} for one in contents]
    tools = [tool for group in body.get("tools") or [] for tool in group.get("functionDeclarations") or []]
    config = body.get("generationConfig") or {}
    form = config.get("responseSchema") or config.get("responseJsonSchema")
    return {
        "messages": messages,
        "tools": [{"type": "function", "function": tool} for tool in tools],
        "response_format": {"type": "json_schema", "json_schema": {"schema": form}} if form else None,
        "max_tokens": config.get("maxOutputTokens"),
    }


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(call := part.get("functionCall"), dict):
        return {"type": "function_call", "name": call.get("name"), "arguments": json.dumps(call.get("args"))}
    if isinstance(said := part.get("functionResponse"), dict):
        return {"type": "tool_result", "content": json.dumps(said.get("response"))}
    if isinstance(data := part.get("inlineData"), dict):
        return {"type": "image_url", "image_url": {"url": f"data:{data.get('mimeType')};base64,{data.get('data')}"}}
    return {"type": "text", "text": str(part.get("text", ""))}


def counted() -> Iterator[Row]:
    """Requests made here; a message's frame counts four tokens, as in OpenAI's cookbook."""
    import tiktoken

    litellm = find_spec("litellm")
    assert litellm is not None
    os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(str(litellm.origin)).parent / "litellm_core_utils" / "tokenizers")
    encode = tiktoken.get_encoding("o200k_base").encode
    docs = Path(__file__).resolve().parent.parent
    texts = ["Hi", "Where do rivers run?", *[path.read_text() for path in sorted((docs / "docs").glob("*.md"))]]
    texts += [path.read_text() for path in sorted((docs / "lib" / "calls").glob("*.py"))]
    texts += [
        "Wohin fließen die Flüsse des Schwarzwalds? " * 40,
        "Куда текут реки России? " * 40,
        "河流流向哪里？" * 40,
    ]
    for text in texts:
        body = {"messages": [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": text}]}
        tokens = sum(len(encode(one["content"], disallowed_special=())) + 4 for one in body["messages"]) + 3
        yield "openai", "gpt-4.1-mini", body, tokens, USUAL_CEILING


def main() -> int:
    """Print the table; 1 when a bound was passed or the hold is loose."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    folder = parser.parse_args().folder
    prices, now = PriceBook(), utc_now()
    figures: dict[str, list[tuple[float, float, float | None, bool]]] = {}
    for kind, model, body, tokens, named in recorded(folder) if folder else counted():
        size = measure(body)
        if "embed" in model:
            size = replace(size, messages=0)
        guess, most = estimate_prompt(size, kind, model), bound_prompt(size, kind, model)
        ceiling = compute_completion_ceiling({"max_tokens": named or USUAL_CEILING}, None)
        price = prices.price(kind, model, now)
        share = None
        if price is not None and not price.is_free:
            held = compute_upper_bound_nano(price, most, ceiling, len(size.images)) or 0
            share = held / max(price.cost_nano(Usage(tokens, ceiling)), 1)
        figures.setdefault(kind, []).append((guess / tokens, most / tokens, share, named is not None))
    rows = [one for found in figures.values() for one in found]
    print("kind         calls short guess ±25 % < half bound/real hold/cost   p90")
    for kind, found in [*sorted(figures.items()), ("all", rows)]:
        _print(kind, found)
    shares = [share for *_, share, is_named in rows if share is not None and is_named]
    print(
        f"with a ceiling of their own: {len(shares)} calls, hold/cost {_spread(shares)} (at most {MEDIAN} and {NINETY})"
    )
    is_loose = bool(shares) and (statistics.median(shares) > MEDIAN or _ninety(shares) > NINETY)
    return int(is_loose or any(bound < 1 for _, bound, *_ in rows) or any((one[2] or 1) < 1 for one in rows))


def _print(kind: str, found: list[tuple[float, float, float | None, bool]]) -> None:
    shares = [share for *_, share, _ in found if share is not None]
    near = sum(0.75 <= guess <= 1.25 for guess, *_ in found)
    short, half = sum(bound < 1 for _, bound, *_ in found), sum(guess < 0.5 for guess, *_ in found)
    middle = statistics.median(bound for _, bound, *_ in found)
    print(f"{kind:12}{len(found):6}{short:6}{near:12}{half:7}{middle:11.1f}   {_spread(shares)}")


def _spread(shares: list[float]) -> str:
    return f"{statistics.median(shares):7.2f}{_ninety(shares):6.2f}" if shares else "      –     –"


def _ninety(shares: list[float]) -> float:
    return sorted(shares)[len(shares) * 9 // 10]


if __name__ == "__main__":
    sys.exit(main())
