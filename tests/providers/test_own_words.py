"""Thoughts of a translated answer are not shown to a provider that would not know them as its own."""

from typing import Any

import pytest

from lib.providers.kinds import Protocol
from lib.providers.own_words import SIGNATURE, strip_foreign_thoughts

pytestmark = pytest.mark.feature("GATE-1")
CALL = "01a22b6e-82ff-7000-9307-d78cd66fdff8"
OTHERS = "https://models.example/anthropic"
TEXT = {"type": "text", "text": "Hi."}


def thought(signature: str) -> dict[str, Any]:
    return {"type": "thinking", "thinking": "Hm.", "signature": signature}


@pytest.mark.parametrize(
    ("base", "signature", "goes"),
    [("", SIGNATURE, False), ("", "", False), ("", "c2ln", True), (OTHERS, SIGNATURE, False), (OTHERS, "", True)],
)
def test_a_thought_goes_where_its_signature_is_known(base: str, signature: str, goes: bool) -> None:
    asks, says = {"role": "user", "content": "x"}, {"role": "assistant", "content": [thought(signature), TEXT]}
    alone = {"role": "assistant", "content": [thought(signature)]}
    sent = strip_foreign_thoughts(Protocol.MESSAGES, [asks, alone, says], base)
    assert sent == ([asks, alone, says] if goes else [asks, {"role": "assistant", "content": [TEXT]}])


@pytest.mark.parametrize(
    ("item", "goes"),
    [
        ({"type": "reasoning", "id": f"rs_{CALL}", "summary": []}, False),
        ({"type": "reasoning", "id": f"rs_{CALL}_0", "summary": []}, False),
        ({"type": "reasoning", "id": f"rs_{CALL}", "summary": [], "encrypted_content": "gAAA"}, True),
        ({"type": "reasoning", "id": "rs_68af", "summary": []}, True),
        ({"type": "message", "id": f"msg_{CALL}", "role": "assistant", "content": []}, True),
    ],
)
def test_a_reasoning_item_goes_to_who_made_it(item: dict[str, Any], goes: bool) -> None:
    turns = [{"role": "user", "content": "x"}, item]
    sent = strip_foreign_thoughts(Protocol.RESPONSES, turns, "")
    assert sent == (turns if goes else turns[:1])
    assert not goes or sent is turns
