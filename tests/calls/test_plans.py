"""A plan that is used again is the same but for the words."""

from msgspec.structs import asdict, fields, replace

from lib.access.permissions import OPERATOR
from lib.calls.fingerprint import KEY_OF_REQUEST, build_plan_key
from lib.calls.plan_sources import CachedPlanSources
from lib.calls.plans import Plans
from lib.calls.request import CachePolicy, CallRequest, Origin, Plan
from lib.configs.routing import Deadlines
from lib.services import build
from lib.settings import Settings

READ_BY_PARTS = {"actor", "wire", "texts"}
OTHERS = {
    "configuration": "other",
    "model": "openai/gpt-4o",
    "app": "other",
    "context": "other",
    "origin": Origin.GATEWAY,
    "system_prompt": "other",
    "parameters": {"temperature": 0.5},
    "deadlines": Deadlines(first_token_s=1.0),
    "max_attempts": 1,
    "routed": False,
    "stream": False,
    "extra": {"other": 1},
    "native": "other",
    "unsaid": ("other",),
    "bounded": True,
    "even_if_off": True,
    "cache_policy": CachePolicy(reads=False),
}


def test_every_field_of_a_request_is_told_apart_or_its_own() -> None:
    assert KEY_OF_REQUEST.counted | KEY_OF_REQUEST.ignored == {field.name for field in fields(CallRequest)}
    assert OTHERS.keys() | READ_BY_PARTS == KEY_OF_REQUEST.counted
    plain = CallRequest(OPERATOR, [{"role": "user", "content": "one"}])
    same = [
        name
        for name, other in OTHERS.items()
        if build_plan_key(replace(plain, **{name: other})) == build_plan_key(plain)
    ]
    assert same == []


def without_words(plan: Plan) -> dict[str, object]:
    """Everything a plan holds but the request and the messages that are sent."""
    contents = asdict(plan)
    del contents["request"]
    for name in ("deployments", "fallbacks"):
        contents[name] = [
            replace(target, model_request=replace(target.model_request, messages=[])) for target in contents[name]
        ]
    return contents


def test_a_plan_used_again_differs_in_its_words_alone(settings: Settings) -> None:
    services = build(settings)
    try:
        services.providers.create(OPERATOR, name="upstream", kind="openai", api_key="sk-test-key-of-nobody-12345")
        services.configurations.create(OPERATOR, slug="bot", app="bot", provider="upstream", model="gpt-4o")
        sources = CachedPlanSources(services.configurations, services.providers, services.overrides)
        plans = Plans(sources, same_for_s=3600.0)

        def ask(words: str) -> CallRequest:
            return CallRequest(OPERATOR, [{"role": "user", "content": words}], configuration="bot")

        first = plans.plan(ask("one"), reading=True)
        again = plans.plan(ask("two"))
        assert first.first.window is not None
        assert again.first.model_request.messages == [{"role": "user", "content": "two"}]
        assert without_words(again) == without_words(first)
    finally:
        services.close()
