"""Tools and their callers are strangers: whatever arguments and outputs hold, a run is bounded, its row closed."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from lib.access.grants import KeyGrant
from lib.access.permissions import OPERATOR, Actor, Permission, Role, make_actor
from lib.configs.tool_rules import ApprovalPolicy
from lib.errors import InvalidInput, NotFound, PermissionDenied, Throttled
from lib.services import build
from lib.settings import Settings
from lib.tools import expression
from lib.tools.direct_runs import MOST_OF_ONE_KEY
from lib.tools.native import NativeTools
from lib.tools.tool import ToolContext, ToolOutput
from lib.tools.tool_settings import ToolSettings
from tests.waiting import CEILING_S

pytestmark = pytest.mark.feature("TOOL-1")


def nest(depth: int) -> dict[str, Any]:
    nested = dict[str, Any]()
    for _ in range(depth):
        nested = {"a": nested}
    return nested


OUTPUTS: dict[str, Callable[[], ToolOutput]] = {
    "nul": lambda: ToolOutput("a\0b", {"a\0": "\0"}),
    "half_a_letter": lambda: ToolOutput("a\ud800b", {"\ud800": ["\ud800"]}),
    "too_deep": lambda: ToolOutput("a", nest(100_000)),
    "no_json": lambda: ToolOutput("a", {"a": object()}),
    "no_number": lambda: ToolOutput("a", [float("nan"), float("inf"), 10**400]),
    "too_long": lambda: ToolOutput("a" * 1_000_000, ["a"] * 1_000_000),
}
ARGUMENTS = ['{"name": "nul", "\\u0000": "\\ud800"}', '{"a":' * 50_000, "[" * 50_000, "\0", "\ud800", "1e999999"]


def test_every_run_ends_whatever_goes_in_and_comes_out(settings: Settings, database_url: str) -> None:
    services = build(replace(settings, database_url=database_url))
    native = NativeTools()

    def answer(name: str) -> ToolOutput:
        """Answer with an output of this name."""
        return OUTPUTS[name]()

    native.register(answer)
    services.tools.sources.append(native)
    for arguments in [*({"name": name} for name in OUTPUTS), *ARGUMENTS]:
        run = services.tools.run(OPERATOR, "answer", arguments, ToolContext(OPERATOR))  # type: ignore[arg-type]
        execution = asyncio.run(run)
        assert not execution.is_open, arguments
        assert execution.output is not None
        assert len(execution.output.text) < 60_000
    rows = services.tools.executions.list(OPERATOR)
    assert len(rows) == len(OUTPUTS) + len(ARGUMENTS)
    assert [row for row in rows if row.is_open] == []
    services.close()


@pytest.mark.parametrize(
    "text",
    ["round(7, 0 - 10 ** 9)", "round(1.5, 10 ** 9)", "9 ** 9 ** 9", "2 ** 99999", "(" * 400, "1+" * 400 + "1", "sum"],
)
def test_an_expression_never_takes_long(text: str) -> None:
    with pytest.raises(InvalidInput):
        expression.compute(text)


def test_rounding_is_as_python_has_it() -> None:
    assert expression.compute("round(2.5)") == 2
    assert expression.compute("round(1234.567, 2)") == 1234.57
    assert expression.compute("round(1234, 0 - 2)") == 1200


def test_what_policy_denies_runs_for_nobody_whoever_asks(settings: Settings) -> None:
    services = build(settings)
    services.tools.save_settings(OPERATOR, "current_time", ToolSettings(approval=ApprovalPolicy.DENY))
    role_approval = {OPERATOR.role.value: ApprovalPolicy.DENY}
    services.tools.save_settings(OPERATOR, "calculate", ToolSettings(role_approval=role_approval))
    for name, arguments in (("current_time", {}), ("calculate", {"expression": "1"})):
        with pytest.raises(PermissionDenied):
            asyncio.run(services.tools.run(OPERATOR, name, arguments, ToolContext(OPERATOR)))
    services.close()


def test_runs_are_seen_in_their_team_and_by_whom_they_are(settings: Settings, database_url: str) -> None:
    services = build(replace(settings, database_url=database_url))
    people = {
        "ben": make_actor("u1", "ben", Role.ADMINISTRATOR, {2: None}, 2),
        "cleo": make_actor("u2", "cleo", Role.DEVELOPER, {2: None}, 2),
        "dora": make_actor("u3", "dora", Role.MASTER_DEVELOPER, {3: None}, 3),
    }
    for person in people.values():
        asyncio.run(services.tools.run(person, "calculate", {"expression": "1 + 1"}, ToolContext(person)))
    of_nobody = replace(people["ben"], user_id=None, permissions=people["ben"].permissions - {Permission.VIEW_STATS})
    seen = {name: len(services.tools.executions.list(person)) for name, person in people.items()}
    assert seen == {"ben": 2, "cleo": 2, "dora": 1}
    assert services.tools.executions.list(of_nobody) == []
    assert len(services.tools.executions.list(OPERATOR)) == 3
    (of_dora,) = services.tools.executions.list(people["dora"])
    with pytest.raises(NotFound):
        services.tools.executions.get(people["cleo"], of_dora.id)
    assert [figure.runs for figure in services.tools.executions.figures(people["dora"])] == [1]
    services.close()


def test_a_team_changes_no_settings_of_every_teams_tools(settings: Settings) -> None:
    services = build(settings)
    of_a_team = make_actor("u1", "ben", Role.DEVELOPER, {2: Role.TEAM_ADMINISTRATOR}, 2)
    assert of_a_team.can(Permission.MANAGE_TOOLS)
    for change in (
        lambda: services.tools.save_settings(of_a_team, "calculate", ToolSettings(approval=ApprovalPolicy.AUTO)),
        lambda: services.bundled_servers.set_files(of_a_team, ["/"]),
        lambda: services.bundled_servers.register_database(of_a_team, "x", "sqlite:////x.db"),
        lambda: services.bundled_servers.remove_database(of_a_team, "x"),
    ):
        with pytest.raises(PermissionDenied):
            change()
    services.close()


def test_one_key_does_not_hold_all_threads_of_tools(settings: Settings) -> None:
    services = build(settings)
    ready = threading.Event()
    native = NativeTools()

    def wait_long() -> str:
        """Wait until the test says so."""
        return str(ready.wait(CEILING_S))

    def hold(key_id: str) -> Actor:
        return replace(OPERATOR, key=KeyGrant(key_id, "bot"))

    async def run(actor: Actor) -> str:
        return (await services.direct_runs.run(actor, "wait_long", {}, ToolContext(actor))).status

    async def ask() -> list[str]:
        runs = [asyncio.create_task(run(hold("a"))) for _ in range(MOST_OF_ONE_KEY)]
        while len(await asyncio.to_thread(services.tools.executions.list, OPERATOR)) < MOST_OF_ONE_KEY:
            pass
        with pytest.raises(Throttled, match="run at once"):
            await run(hold("a"))
        other = asyncio.create_task(run(hold("b")))
        ready.set()
        return [*await asyncio.gather(*runs), await other, await run(hold("a"))]

    native.register(wait_long)
    services.tools.sources.append(native)
    services.tools.save_settings(OPERATOR, "wait_long", ToolSettings(approval=ApprovalPolicy.AUTO))
    assert asyncio.run(ask()) == ["ok"] * (MOST_OF_ONE_KEY + 2)
    services.close()


def test_slow_tools_hold_up_no_other_work(settings: Settings) -> None:
    services = build(settings)
    ready = threading.Event()
    native = NativeTools()

    def wait_long() -> str:
        """Wait until the test says so."""
        return str(ready.wait(CEILING_S))

    async def ask() -> list[str]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(2))
        context = ToolContext(OPERATOR)
        runs = [asyncio.create_task(services.tools.run(OPERATOR, "wait_long", {}, context)) for _ in range(4)]
        while len(await asyncio.to_thread(services.tools.executions.list, OPERATOR)) < 4:
            pass
        ready.set()
        return [execution.status for execution in await asyncio.gather(*runs)]

    native.register(wait_long)
    services.tools.sources.append(native)
    assert asyncio.run(ask()) == ["ok"] * 4
    services.close()
