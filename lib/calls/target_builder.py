"""In which lane a call goes to a model, and what of the request gets there: the target, its parameters, what is lost.

What a program wrote in the provider's own protocol is relayed as it is; what we add is said in that protocol's words,
and left out or refused where the model is known not to take it. Anything else is translated, and every loss is named.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any

from msgspec.structs import replace

from lib.calls.plan_sources import PlanSources
from lib.calls.request import CallRequest, Target
from lib.configs.effective import REQUEST, EffectiveParameters, drop_unsupported
from lib.configs.routing import Deployment
from lib.errors import InvalidInput
from lib.providers import old_functions, own_words, parameter_rules, support
from lib.providers.chunks import EMBEDDING_PARAMETERS, Endpoint, ModelRequest, Wire
from lib.providers.kinds import Protocol, can_speak
from lib.providers.models import ModelFacts
from lib.tokens.message_text import has_content


@dataclass(frozen=True)
class TargetBuilder:
    """Builds the targets of one request: refuses or drops parameters that models do not take, and chooses lanes."""

    request: CallRequest
    lookups: PlanSources
    effective: EffectiveParameters
    policy: str
    system: str

    def build(self, deployment: Deployment, model_request: ModelRequest) -> Target:
        """The target of a deployment; InvalidInput for a parameter not taken by its model, unless those are dropped."""
        endpoint = self.lookups.endpoint(deployment.provider_id)
        model = deployment.model
        facts = self.lookups.limits(endpoint.kind, model, endpoint.provider_id)
        model_request = replace(model_request, model=model, drops=self.policy == "drop")
        if model_request.texts is not None:
            return self._build_embedding_target(endpoint, deployment, model_request)
        wire, effective, lost = self._choose_lane(endpoint, model, facts)
        model_request = replace(model_request, parameters=effective.parameters, wire=wire)
        dropped = (*effective.dropped, *lost)
        return Target(
            endpoint=endpoint,
            model_request=model_request,
            weight=deployment.weight,
            dropped=dropped,
            longest_answer=facts.output_tokens,
            window=facts.context_tokens,
        )

    def _choose_lane(
        self, endpoint: Endpoint, model: str, facts: ModelFacts
    ) -> tuple[Wire | None, EffectiveParameters, tuple[str, ...]]:
        """The program's request where it can be relayed, the parameters, and what else is lost on that way."""
        if (written := self.request.wire) is not None and self._can_relay(endpoint, model):
            effective = drop_unsupported(self._check_parameters(endpoint, facts, written), self.policy, model)
            wire, lost = _add_configured(written, effective, self.system)
            if wire is not None:
                return wire, replaced(effective, parameters=_drop_names(effective.parameters, lost)), lost
        _check_translatable(self.request, model)
        translating = self._with_tools_for_functions()
        effective = drop_unsupported(translating._check_parameters(endpoint, facts, None), self.policy, model)
        return None, effective, _name_lost_fields(translating.request)

    def _with_tools_for_functions(self) -> "TargetBuilder":
        """The builder of a request that says with `tools` what this one may say with `functions`."""
        tools = {} if "tools" in self.effective.parameters else old_functions.convert_to_tools(self.request.extra)
        if not tools:
            return self
        parameters = {**self.effective.parameters, **tools}
        sources = {**self.effective.sources, **dict.fromkeys(tools, REQUEST)}
        request = replace(self.request, extra=_drop_names(self.request.extra, old_functions.FIELDS))
        return replaced(
            self, request=request, effective=replaced(self.effective, parameters=parameters, sources=sources)
        )

    def _build_embedding_target(
        self, endpoint: Endpoint, deployment: Deployment, model_request: ModelRequest
    ) -> Target:
        """The target of an embedding call; parameters that shape an answer's words are not sent."""
        parameters = dict(self.request.extra)
        wire = self.request.wire
        dropped = tuple[str, ...]()
        if not self._can_relay(endpoint, model_request.model):
            _check_translatable(self.request, model_request.model)
            _check_says_something(model_request.messages)
            if wire is not None:  # a program has no other words than those
                parameters = {name: value for name, value in parameters.items() if name in EMBEDDING_PARAMETERS}
                dropped = _name_lost_fields(replace(self.request, extra=_drop_names(self.request.extra, parameters)))
            wire = None
        model_request = replace(model_request, parameters=parameters, wire=wire)
        return Target(endpoint=endpoint, model_request=model_request, weight=deployment.weight, dropped=dropped)

    def _can_relay(self, endpoint: Endpoint, model: str) -> bool:
        """Whether the program's own request can go to the endpoint: the two speak the same protocol."""
        wire = self.request.wire
        return wire is not None and can_speak(endpoint.kind, wire.protocol) and not model.startswith("responses/")

    def _check_parameters(self, endpoint: Endpoint, facts: ModelFacts, wire: Wire | None) -> EffectiveParameters:
        """The parameters, and those that the model does not take: by what is known of it, and by who wrote them."""
        effective = self.effective
        kind = endpoint.kind
        program = self.request.wire
        parameters = parameter_rules.check(effective.parameters)
        written = [name for name in parameters if program is not None and effective.sources.get(name) == REQUEST]
        refused = set(support.list_not_taken(kind, facts, (name for name in parameters if name not in written)))
        if wire is None:
            refused.update(support.list_not_taken(kind, facts, written))
            refused.update(support.list_foreign(kind, program.protocol, written) if program is not None else ())
        elif wire.protocol == Protocol.CHAT:
            refused.update(support.list_written_not_taken(kind, facts, written))
        unsupported = tuple(name for name in parameters if name in refused)
        return replaced(effective, parameters=parameters, unsupported=unsupported)


def _add_configured(wire: Wire, effective: EffectiveParameters, system: str) -> tuple[Wire | None, tuple[str, ...]]:
    """The program's request with what the configuration adds, and what of that it leaves no room for.

    None when the protocol has no word for something: the request is then translated.
    """
    configured = {name: value for name, value in effective.parameters.items() if effective.sources.get(name) != REQUEST}
    dropped = tuple(
        name
        for name in own_words.list_conflicting_parameters(wire.protocol, effective.parameters)
        if name in configured
    )
    configured = _drop_names(configured, dropped)
    if not own_words.can_say(wire.protocol, configured):
        return None, ()
    return replace(wire, system=system, configured=configured), dropped


def _drop_names(values: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _check_translatable(request: CallRequest, model: str) -> None:
    if request.extra.get("n") not in (None, 1):
        why = f"{model} gives one answer at a time."
        raise InvalidInput("n must be 1.", why, "Ask again for more answers.", field="n")
    if request.extra.get("web_search_options") is not None:
        why = f"{model} speaks another protocol, which has no word for it."
        raise InvalidInput("web_search_options can't be used.", why, "Leave it out.", field="web_search_options")
    if request.native:
        why = f"{model} speaks another protocol, which has no word for them."
        raise InvalidInput(f"{request.native} can't be used.", why, "Leave them out, or choose another model.")


def _name_lost_fields(request: CallRequest) -> tuple[str, ...]:
    """Names of what a program's request says in its own protocol alone; what asks for the usual is not lost."""
    wire = request.wire
    names = [*request.extra, *request.unsaid]
    if wire is not None:
        names += [name for name in wire.headers if name.endswith("-beta")]
    lost = [name for name in names if name not in _READ and (name, request.extra.get(name)) not in _USUAL]
    return tuple(dict.fromkeys(_make_printable(name) for name in lost[:_MOST_NAMES]))


def _make_printable(name: str) -> str:
    """A field's name, which a program may choose as it likes, for a header and a column that lists names."""
    return "".join(sign if sign.isascii() and sign.isprintable() and sign not in ", " else "?" for sign in name)[:60]


_READ = frozenset({"n", "stream_options"})  # they do what they say, whoever answers
_MOST_NAMES = 40
_USUAL = (("store", False), ("background", False), ("truncation", "disabled"))


def _check_says_something(messages: Sequence[Mapping[str, Any]]) -> None:
    if not any(has_content(message) for message in messages):
        raise make_empty_prompt_error()


def make_empty_prompt_error() -> InvalidInput:
    """The refusal of a request that says nothing."""
    return InvalidInput("The prompt is empty.", "", "Write what you want to ask.", field="prompt")
