"""Why an answer ended: the words of all providers → the four that everybody here knows.

Inside, a reason is `stop`, `length`, `tool_calls`, `content_filter`, or, where a provider's word has no counterpart
(`malformed_function_call`, `pause_turn`), that word itself in small letters: the ledger keeps it. What is written for
a client is `standardise_reason`, since the lists of the official clients are closed.
"""

from typing import Literal

Reason = Literal["stop", "length", "tool_calls", "content_filter"]
_WORDS: dict[Reason, str] = {
    "stop": "stop end_turn stop_sequence eos eos_token complete completed end done finished stop_token",
    "length": """length max_tokens max_token max_output_tokens max_completion_tokens model_length token_limit incomplete
        model_context_window_exceeded context_length_exceeded error_limit insufficient_system_resource""",
    "tool_calls": "tool_calls tool_call tool_use tool function_call function_calls",
    "content_filter": """content_filter content_filtered contentfilter refusal safety recitation language blocklist
        prohibited_content spii sensitive guardrail_intervened error_toxic""",
}
_REASONS: dict[str, Reason] = {word: reason for reason, words in _WORDS.items() for word in words.split()}
FAILURES = frozenset({"error", "timeout", "abort", "aborted", "cancelled", "canceled", "failed"})


def translate_reason(word: object) -> str:
    """The reason inside for a provider's word."""
    text = str(word).strip().lower()
    return _REASONS.get(text, text)


def standardise_reason(reason: str | None) -> Reason:
    """The reason that every client knows; an answer that came to its end for a reason of its own has stopped."""
    word = translate_reason(reason or "stop")
    if "safety" in word or "prohibited" in word or "recitation" in word:  # Gemini has these apart for pictures
        return "content_filter"
    return word if word in _WORDS else "stop"
