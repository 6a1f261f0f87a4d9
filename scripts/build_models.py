"""Make `data/models/models.csv` from the model list bundled with the pinned litellm: `python scripts/build_models.py`.

Run when litellm's pin moves. Facts only: context window, longest answer, capabilities, and the parameters that
the model does not take, as litellm has it, less those that its provider documents. The model `*` holds for those of
its kind that are not listed: it refuses what every listed one does, and nothing that is only unknown.
"""

import csv
import importlib.metadata
import os
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from litellm_names import OWN_KINDS, key_of, known_providers

from lib.providers.kinds import FACTS, ProviderKind
from lib.providers.parameter_rules import ALLOWED

TARGET = Path(__file__).resolve().parent.parent / "data" / "models" / "models.csv"
COLUMNS = ["kind", "model", "context_tokens", "output_tokens", "capabilities", "refuses"]
FLAGS = {
    "supports_vision": "vision",
    "supports_function_calling": "tools",
    "supports_response_schema": "json",
    "supports_reasoning": "reasoning",
}
# What litellm hands on as it is, and labels that change no answer: its list says nothing about these.
UNJUDGED = {"top_k", "min_p", "repetition_penalty", "num_ctx", "keep_alive", "think", "user", "service_tier"}
ANY = "*"
# What providers of OpenAI's protocol document and litellm does not know of: it travels as it is.
# https://docs.mistral.ai/api (chat completion), https://console.groq.com/docs/api-reference (chat),
# https://api-docs.deepseek.com/api/create-chat-completion, https://openrouter.ai/docs/api-reference/parameters
DOCUMENTED = {
    "mistral": {"frequency_penalty", "presence_penalty", "reasoning_effort"},
    "groq": {"reasoning_effort"},
    "deepseek": {"reasoning_effort", "thinking"},
    "openrouter": {"verbosity"},
}


def main() -> None:
    """Write the list."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True
    known = known_providers(litellm)
    rows: dict[tuple[str, ...], tuple[str, ...]] = {}
    for name, entry in litellm.model_cost.items():
        key = key_of(name, entry, known)
        if key is not None and (
            key not in rows or name in (key[1], "/".join(key))
        ):  # of two names the one that is written
            named = entry["litellm_provider"]
            rows[key] = row_of(litellm, key, entry, named if named in known else key[1].partition("/")[0])
    for kind in (*sorted(OWN_KINDS), "ollama"):
        rows[kind, ANY] = (kind, ANY, "", "", "", refused_by_all(litellm, kind, rows.values()))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    day = sys.argv[1] if len(sys.argv) > 1 else datetime.now(UTC).date().isoformat()
    with TARGET.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# date={day} source=litellm-{importlib.metadata.version('litellm')}\n")
        file.write("# Tokens; empty = not stated. refuses: parameters the model does not take. *: any other model.\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(sorted(rows.values()))
    print(f"{len(rows)} models in {TARGET}")


def row_of(litellm: Any, key: tuple[str, str], entry: dict[str, Any], provider: str) -> tuple[str, ...]:
    """The line of one model; the provider is litellm's, whose translation says what is refused."""
    kind, model = key
    plain = model if kind in OWN_KINDS else model.partition("/")[2]
    embeds = entry["mode"] == "embedding"
    able = ["embeddings"] if embeds else ["streaming", *(word for flag, word in FLAGS.items() if entry.get(flag))]
    output = "" if embeds else number(entry.get("max_output_tokens"))
    context = number(entry.get("max_input_tokens") or entry.get("max_tokens"))
    refuses = "" if embeds else " ".join(sorted(refused(litellm, provider, plain) - DOCUMENTED.get(kind, set())))
    return kind, model, context, output, " ".join(able), refuses


def refused(litellm: Any, provider: str, model: str) -> set[str]:
    """The parameters litellm would raise an error for; none where it can't say."""
    try:
        supported = litellm.get_supported_openai_params(model=model, custom_llm_provider=provider)
    except Exception:  # some providers' tables fail for some of their models
        supported = None
    return ALLOWED - UNJUDGED - set(supported) if supported else set()


def refused_by_all(litellm: Any, kind: str, rows: Iterable[tuple[str, ...]]) -> str:
    """The parameters that no chat model of the kind takes: its protocol has no such word.

    Of models of which litellm lists none, or says nothing, it is what litellm refuses for a name it does not know.
    """
    known = refused(litellm, FACTS[ProviderKind(kind)].litellm_prefix, "unknown") - DOCUMENTED.get(kind, set())
    for row in rows:
        if row[0] == kind and "embeddings" not in row[4].split():
            known &= set(row[5].split())
    return " ".join(sorted(known))


def number(value: Any) -> str:
    """A positive whole number, or empty."""
    return str(int(value)) if isinstance(value, int | float) and value > 0 else ""


if __name__ == "__main__":
    main()
