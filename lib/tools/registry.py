"""The registry of tools: which there are, who may use them where, and `run`.

Sources register at composition. A run checks the arguments by the tool's schema, writes its row before it begins, has
a limit of time and of output, checks the result, and closes its row however it ended. What goes wrong inside a tool is
no exception here: the execution says it, in words that a model can act on.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from lib.access.permissions import Actor, Permission
from lib.access.stop_switch import StopSwitch
from lib.clock import make_id
from lib.configs.configuration import Configuration
from lib.configs.tool_rules import ApprovalPolicy, ToolRules
from lib.db.engine import Store
from lib.errors import InvalidInput, LLMManagerError, NotFound, PermissionDenied
from lib.providers.redaction import hide_known
from lib.tools.checking import check_arguments, list_schema_errors, read_arguments
from lib.tools.execution_log import ExecutionLog
from lib.tools.output_limits import DEFAULT_CHARACTERS, limit_output
from lib.tools.timing import Stopwatch
from lib.tools.tool import (
    AttendedSource,
    ExecutionStatus,
    NamedSource,
    SourceKind,
    ToolContext,
    ToolDefinition,
    ToolExecution,
    ToolOutput,
    ToolSource,
)
from lib.tools.tool_settings import NO_SETTINGS, SettingsOfTools, ToolSettings
from lib.tools.toolset import Toolset

log = logging.getLogger(__name__)
_LOOK_EVERY_S = 2.0
_STOPPED = "It was stopped before it ended."


class Tools:
    """All tools of the installation. Thread-safe; `run` belongs to whatever event loop awaits it."""

    def __init__(self, store: Store, stops: StopSwitch | None = None) -> None:
        self.sources: list[ToolSource] = []
        self._stops = stops or StopSwitch(store)
        self.executions = ExecutionLog(store)
        self._settings = SettingsOfTools(store)

    def definitions(self, actor: Actor) -> list[ToolDefinition]:
        """List every tool that any source offers, also those switched off; the first source wins a name."""
        actor.require(Permission.VIEW_CONFIGS)
        by_name: dict[str, ToolDefinition] = {}
        for source in self.sources:
            for definition in source.definitions(actor):
                by_name.setdefault(definition.name, definition)
        return sorted(by_name.values(), key=lambda definition: definition.name)

    def settings(self, actor: Actor) -> Mapping[str, ToolSettings]:
        """Read what is set on tools, by name; a tool of which nothing was set is missing."""
        actor.require(Permission.VIEW_CONFIGS)
        return self._settings.list(actor)

    def save_settings(self, actor: Actor, name: str, settings: ToolSettings) -> ToolSettings:
        """Store what is set on a tool; NotFound for a name that no source offers.

        Functions of this program are every team's, so settings of theirs need the account's own role as well.
        """
        actor.require(Permission.MANAGE_TOOLS)
        definition = self.find(actor, name)
        if definition.source == SourceKind.NATIVE:
            actor.require_of_installation(Permission.MANAGE_TOOLS)
        return self._settings.save(actor, definition, settings)

    def find(self, actor: Actor, name: str) -> ToolDefinition:
        """Find a tool by name; raises NotFound."""
        actor.require(Permission.VIEW_CONFIGS)
        return self._find(actor, name)[0]

    def toolset(self, actor: Actor, app: str, configuration: Configuration | ToolRules | None = None) -> Toolset:
        """Compose the tools that an actor may use in an app: all of them, or those that the configuration names.

        A tool that is denied by policy is left out. With a configuration that names tools of which none can be had,
        InvalidInput names servers and causes.
        """
        actor.require(Permission.TEST_CONFIGS)
        rules = read_rules(configuration)
        settings = self._settings.load()
        usable: dict[str, ToolDefinition] = {}
        absences: dict[str, str] = {}
        for definition in self.definitions(actor):
            if rules is not None and not rules.names_tool(definition.name):
                continue
            own = settings.get(definition.name, NO_SETTINGS)
            refusal = own.find_refusal(definition, actor, app)
            if refusal is None and _resolve_policy(own, definition, actor, rules) is ApprovalPolicy.DENY:
                refusal = f"The tool {definition.name} is denied by policy."
            if refusal is None:
                usable[definition.name] = definition
            else:
                absences[definition.name] = refusal
        for source in self.sources:
            absent = source.absences(actor)
            absences |= {server: why for server, why in absent.items() if rules is None or rules.names_server(server)}
        toolset = Toolset(usable, absences)
        return toolset if rules is None else toolset.require(rules.names)

    def explain_unattended(self, actor: Actor, names: Sequence[str]) -> Sequence[str]:
        """Say what tools (names or patterns) need of a person before runs of the actor can do without one."""
        actor.require(Permission.TEST_CONFIGS)
        needs: dict[str, str] = {}
        for source in self.sources:
            if isinstance(source, AttendedSource):
                needs |= source.explain_unattended(actor, names)
        return [needs[server] for server in sorted(needs)]

    def policy(self, actor: Actor, name: str, rules: ToolRules | None) -> ApprovalPolicy:
        """Choose what happens before a tool runs for an actor, by its annotations, settings, role and configuration."""
        definition = self.find(actor, name)
        return _resolve_policy(self._settings.load().get(name, NO_SETTINGS), definition, actor, rules)

    async def run(
        self,
        actor: Actor,
        name: str,
        arguments: Mapping[str, Any] | str,
        context: ToolContext,
        *,
        longest_output: int = DEFAULT_CHARACTERS,
        execution: ToolExecution | None = None,
        opened: Callable[[ToolExecution], object] = lambda execution: None,
    ) -> ToolExecution:
        """Run a tool and return how it ended; `execution` is a row that waited for approval and goes on.

        `opened` is told of the run before it begins.

        NotFound and PermissionDenied are raised before anything is written; cancelling ends the tool and closes its
        row as stopped. `context.actor` is replaced by `actor`.
        """
        actor.require(Permission.TEST_CONFIGS)
        context = replace(context, actor=actor)
        opening = (actor, name, arguments, context, execution)
        run, begun = await asyncio.to_thread(self._open_run, *opening, longest_output)
        opened(begun)
        return await run.finish(begun, arguments)

    def _open_run(
        self,
        actor: Actor,
        name: str,
        arguments: Mapping[str, Any] | str,
        context: ToolContext,
        execution: ToolExecution | None,
        longest_output: int,
    ) -> "tuple[_ToolRun, ToolExecution]":
        """Find a tool that the actor may run now, and write the row of the run."""
        definition, source = self._find_allowed(actor, name)
        settings = self._settings.load().get(name, NO_SETTINGS)
        if refusal := settings.find_refusal(definition, actor, context.app):
            raise PermissionDenied("The tool can't be used here.", refusal)
        if settings.policy_for(definition, actor.role, None) is ApprovalPolicy.DENY:
            raise PermissionDenied("The tool can't be used here.", f"The tool {name} is denied by policy.")
        if execution is None:
            opening = (make_id(), definition, _convert_to_storable(arguments), context, float(settings.seconds))
            execution = self.executions.open(*opening)
        else:
            execution = self.executions.begin(execution, _convert_to_storable(arguments), float(settings.seconds))
        run = _ToolRun(self.executions, source, definition, settings, context, longest_output, self._stops)
        return run, execution

    async def refuse(
        self, name: str, arguments: Any, context: ToolContext, status: ExecutionStatus, why: str
    ) -> ToolExecution:
        """Write the row of a run that may not be: an unknown tool, a denied one. The model is told why."""
        definition = ToolDefinition(name=name[:64], description="", source="")
        opening = (make_id(), definition, _convert_to_storable(arguments), context, 0.0)
        execution = await asyncio.to_thread(self.executions.open, *opening)
        output = ToolOutput(why, is_error=True)
        return await asyncio.to_thread(self.executions.close, execution, status, output, why)

    def record(
        self, definition: ToolDefinition, arguments: Any, context: ToolContext, output: ToolOutput
    ) -> ToolExecution:
        """Write the row of something that was done for a model without a source: the search of tools."""
        execution = self.executions.open(make_id(), definition, arguments, context, 0.0)
        return self.executions.close(execution, ExecutionStatus.OK, output, duration_ms=0)

    def _find_allowed(self, actor: Actor, name: str) -> tuple[ToolDefinition, ToolSource]:
        """Find a tool, unless the stop switch holds for the actor."""
        definition, source = self._find(actor, name)
        self._stops.refresh()
        if (refusal := self._stops.find_tool_refusal(actor, tool=name, server=definition.server)) is not None:
            raise refusal
        return definition, source

    def _find(self, actor: Actor, name: str) -> tuple[ToolDefinition, ToolSource]:
        for source in self.sources:
            if isinstance(source, NamedSource) and not source.may_offer(name):
                continue
            for definition in source.definitions(actor):
                if definition.name == name:
                    return definition, source
        raise NotFound(f"There is no tool {name[:64]!r}.", *self._explain_missing(actor, name))

    def _explain_missing(self, actor: Actor, name: str) -> tuple[str, str]:
        """Why a tool is not there, where its server says so, and what to do."""
        for source in self.sources:
            for server, cause in source.absences(actor).items():
                if name.startswith(f"{server}__"):
                    return f"{server}: {cause}", ""
        return "", "Look at the Tools page for the names."


class _ToolRun:
    """One run from its open row to its closed one."""

    def __init__(
        self,
        executions: ExecutionLog,
        source: ToolSource,
        definition: ToolDefinition,
        settings: ToolSettings,
        context: ToolContext,
        longest_output: int,
        stops: StopSwitch,
    ) -> None:
        self._executions = executions
        self._stops = stops
        self._source = source
        self._definition = definition
        self._settings = settings
        self._context = context
        self._longest_output = longest_output
        self._watch = Stopwatch()

    async def finish(self, execution: ToolExecution, arguments: Mapping[str, Any] | str) -> ToolExecution:
        """Run the tool and close its row."""
        try:
            status, output, why = await self._attempt(arguments)
        except asyncio.CancelledError:
            closing = asyncio.to_thread(self._close, execution, ExecutionStatus.STOPPED, None, _STOPPED)
            await asyncio.shield(asyncio.ensure_future(closing))
            raise
        return await asyncio.to_thread(self._close, execution, status, output, why)

    async def _attempt(self, arguments: Mapping[str, Any] | str) -> tuple[ExecutionStatus, ToolOutput, str | None]:
        try:
            read = read_arguments(arguments)
            await asyncio.to_thread(check_arguments, self._definition.parameters, read)
        except InvalidInput as error:
            return _fail(ExecutionStatus.INVALID_ARGUMENTS, error.body or error.title)
        self._watch.start()
        try:
            async with asyncio.timeout(self._settings.seconds):
                output = await self._run_watched(read)
        except TimeoutError:
            return _fail(ExecutionStatus.TIMEOUT, f"It took longer than {self._settings.seconds} seconds.")
        except LLMManagerError as error:
            return _fail(ExecutionStatus.FAILED, str(error))
        except Exception as error:  # a tool is a stranger's code: whatever it raises ends its run alone
            log.warning("The tool %s raised %s.", self._definition.name, type(error).__name__, exc_info=error)
            return _fail(ExecutionStatus.FAILED, f"It failed: {type(error).__name__}.")
        finally:
            self._watch.stop()
        status, output, why = await self._judge(output)
        return status, limit_output(output, self._longest_output), why

    async def _run_watched(self, arguments: Mapping[str, Any]) -> ToolOutput:
        """Run the tool, unless the stop switch is thrown meanwhile: then it is cancelled, and that is raised."""
        work = asyncio.ensure_future(self._source.run(self._definition.name, arguments, self._context))
        try:
            while not (await asyncio.wait({work}, timeout=_LOOK_EVERY_S))[0]:
                await asyncio.to_thread(self._stops.refresh)
                uses = {"tool": self._definition.name, "server": self._definition.server}
                if (refusal := self._stops.find_tool_refusal(self._context.actor, **uses)) is not None:
                    raise refusal
            return work.result()
        finally:
            if not work.done():
                work.cancel()
                await asyncio.wait({work})

    async def _judge(self, output: ToolOutput) -> tuple[ExecutionStatus, ToolOutput, str | None]:
        if output.needs_input is not None:
            return ExecutionStatus.NEEDS_INPUT, output, None
        if output.is_error:
            return ExecutionStatus.ERROR, output, output.text[:2000] or "The tool reports an error."
        schema = self._definition.result_schema
        if schema is not None:
            errors = await asyncio.to_thread(list_schema_errors, schema, output.structured)
            if errors:
                return _fail(ExecutionStatus.INVALID_RESULT, f"Its result does not fit its schema. {' '.join(errors)}")
        return ExecutionStatus.OK, output, None

    def _close(
        self, execution: ToolExecution, status: ExecutionStatus, output: ToolOutput | None, why: str | None
    ) -> ToolExecution:
        is_charged = self._watch.has_run and status is not ExecutionStatus.NEEDS_INPUT
        cost = self._settings.price_nano_usd if is_charged else None
        return self._executions.close(execution, status, output, why, cost, self._watch.milliseconds)


def read_rules(configuration: Configuration | ToolRules | None) -> ToolRules | None:
    """Read the rules of tools that a configuration sets; None without a configuration."""
    if configuration is None or isinstance(configuration, ToolRules):
        return configuration
    return ToolRules.from_record(configuration.tools)


def _resolve_policy(
    settings: ToolSettings, definition: ToolDefinition, actor: Actor, rules: ToolRules | None
) -> ApprovalPolicy:
    rule = rules.policy_of(definition.name) if rules is not None else None
    return settings.policy_for(definition, actor.role, rule)


def _fail(status: ExecutionStatus, why: str) -> tuple[ExecutionStatus, ToolOutput, str]:
    why = hide_known(why)
    return status, ToolOutput(why, is_error=True), why


def _convert_to_storable(arguments: Mapping[str, Any] | str) -> Any:
    """Arguments as their row holds them: an object where they are one."""
    try:
        return read_arguments(arguments)
    except InvalidInput:
        return str(arguments)[:10_000]
