"""Conversations on a whole installation with the scripted provider."""

from typing import Any

from lib.access.permissions import Actor
from lib.clock import make_id
from lib.conversations.conversation import Conversation, Message
from lib.conversations.thread import Thread
from lib.settings import Settings
from tests.calls.rig import AMIRA, Rig
from tests.waiting import CEILING_S


class TalkRig(Rig):
    """Begin, ask, wait for the answer."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.talk, self.conversations = self.services.talk, self.services.conversations

    def configuration(self, script: str = "echo", **more: Any) -> str:
        """A configuration whose model is the script; its slug."""
        slug = f"s-{make_id()[-12:]}"
        self.services.configurations.create(AMIRA, slug=slug, app="tests", provider="scripted", model=script, **more)
        return slug

    def begin(self, script: str = "echo", actor: Actor = AMIRA, **more: Any) -> Conversation:
        """An empty conversation with a script."""
        return self.conversations.create(actor, configuration=self.configuration(script), **more)

    def ask(self, conversation: Conversation, text: str, actor: Actor = AMIRA, **more: Any) -> Message:
        """Send and wait; the answer."""
        sent = self.talk.send(actor, conversation.id, text, **more)
        return self.talk.wait(actor, conversation.id, sent.answer_id, CEILING_S)

    def thread(self, conversation: Conversation, actor: Actor = AMIRA, limit: int = 0) -> Thread:
        """The branch shown."""
        return self.talk.read(actor, conversation.id, limit)

    def words(self, conversation: Conversation) -> list[str]:
        """What was said on the branch shown."""
        return [message.content for message in self.thread(conversation).messages]

    def sent(self, call_id: str | None, actor: Actor = AMIRA) -> list[dict[str, Any]]:
        """The messages a call was made with."""
        assert call_id is not None
        return self.services.calls.view(actor, call_id).messages
