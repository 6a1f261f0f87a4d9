"""Make `data/models/models.csv` from the model list bundled with the pinned litellm: `python scripts/build_models.py`.

Run when litellm's pin moves. Facts only: context window, longest answer, capabilities, and the parameters that
litellm refuses to translate for the model. The model `*` holds for those of its kind that are not listed.
"""

import csv
import importlib.metadata
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lib.providers.kinds import FACTS, ProviderKind
from lib.providers.parameter_rules import ALLOWED

TARGET = Path(__file__).resolve().parent.parent / "data" / "models" / "models.csv"
OWN_KINDS = {"openai", "anthropic", "gemini", "groq", "mistral", "deepseek", "openrouter"}
ALIASES = {"text-completion-openai": "openai"}
MODES = {"chat", "completion", "responses", "embedding"}
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


def main() -> None:
    """Write the list."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm

    litellm.suppress_debug_info = True
    rows = {row[:2]: row for name, entry in litellm.model_cost.items() if (row := row_of(litellm, name, entry))}
    for kind in (*sorted(OWN_KINDS), "ollama"):
        rows[kind, ANY] = (kind, ANY, "", "", "", refused(litellm, FACTS[ProviderKind(kind)].litellm_prefix, "unknown"))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    day = sys.argv[1] if len(sys.argv) > 1 else datetime.now(UTC).date().isoformat()
    with TARGET.open("w", newline="", encoding="utf-8") as file:
        file.write(f"# date={day} source=litellm-{importlib.metadata.version('litellm')}\n")
        file.write("# Tokens; empty = not stated. refuses: parameters the model does not take. *: any other model.\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(sorted(rows.values()))
    print(f"{len(rows)} models in {TARGET}")


def row_of(litellm: Any, name: str, entry: dict[str, Any]) -> tuple[str, ...] | None:
    """The line of one model, or None when it neither chats nor embeds."""
    named = entry.get("litellm_provider", "")
    provider = ALIASES.get(named, named)
    if entry.get("mode") not in MODES or not provider or provider == "ollama":
        return None
    prefixed = name if name.startswith(f"{provider}/") else f"{provider}/{name}"
    plain = prefixed.removeprefix(f"{provider}/")
    kind, model = (provider, plain) if provider in OWN_KINDS else ("litellm", prefixed)
    embeds = entry["mode"] == "embedding"
    able = ["embeddings"] if embeds else ["streaming", *(word for flag, word in FLAGS.items() if entry.get(flag))]
    output = "" if embeds else number(entry.get("max_output_tokens"))
    context = number(entry.get("max_input_tokens") or entry.get("max_tokens"))
    refuses = "" if embeds else refused(litellm, named, plain)
    return kind, model, context, output, " ".join(able), refuses


def refused(litellm: Any, provider: str, model: str) -> str:
    """The parameters litellm would raise an error for; empty where it can't say."""
    try:
        supported = litellm.get_supported_openai_params(model=model, custom_llm_provider=provider)
    except Exception:  # some providers' tables fail for some of their models
        supported = None
    return " ".join(sorted(ALLOWED - UNJUDGED - set(supported))) if supported else ""


def number(value: Any) -> str:
    """A positive whole number, or empty."""
    return str(int(value)) if isinstance(value, int | float) and value > 0 else ""


if __name__ == "__main__":
    main()
