"""What servers offer beside tools, from the pages: a resource goes with a message, a prompt becomes a template."""

import sys
from collections.abc import Iterator

import pytest

from lib.access.permissions import OPERATOR
from lib.mcp.server import ServerDraft
from lib.settings import Settings
from tests.mcp.server_rig import ODD
from tests.pages.test_conversations_page import Talker, ask
from tests.pages.visitor import press_last, run, words
from tests.waiting import CEILING_S, until

pytestmark = [pytest.mark.feature("TOOL-4"), pytest.mark.filterwarnings("default")]


@pytest.fixture
def amira(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Talker]:
    """Amira, and a server that offers a resource and a prompt."""
    talker = Talker(settings, monkeypatch)
    servers = talker.services.servers
    added = servers.add(OPERATOR, ServerDraft("notes", [sys.executable, str(ODD), "offers"]))
    servers.approve(OPERATOR, "notes", added.approval_hash)
    talker.services.server_keeper.look()
    servers.start(OPERATOR, "notes")
    until(lambda: servers.get(OPERATOR, "notes").state.actual == "ready")
    yield talker
    talker.close()


def test_what_a_server_offers_is_attached_and_made_a_template(amira: Talker) -> None:
    talk = amira.begin("Hello")
    page = amira.open("conversations", id=talk.id)
    assert "Attach from a server" in [button.label for button in page.button]
    dialog = amira.draw(
        "lib.ui.conversations.server_resources._attach_dialog", f"conversations.get(actor, '{talk.id}').id"
    )
    assert "document from outside" in words(dialog)
    assert [option for box in dialog.selectbox for option in box.options] == ["notes · Plan"]
    press_last(dialog, "Attach")
    waiting = dialog.session_state[f"attached-{talk.id}"]
    assert list(waiting.values()) == ["plan.md"]
    page.session_state[f"attached-{talk.id}"] = waiting
    page = run(page)
    assert "plan.md" in [button.label for button in page.button]
    page = ask(page, "What is planned?")
    amira.services.talk.wait(amira.actor, talk.id, amira.leaf(talk), CEILING_S)
    question = amira.services.talk.read(amira.actor, talk.id, 0).messages[-2]
    (file_id,) = waiting
    assert file_id in repr(question.parts)
    assert "plan.md" not in [button.label for button in page.button]

    prompt = amira.draw("lib.ui.prompts.server_prompts.draw_server_dialog")
    argument, name = prompt.text_input
    assert (argument.label, argument.value) == ("the-name", "{{the_name}}")
    name.set_value("greet-somebody")
    press_last(prompt, "Make template")
    version = amira.services.prompts.version(OPERATOR, "greet-somebody")
    assert (version.text, [variable.name for variable in version.variables]) == ("Greet {{the_name}}.", ["the_name"])
    assert "From a server" in [button.label for button in amira.open("prompts").button]
