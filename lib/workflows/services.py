"""The services of workflows, `services.workflows` of what `lib.services` composes; loaded when first used."""

from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from lib.access.permissions import OPERATOR, Actor
from lib.access.stop_switch import StopSwitch
from lib.approvals.approvals import Approvals
from lib.calls.calls import Calls
from lib.clock import make_id
from lib.configs.configurations import Configurations
from lib.conversations.talk import Talk
from lib.db.data_key import DataKey
from lib.db.engine import Store
from lib.db.tables import approvals, work_processes
from lib.ledger.step_results import StepResults
from lib.prompts.prompts import Prompts
from lib.work.work import Work
from lib.workflows.launching import KIND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lib.approvals.approval import Approval
    from lib.knowledge.services import KnowledgeServices
    from lib.tools.registry import Tools
    from lib.work.run import WorkRun
    from lib.workflows.bench import Bench
    from lib.workflows.interpreter import Interpreter
    from lib.workflows.launching import Launcher, LocalLauncher
    from lib.workflows.owner_notices import StuckRuns
    from lib.workflows.run import Run
    from lib.workflows.runs import WorkflowRuns
    from lib.workflows.triggers.batches import WorkflowBatches
    from lib.workflows.triggers.conversation_runs import ConversationRuns
    from lib.workflows.triggers.experiment_candidates import ExperimentRuns
    from lib.workflows.triggers.schedules import WorkflowSchedules
    from lib.workflows.triggers.webhooks import WorkflowWebhooks
    from lib.workflows.workflows import Workflows


class WorkflowServices:
    """Definitions of workflows, their runs, and who executes them."""

    def __init__(
        self,
        store: Store,
        data_key: DataKey,
        calls: Calls,
        configurations: Configurations,
        prompts: Prompts,
        work: Work,
        approvals: Approvals,
        step_results: StepResults,
        stops: StopSwitch,
        tools: "Callable[[], Tools]",
        knowledge: "KnowledgeServices",
        talk: "Talk",
    ) -> None:
        self._store = store
        self._data_key = data_key
        self._calls = calls
        self._configurations = configurations
        self._prompts = prompts
        self._work = work
        self._approvals = approvals
        self._step_results = step_results
        self._stops = stops
        self._find_tools = tools
        self._knowledge = knowledge
        self._talk = talk

    @cached_property
    def definitions(self) -> "Workflows":
        """Definitions and their versions."""
        from lib.workflows.workflows import Workflows

        return Workflows(self._store, lambda actor, names: self._find_tools().explain_unattended(actor, names))

    @cached_property
    def interpreter(self) -> "Interpreter":
        """Executes runs in this process."""
        from lib.workflows.interpreter import Interpreter

        return Interpreter(
            self._store,
            self._data_key,
            self._calls,
            self._prompts,
            self._search_passages,
            self._step_results,
            tools=self._find_tools,
            approvals=lambda: self._approvals,
            ended=self._close_questions,
            name_process=self._name_process,
            is_alive=self._work.is_alive,
        )

    @cached_property
    def _own_name(self) -> str:
        return make_id()

    def _name_process(self) -> str:
        """Name this process as among those that run work, else by a name that nobody else has."""
        return self._work.executor_id if self._work.is_launched else self._own_name

    def connect(self) -> None:
        """Have runs executed as a kind of work, and told of decisions."""

        async def execute(run: "WorkRun", payload: Any) -> str:
            return await self.interpreter.execute(str(payload["run_id"]))

        def tell(approval: "Approval") -> None:
            if approval.workflow_run_id is not None:
                self.runs.tell(approval.workflow_run_id)

        self._work.registry.register(KIND, execute)
        self._approvals.on_decision("workflow", tell)

    def _find_launcher(self) -> "Launcher":
        """The engine of work where a process runs it, else a loop of this process."""
        from lib.workflows.launching import WorkLauncher

        if not self._work.is_launched:
            with self._store.read() as connection:
                if connection.scalar(select(work_processes.c.executor_id).limit(1)) is None:
                    return self.local_launcher
        return WorkLauncher(self._work)

    def _close_questions(self, run: "Run") -> None:
        """Withdraw what a run that is over still asks of people."""
        open_questions = select(approvals.c.id).where(
            approvals.c.workflow_run_id == run.id, approvals.c.state == "waiting"
        )
        with self._store.read() as connection:
            open_ids = connection.scalars(open_questions).all()
        for approval_id in open_ids:
            self._approvals.end(OPERATOR, approval_id)

    @cached_property
    def local_launcher(self) -> "LocalLauncher":
        """Executes runs on a loop of this process's own."""
        from lib.workflows.launching import LocalLauncher

        return LocalLauncher(self.interpreter.execute)

    @cached_property
    def runs(self) -> "WorkflowRuns":
        """Runs of workflows."""
        from lib.workflows.launching import LostRuns
        from lib.workflows.runs import WorkflowRuns

        parts = (self._store, self._data_key, self._calls, self._prompts, self._configurations)
        lost_runs = LostRuns()
        return WorkflowRuns(*parts, self._find_launcher, self._close_questions, self._stops, lost_runs)

    @cached_property
    def stuck_runs(self) -> "StuckRuns":
        """Runs that nobody watches and that can't go on by themselves."""
        from lib.workflows.owner_notices import StuckRuns

        return StuckRuns(self._store)

    @cached_property
    def schedules(self) -> "WorkflowSchedules":
        """Runs that begin by themselves."""
        from lib.workflows.triggers.schedules import WorkflowSchedules

        return WorkflowSchedules(self._store, self.runs)

    def explain_unattended(self, actor: Actor, slug: str) -> "Sequence[str]":
        """Say what the tools of a workflow need of the actor before its runs can begin by themselves."""
        from lib.workflows.triggers.unattended import list_tool_names

        names = list_tool_names(self.definitions.version(actor, slug).definition)
        return self._find_tools().explain_unattended(actor, names)

    @cached_property
    def webhooks(self) -> "WorkflowWebhooks":
        """Runs that programs outside begin."""
        from lib.workflows.triggers.webhooks import WorkflowWebhooks

        return WorkflowWebhooks(self._store, self._data_key, self.runs)

    @cached_property
    def conversation_runs(self) -> "ConversationRuns":
        """Runs that answer in conversations."""
        from lib.workflows.triggers.conversation_runs import ConversationRuns

        return ConversationRuns(self._store, self._talk, self.runs)

    @cached_property
    def experiment_runs(self) -> "ExperimentRuns":
        """Runs that answer cells of experiments."""
        from lib.workflows.triggers.experiment_candidates import ExperimentRuns

        return ExperimentRuns(self._store, self.definitions, self.runs)

    @cached_property
    def batches(self) -> "WorkflowBatches":
        """Tables whose every row is a run."""
        from lib.workflows.triggers.batches import WorkflowBatches

        return WorkflowBatches(self._store, self._data_key, self.runs, self._stops)

    @cached_property
    def bench(self) -> "Bench":
        """Test cases of workflows."""
        from lib.workflows.bench import Bench

        return Bench(self.definitions, self.runs)

    def _search_passages(self, actor: Actor, collection: str, question: str, k: int | None) -> list[dict[str, Any]]:
        """Search a collection by id or name for a step."""
        from dataclasses import replace

        found_collection = self._knowledge.collections.get(actor, collection)
        settings = found_collection.search if k is None else replace(found_collection.search, k=k)
        hits = self._knowledge.passages.search(actor, found_collection.id, question, settings).hits
        return [_describe_hit(number, hit) for number, hit in enumerate(hits, 1)]

    def close(self) -> None:
        """Stop what is executed here: the runs go on elsewhere, or later."""
        if "local_launcher" in self.__dict__:
            self.local_launcher.close()
        if "interpreter" in self.__dict__:
            self.interpreter.close()


def _describe_hit(number: int, hit: Any) -> dict[str, Any]:
    return {
        "n": number,
        "title": hit.title,
        "text": hit.text,
        "score": hit.score,
        "document_id": hit.document_id,
    }
