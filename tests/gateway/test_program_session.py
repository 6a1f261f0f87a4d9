"""What a program's request says of its session."""

import pytest

from lib.errors import InvalidInput
from lib.gateway.models.program_session import read_within

CLAUDE = "user_0f_account_1a_session_3b241101-e2bb-4255-8caf-4136c566a962"


@pytest.mark.parametrize(
    ("headers", "body", "session"),
    [
        ({b"x-llm-manager-session": b"nightly 7", b"x-session-id": b"other"}, {}, "nightly 7"),
        ({b"x-session-id": b"ses_1"}, {}, "ses_1"),
        ({b"x-claude-code-session-id": b" 3b24 "}, {"metadata": {"user_id": CLAUDE}}, "3b24"),
        ({b"session_id": b"codex"}, {}, "codex"),
        ({}, {"metadata": {"user_id": CLAUDE}}, "3b241101-e2bb-4255-8caf-4136c566a962"),
        ({}, {"metadata": {"user_id": "somebody"}}, ""),
        ({}, {"metadata": "no object"}, ""),
        ({}, {"prompt_cache_key": "a beginning"}, ""),
        ({b"x-session-id": b"x" * 121}, {}, ""),
        ({b"x-session-id": b"\x07"}, {}, ""),
        ({b"x-llm-manager-session": b""}, {}, ""),
    ],
)
def test_the_session_is_read_where_programs_write_it(
    headers: dict[bytes, bytes], body: dict[str, object], session: str
) -> None:
    assert read_within(headers, body).session_id == session


def test_a_header_of_ours_that_names_no_session_is_refused() -> None:
    with pytest.raises(InvalidInput, match="x-llm-manager-session"):
        read_within({b"x-llm-manager-session": b"x" * 121}, {})
