"""The session that a program says its request belongs to: a header of ours, or the one that its maker's tools send.

Ours is `x-llm-manager-session`. Read as well: `x-session-id` (OpenRouter's, OpenCode), `x-claude-code-session-id` and,
before there was that header, the end of Anthropic's `metadata.user_id` (`user_…_account_…_session_ID`), `session_id`
and `session-id` (Codex). A session is a label of at most 120 printable characters: ours is refused where it is none,
while another's is passed over, for it was not meant for us. `prompt_cache_key` is no session: it names what prompts
begin with.
"""

from collections.abc import Mapping
from typing import Any

from lib.calls.request import Within
from lib.errors import InvalidInput

OURS = b"x-llm-manager-session"
_OTHERS = (b"x-session-id", b"x-claude-code-session-id", b"session_id", b"session-id")
_ANY = (OURS, *_OTHERS)
_LONGEST = 120
_NOTHING = Within()
_MARK = "_session_"  # in `metadata.user_id`, before the session's UUID
_OF_IDS = frozenset("0123456789abcdefABCDEF-")


def read_within(headers: Mapping[bytes, bytes], body: Mapping[str, Any]) -> Within:
    """Read the session that a request is part of; InvalidInput for a header of ours that can't be one."""
    for name in _ANY:
        if name not in headers:
            continue
        session = headers[name].decode("latin-1").strip()
        if session and len(session) <= _LONGEST and session.isprintable():
            return Within(session_id=session)
        if session and name == OURS:
            why = f"A session is at most {_LONGEST} printable characters."
            raise InvalidInput(f"{OURS.decode()} can't be used.", why, "Send a shorter name.", field=OURS.decode())
    metadata = body.get("metadata")
    user = metadata.get("user_id") if isinstance(metadata, dict) else None
    _, mark, session = user.rpartition(_MARK) if isinstance(user, str) else ("", "", "")
    if mark and session and len(session) <= _LONGEST and _OF_IDS.issuperset(session):
        return Within(session_id=session)
    return _NOTHING
