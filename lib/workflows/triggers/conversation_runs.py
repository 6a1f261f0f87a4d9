"""Runs that are started from a conversation: the question goes into the form, the output is the answer.

The answer has the run's id, so whatever becomes of the page or the process, the run's own row says what is written.
"""

from collections.abc import Mapping
from typing import Any

from lib.access.permissions import Actor, Permission
from lib.clock import make_id
from lib.conversations.talk import Talk
from lib.db.engine import Store
from lib.errors import InvalidInput
from lib.limited.expressions import convert_to_text
from lib.workflows.form import MESSAGES, check_inputs, fill_from_messages, find_main_field
from lib.workflows.run import Run, Trigger
from lib.workflows.runs import WorkflowRuns
from lib.workflows.starting import keeps_no_words
from lib.workflows.workflow import load_version, load_workflow, require_may_run

MODEL_PREFIX = "workflow/"  # with the slug: who wrote the answer


class ConversationRuns:
    """Starts runs in conversations of the actor's own."""

    def __init__(self, store: Store, talk: Talk, runs: WorkflowRuns) -> None:
        self._store = store
        self._talk = talk
        self._runs = runs

    def start(
        self,
        actor: Actor,
        conversation_id: str,
        slug: str,
        text: str = "",
        inputs: Mapping[str, Any] | None = None,
        *,
        last_seen: str | None = None,
    ) -> Run:
        """Ask a workflow in a conversation; its output is written as the answer when the run is over.

        `text` goes into the form's first field of text unless `inputs` has that, all messages into a field named
        `messages`. Conflict while an answer is being written; InvalidInput for inputs that don't fit, and for a
        workflow of which no words may be kept, since a conversation is made of them.
        """
        actor.require(Permission.VIEW_CONVERSATIONS)
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            workflow = load_workflow(connection, slug)
            require_may_run(actor, workflow)
            definition = load_version(connection, workflow).definition
            if keeps_no_words(connection, definition):
                why = "One of its configurations does not keep all words, and a conversation is made of them."
                raise InvalidInput(f"{workflow.slug} can't be run in a conversation.", why, "Run it by itself.")
        fields = definition.input_fields
        main = find_main_field(fields)
        question = text or convert_to_text((inputs or {}).get(main.name, "") if main else "") or workflow.name
        messages = [{"role": "user", "content": question}]
        if any(field.name == MESSAGES for field in fields):
            earlier = self._talk.read(actor, conversation_id, 0).messages
            messages = [{"role": m.role, "content": m.content} for m in earlier] + messages
        values = check_inputs(fields, fill_from_messages(fields, messages, inputs))
        run_id = make_id()

        def begin() -> Run:
            return self._runs.start(actor, workflow.id, values, trigger=Trigger.CONVERSATION, run_id=run_id)

        model = MODEL_PREFIX + workflow.slug
        self._talk.ask_elsewhere(actor, conversation_id, question, run_id, model, begin, last_seen=last_seen)
        return self._runs.get(actor, run_id)
