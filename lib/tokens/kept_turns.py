"""How long conversations are that a provider keeps: the tokens of answers that programs go on from by their ids.

A request of OpenAI's responses may name an answer (`previous_response_id`) instead of sending what came before it. What
the model reads then is what that answer had counted, prompt and all, and what is new. The counts of the newest answers
that passed here are remembered; of any other the length is not known, and bounded by the model's context window.
"""

from collections import OrderedDict

_MOST = 20_000  # answers; the oldest are forgotten


class KeptTurns:
    """Tokens by the provider's id of an answer; used in the calls' loop alone."""

    def __init__(self) -> None:
        self._tokens: OrderedDict[str, int] = OrderedDict()

    def note(self, answer_id: str, tokens: int) -> None:
        """Remember what an answer had counted: its prompt and what it said."""
        self._tokens[answer_id] = tokens
        self._tokens.move_to_end(answer_id)
        if len(self._tokens) > _MOST:
            self._tokens.popitem(last=False)

    def find(self, answer_id: object) -> int | None:
        """The tokens of the conversation up to an answer; None where they are not known."""
        return self._tokens.get(answer_id) if isinstance(answer_id, str) else None
