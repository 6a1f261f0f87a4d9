"""The way of a call among its targets, and what an attempt keeps of what its provider reports."""

import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from lib.access.grants import Limits
from lib.access.permissions import OPERATOR
from lib.calls.live_call import AttemptState, LiveCall
from lib.calls.plan_sources import PlanSources
from lib.calls.plans import make_plan
from lib.calls.request import CallRequest, Plan, Target
from lib.calls.routing import pause_s
from lib.configs.routing import Deadlines
from lib.errors import ErrorKind, InvalidInput, ProviderError
from lib.providers.chunks import Endpoint, ModelRequest, OtherAnswer, TextDelta, Usage, UsageReport
from lib.settings import Settings
from tests.calls.rig import AMIRA, Rig

pytestmark = pytest.mark.filterwarnings("default")  # litellm's own deprecations are not ours to fix


@pytest.fixture
def rig(settings: Settings) -> Iterator[Rig]:
    made = Rig(settings)
    made.services.calls.jitter = lambda: 0.0
    yield made
    made.services.close()


def _plan(rig: Rig, request: CallRequest) -> Plan:
    found = rig.services
    return make_plan(request, PlanSources(found.configurations, found.providers, found.overrides))


def ask(rig: Rig, routing: dict[str, Any], model: str = "say:own", **more: Any) -> CallRequest:
    """A request through a configuration with this routing."""
    request = rig.request(model, **more)
    before = rig.services.configurations.get(AMIRA, request.configuration or "")
    rig.services.configurations.update(AMIRA, before.id, before.revision, routing=routing)
    return request


def scripted(rig: Rig) -> str:
    return rig.services.providers.get(AMIRA, "scripted").id


@pytest.mark.feature("CFG-7")
def test_weights_share_the_calls(rig: Rig) -> None:
    random.seed(7)
    others = [{"provider_id": scripted(rig), "model": "say:other", "weight": 4}]
    request = ask(rig, {"weight": 1, "deployments": others})
    served = Counter(rig.services.calls.run(request).text for _ in range(60))
    assert served["other"] > served["own"] > 0


@pytest.mark.feature("CFG-7")
@pytest.mark.parametrize("strategy", ["least-busy", "latency-based-routing", "cost-based-routing"])
def test_each_strategy_chooses_as_it_says(rig: Rig, strategy: str) -> None:
    others = [{"provider_id": scripted(rig), "model": "say:other"}]
    request = ask(rig, {"deployments": others, "strategy": strategy}, "say:own+priced+wait:300ms")
    if strategy == "cost-based-routing":
        assert {rig.services.calls.run(request).text for _ in range(5)} == {"other"}
        return
    ids = [rig.services.calls.start(request) for _ in range(2)]
    first = {rig.services.calls.wait(AMIRA, call_id).text for call_id in ids}
    if strategy == "least-busy":
        assert first == {"own", "other"}, "the second call goes where nobody waits"
    else:
        texts = [rig.services.calls.run(request).text for _ in range(6)]
        assert texts[-4:] == ["other"] * 4, "after a look at both, the faster one"


@pytest.mark.feature("CFG-7")
def test_the_configurations_limits_hold_unless_the_request_has_its_own(rig: Rig) -> None:
    routing = {"max_attempts": 2, "deadlines": {"total_s": 50.0}}
    services, request = rig.services, ask(rig, routing, "error:500")
    plan = make_plan(request, PlanSources(services.configurations, services.providers, services.overrides))
    assert (plan.routing.max_attempts, plan.routing.deadlines) == (2, Deadlines(total_s=50))
    assert len(rig.rows(services.calls.run(request).call_id)) == 2
    spare = [{"provider_id": scripted(rig), "model": "say:spare"}]
    alone = ask(rig, {"fallbacks": spare}, "error:503", max_attempts=1, routed=False)
    view = services.calls.run(alone)
    assert (view.status, len(rig.rows(view.call_id))) == ("error", 1)


@pytest.mark.feature("CFG-7")
def test_a_configuration_whose_own_provider_is_off_is_served_by_the_others(rig: Rig) -> None:
    services = rig.services
    spare = services.providers.create(AMIRA, name="spare", kind="scripted")
    request = ask(rig, {"fallbacks": [{"provider_id": spare.id, "model": "say:spare"}]})
    services.providers.set_active(AMIRA, scripted(rig), False)
    assert services.calls.run(request).text == "spare"
    services.providers.set_active(AMIRA, spare.id, False)
    with pytest.raises(InvalidInput, match="scripted can't be used"):
        services.calls.start(request)


@pytest.mark.feature("COST-2")
@pytest.mark.feature("CFG-7")
def test_a_call_that_a_budget_stops_goes_to_the_next_target_that_has_room(rig: Rig) -> None:
    services = rig.services
    services.limits.set_app(OPERATOR, "tests", Limits(requests_per_minute=2))
    spare = services.providers.create(AMIRA, name="spare", kind="scripted")
    dear = {"provider_id": spare.id, "model": "say:dear+priced"}
    free = {"provider_id": spare.id, "model": "say:free"}
    request = ask(rig, {"fallbacks": [dear, free]}, "say:own+priced")
    used_up = services.budgets.create(OPERATOR, scope="provider", subject="scripted", period="day", limit_nano=1)
    view = services.calls.run(request)
    services.calls.flush()
    told = [(row["provider"], row["status"], row["error_kind"], row["is_final"]) for row in rig.rows(view.call_id)]
    assert told == [("scripted", "refused", "budget", False), ("spare", "ok", None, True)]
    assert view.text == "dear"
    services.budgets.create(OPERATOR, scope="global", period="day", limit_nano=1)
    view = services.calls.run(ask(rig, {"fallbacks": [dear]}, "say:own+priced"))
    assert (view.status, [row["status"] for row in rig.rows(view.call_id)]) == ("refused", ["refused", "refused"])
    assert "global" in str(view.error_message) or "whole installation" in str(view.error_message)
    assert services.calls.run(request).text == "free", "the second request a minute: refused ones were not counted"
    assert services.calls.run(request).status == "refused", "the third is one too many"
    assert services.budgets.get(OPERATOR, used_up.budget.id).now.held_nano == 0


@pytest.mark.feature("CALL-4")
def test_pauses_grow_with_full_jitter_and_a_retry_after_is_kept_unless_it_is_too_long() -> None:
    failure = ProviderError(ErrorKind.OVERLOADED, "Busy.")
    assert [pause_s(failure, tries, 1.0) for tries in (1, 2, 3, 9)] == [0.5, 1.0, 2.0, 8.0]
    assert pause_s(failure, 3, 0.0) == 0.0
    failure.retry_after = 7.0
    assert pause_s(failure, 1, 0.5) == 7.0
    failure.retry_after = 3600.0
    assert pause_s(failure, 1, 0.5) is None
    failure.retry_after = 0.0
    assert pause_s(failure, 1, 1.0) == 0.5


def attempt(rig: Rig, *chunks: Any) -> LiveCall:
    """A call whose attempt has taken these chunks."""
    call = LiveCall(_plan(rig, rig.request("echo")))
    for chunk in chunks:
        call.attempt.take(chunk)
    return call


@pytest.mark.feature("CALL-5")
def test_a_partial_count_holds_for_the_prompt_and_is_a_floor_for_the_answer(rig: Rig) -> None:
    partial = UsageReport(Usage(1000, 1, cache_read_tokens=800), is_partial=True)
    words = TextDelta("a long answer of many words " * 10)
    usage, source = attempt(rig, partial, words).current_usage()
    assert (usage.prompt_tokens, usage.cache_read_tokens, source) == (1000, 800, "estimated")
    assert usage.completion_tokens > 40
    assert attempt(rig, UsageReport(Usage(9, 500), is_partial=True), words).current_usage()[0].completion_tokens == 500
    whole = attempt(rig, partial, words, UsageReport(Usage(1000, 60), cost_nano_usd=77), UsageReport(Usage(1000, 61)))
    assert whole.current_usage() == (Usage(1000, 61), "provider")
    assert whole.attempt.reported_nano_usd == 77


@pytest.mark.feature("CALL-5")
def test_all_answers_of_several_are_counted_and_the_first_is_kept(rig: Rig) -> None:
    one = attempt(rig, TextDelta("some words")).current_usage()[0].completion_tokens
    three = attempt(rig, OtherAnswer(1, "some words"), TextDelta("some words"), OtherAnswer(2, "some words"))
    assert (three.current_usage()[0].completion_tokens, three.attempt.answer) == (3 * one, "some words")
    assert attempt(rig, OtherAnswer(1, "some words")).attempt.has_content, "nothing is sent again from here on"


@pytest.mark.feature("CALL-2")
def test_a_request_for_the_whole_answer_at_once_says_so_in_its_row(rig: Rig) -> None:
    request = rig.request("echo", stream=False)
    plan = _plan(rig, request)
    assert not plan.first.model_request.stream
    [row] = rig.rows(rig.services.calls.run(request).call_id)
    assert (row["streamed"], row["images"], row["cache_write_1h_tokens"]) == (False, 0, 0)
    assert row["reported_nano_usd"] is None


def test_a_target_is_named_by_provider_and_model() -> None:
    target = Target(Endpoint("id-1", "one", "scripted"), ModelRequest("echo", []))
    assert AttemptState(1, target).target.id == "id-1/echo"
