"""Tools as they are registered, allowed and run: every run is checked, bounded and has its row."""

import asyncio
import threading
from typing import Annotated, Any

import pytest
from msgspec import Meta, Struct
from msgspec.structs import replace
from sqlalchemy import select, update

from lib.access.permissions import Role, make_actor
from lib.clock import utc_now
from lib.configs.tool_rules import ApprovalPolicy, ToolRules
from lib.db.tables import tool_executions
from lib.errors import Conflict, InvalidInput, NotFound, PermissionDenied
from lib.tools import expression
from lib.tools.execution_log import ExecutionFilter
from lib.tools.native import NativeTools
from lib.tools.tool import (
    ExecutionStatus,
    ToolAnnotations,
    ToolContext,
    ToolExecution,
    ToolImage,
    ToolOutput,
    ToolQuestion,
    check_name,
)
from lib.tools.tool_settings import ToolSettings
from tests.calls.rig import AMIRA, JONAS, Rig

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
CHANGES = ToolAnnotations()


class Weather(Struct, frozen=True):
    city: str
    degrees: int


def register(rig: Rig, *functions: Any, annotations: ToolAnnotations = CHANGES) -> None:
    native = NativeTools()
    for function in functions:
        native.register(function, annotations)
    rig.services.tools.sources.append(native)


def run(rig: Rig, name: str, arguments: Any, **context: Any) -> ToolExecution:
    return asyncio.run(rig.services.tools.run(AMIRA, name, arguments, ToolContext(AMIRA, **context)))


def row_of(rig: Rig, execution: ToolExecution) -> Any:
    with rig.services.store.read() as connection:
        return connection.execute(select(tool_executions).where(tool_executions.c.id == execution.id)).mappings().one()


@pytest.mark.feature("TOOL-1")
def test_a_schema_comes_from_type_hints(rig: Rig) -> None:
    def weather(
        context: ToolContext,
        city: Annotated[str, Meta(description="A city", min_length=1)],
        days: Annotated[int, Meta(ge=1, le=7)] = 1,
    ) -> Weather:
        """Get the weather.

        What follows is for programmers.
        """
        return Weather(f"{city} for {context.actor.name}", days)

    register(rig, weather)
    definition = rig.services.tools.find(AMIRA, "weather")
    assert definition.description == "Get the weather."
    assert definition.parameters["required"] == ["city"]
    assert definition.parameters["properties"]["days"]["maximum"] == 7
    assert definition.result_schema is not None
    assert definition.to_model()["function"]["name"] == "weather"
    execution = run(rig, "weather", '{"city": "Oslo", "days": 3}')
    assert (execution.status, execution.output) == (
        "ok",
        ToolOutput('{"city":"Oslo for amira","degrees":3}', {"city": "Oslo for amira", "degrees": 3}),
    )


@pytest.mark.feature("TOOL-1")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("{not json", "not JSON"),
        ("[1]", "not a JSON object"),
        ('{"expression": 5}', "not of type 'string'"),
        ("{}", "required"),
        ('{"expression": "1", "more": 1}', "Additional properties"),
        ("[" * 100_000, "nested too deeply"),
        ('{"expression": "' + "9" * 300_000 + '"}', "the limit is"),
        ('{"expression": "9 / 0"}', "divides by zero"),
    ],
)
def test_arguments_that_do_not_fit_are_told_to_the_model_and_written_down(rig: Rig, arguments: str, why: str) -> None:
    execution = run(rig, "calculate", arguments)
    assert not execution.is_ok
    assert execution.output is not None
    assert execution.output.is_error
    assert why in execution.output.text
    assert row_of(rig, execution)["status"] == execution.status


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2 * (3 + sqrt(16)) ** 2", 98.0),
        ("7 // 2", 3),
        ("-2^3", -8),
        ("2**200", 2**200),
        ("max(1, 3.5)", 3.5),
    ],
)
def test_arithmetic_is_computed(text: str, number: float) -> None:
    assert expression.compute(text) == number


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "9**9**9",
        "2**4001",
        "(10**900)**900",
        "'a' * 10**9",
        "[1] * 10**9",
        "1e999",
        "x",
        "(-1)**0.5",
        "1+" * 400 + "1",
        "(" * 300,
        "abs(x=1)",
        "True",
        "log(0)",
    ],
)
def test_what_is_no_arithmetic_or_too_large_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        expression.compute(text)


@pytest.mark.feature("TOOL-1")
def test_every_run_has_a_row_with_hash_and_size_and_words_by_the_content_policy(rig: Rig) -> None:
    question = {"expression": "20 + 22"}
    whole = row_of(rig, run(rig, "calculate", question, call_id="c1", conversation_id="t1"))
    assert (whole["arguments"], whole["result"]["text"]) == (question, '{"text":"42","value":42}')
    assert (whole["call_id"], whole["conversation_id"], whole["user_id"]) == ("c1", "t1", AMIRA.user_id)
    nothing = row_of(rig, run(rig, "calculate", question, content_policy="metadata"))
    assert (nothing["arguments"], nothing["result"]) == (None, None)
    for column in ("arguments_hash", "arguments_bytes", "result_hash", "result_bytes"):
        assert nothing[column] == whole[column]
    assert (whole["arguments_bytes"], len(whole["result_hash"])) == (24, 64)

    def greet(name: str) -> ToolOutput:
        """Greet somebody."""
        return ToolOutput(f"Write to {name}", images=(ToolImage("image/png", PNG),))

    register(rig, greet)
    masked = row_of(rig, run(rig, "greet", {"name": "ben@example.com"}, content_policy="redacted"))
    assert (masked["arguments"], masked["result"]["text"]) == ({"name": "[e-mail]"}, "Write to [e-mail]")
    assert masked["result"]["images"] == []


@pytest.mark.feature("TOOL-1")
def test_a_tool_that_raises_floods_or_answers_nonsense_ends_its_own_run_alone(rig: Rig) -> None:
    def broken() -> str:
        """Break."""
        raise RuntimeError("at home")

    def flood() -> str:
        """Flood."""
        return "x" * 1_000_000

    def nonsense() -> Weather:
        """Lie about its result."""
        return ToolOutput("", {"city": 5})  # type: ignore[return-value]

    def pictures() -> ToolOutput:
        """Return a picture and something that is none."""
        return ToolOutput("Look.", images=(ToolImage("image/png", PNG), ToolImage("image/png", "bm9uZQ==")))

    def asks() -> ToolOutput:
        """Ask back."""
        return ToolOutput(needs_input=ToolQuestion("Which?", {"type": "object"}, "s1"))

    register(rig, broken, flood, nonsense, pictures, asks)
    assert run(rig, "broken", {}).error_message == "It failed: RuntimeError."
    assert run(rig, "nonsense", {}).status == ExecutionStatus.INVALID_RESULT
    flooded = run(rig, "flood", {}).output
    assert flooded is not None
    assert flooded.text.endswith("[950,000 more characters were cut.]")
    shown = run(rig, "pictures", {}).output
    assert shown is not None
    assert (len(shown.images), shown.text) == (1, "Look.\n[1 pictures can't be shown.]")
    assert run(rig, "asks", {}).status == ExecutionStatus.NEEDS_INPUT


@pytest.mark.feature("TOOL-1")
def test_a_run_that_is_stopped_or_too_slow_says_so_and_a_lost_one_is_closed(rig: Rig) -> None:
    started = threading.Event()

    async def wait() -> str:
        """Wait for ever."""
        started.set()
        await asyncio.Event().wait()
        return ""

    register(rig, wait)
    tools = rig.services.tools

    async def stop() -> None:
        task = asyncio.ensure_future(tools.run(AMIRA, "wait", {}, ToolContext(AMIRA)))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stop())
    (stopped,) = tools.executions.list(AMIRA, ExecutionFilter(tool="wait"))
    assert stopped.status == ExecutionStatus.STOPPED
    tools.save_settings(AMIRA, "wait", ToolSettings(timeout_s=1))
    assert run(rig, "wait", {}).status == ExecutionStatus.TIMEOUT
    lost = tools.executions.open("lost", tools.find(AMIRA, "wait"), {}, ToolContext(AMIRA), 60)
    assert tools.executions.recover() == 0
    with rig.services.store.write() as connection:
        past = utc_now().replace(year=2020)
        connection.execute(update(tool_executions).where(tool_executions.c.id == lost.id).values(deadline_at=past))
    assert tools.executions.recover() == 1
    assert tools.executions.get(AMIRA, "lost").status == ExecutionStatus.ORPHANED


@pytest.mark.feature("TOOL-1")
def test_access_is_by_switch_app_role_and_configuration(rig: Rig) -> None:
    tools = rig.services.tools
    rules = ToolRules(names=("calc*",))
    assert set(tools.toolset(AMIRA, "shop", rules).tools) == {"calculate"}
    saved = tools.save_settings(AMIRA, "calculate", ToolSettings(roles=(Role.DEVELOPER,), apps=("shop",)))
    with pytest.raises(InvalidInput, match=r"None of the tools can be had.*calculate is not for the role super-admin"):
        tools.toolset(AMIRA, "shop", rules)
    assert set(tools.toolset(JONAS, "shop", rules).tools) == {"calculate"}
    with pytest.raises(PermissionDenied, match="not for the app other"):
        asyncio.run(tools.run(JONAS, "calculate", {}, ToolContext(JONAS, app="other")))
    with pytest.raises(Conflict):
        tools.save_settings(AMIRA, "calculate", replace(saved, revision=0))
    with pytest.raises(PermissionDenied):
        tools.save_settings(JONAS, "calculate", saved)
    with pytest.raises(NotFound):
        asyncio.run(tools.run(JONAS, "nothing", {}, ToolContext(JONAS)))


@pytest.mark.parametrize(
    ("annotations", "settings", "rule", "policy"),
    [
        (ToolAnnotations(read_only=True), ToolSettings(), None, "auto"),
        (ToolAnnotations(), ToolSettings(), None, "ask"),
        (ToolAnnotations(), ToolSettings(), ApprovalPolicy.AUTO, "auto"),
        (ToolAnnotations(), ToolSettings(approval=ApprovalPolicy.ASK), ApprovalPolicy.AUTO, "ask"),
        (ToolAnnotations(), ToolSettings(approval=ApprovalPolicy.AUTO), ApprovalPolicy.DENY, "deny"),
        (ToolAnnotations(read_only=True), ToolSettings(role_approval={"developer": ApprovalPolicy.DENY}), None, "deny"),
    ],
)
@pytest.mark.feature("TOOL-2")
def test_the_strictest_policy_holds_and_annotations_decide_where_none_is_set(
    annotations: ToolAnnotations, settings: ToolSettings, rule: ApprovalPolicy | None, policy: str
) -> None:
    definition = make_definition(annotations)
    assert settings.policy_for(definition, Role.DEVELOPER, rule) == policy


def make_definition(annotations: ToolAnnotations) -> Any:
    def touch() -> str:
        """Touch something."""
        return ""

    native = NativeTools()
    native.register(touch, annotations)
    return native.definitions(AMIRA)[0]


@pytest.mark.feature("TOOL-1")
def test_a_toolset_is_composed(rig: Rig) -> None:
    everything = rig.services.tools.toolset(AMIRA, "general")
    short = everything.filtered("calc*", "current_*").prefixed("own__")
    assert set(short.tools) == {"own__calculate", "own__current_time"}
    assert short.original_name("own__calculate") == "calculate"
    assert set(short.joined(everything.filtered("calculate")).tools) == {*short.tools, "calculate"}
    with pytest.raises(InvalidInput):
        short.joined(short)
    with pytest.raises(InvalidInput):
        everything.prefixed("x" * 60)
    for name in ("", "a b", "x" * 65, "a:b", "ä"):
        with pytest.raises(InvalidInput):
            check_name(name)


@pytest.mark.feature("TOOL-1")
def test_runs_are_ones_own_and_figures_count_failures_and_cost(rig: Rig) -> None:
    tools = rig.services.tools
    tools.save_settings(AMIRA, "calculate", ToolSettings(price_nano_usd=2_000_000))
    run(rig, "calculate", {"expression": "1"})
    run(rig, "calculate", {"expression": "1/0"})
    run(rig, "calculate", "{")
    (figures,) = tools.executions.figures(AMIRA)
    assert (figures.runs, figures.failed, figures.cost_nano_usd) == (3, 2, 4_000_000)
    operator = make_actor("00000000-0000-7000-8000-00000000000c", "mira", Role.ADMINISTRATOR)
    seen = tools.executions.list(operator)
    assert [execution.arguments for execution in seen] == [None, None, None]
    stranger = replace_permissions(operator)
    assert list(tools.executions.list(stranger)) == []
    with pytest.raises(NotFound):
        tools.executions.get(stranger, seen[0].id)


def replace_permissions(actor: Any) -> Any:
    """An actor who may run tools and see nobody else's."""
    import dataclasses

    from lib.access.permissions import Permission

    return dataclasses.replace(actor, permissions=frozenset({Permission.TEST_CONFIGS}))
