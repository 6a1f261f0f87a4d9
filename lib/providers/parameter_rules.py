"""Which parameters may travel to a model, and within what bounds.

A list of what is allowed, not of what is forbidden: litellm reads its own controls (addresses, keys, callbacks,
fallbacks) from the same arguments as a model's parameters, so an unknown name could send a provider's key elsewhere.
"""

from collections.abc import Mapping
from typing import Any

from lib.errors import InvalidInput
from lib.providers.parameters import PARAMETERS

_NUMBERS = {parameter.name: parameter for parameter in PARAMETERS}
_NUMBERS["max_completion_tokens"] = _NUMBERS["max_tokens"]
_OTHERS = frozenset(
    """stop logit_bias logprobs top_logprobs response_format tools tool_choice parallel_tool_calls reasoning_effort
    thinking verbosity user service_tier min_p repetition_penalty num_ctx keep_alive think""".split()  # noqa: SIM905
)
ALLOWED = frozenset(_NUMBERS) | _OTHERS
AS_NAMED = frozenset(  # parameters of OpenAI's chat that are no more than a value
    """reasoning_effort verbosity service_tier frequency_penalty presence_penalty logit_bias logprobs top_logprobs seed
    parallel_tool_calls user""".split()  # noqa: SIM905
)


def check(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters that are set; InvalidInput (field `parameters`) for a name or value that can't be used."""
    for name, value in parameters.items():
        if name not in ALLOWED:
            raise InvalidInput(
                f"{name[:60]} is not a parameter of a model.",
                "Addresses, keys and headers belong to the provider.",
                f"Use any of {', '.join(sorted(ALLOWED))}.",
                field="parameters",
            )
        if name in _NUMBERS and value is not None:
            _check_number(name, value)
    return select_allowed(parameters)


def select_allowed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the parameters that may be sent to a model: those with an allowed name and a value that is not None."""
    return {name: value for name, value in parameters.items() if name in ALLOWED and value is not None}


def _check_number(name: str, value: Any) -> None:
    rule = _NUMBERS[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not rule.low <= value <= rule.high or (rule.step == 1 and value != int(value)):
        noun = "a whole number" if rule.step == 1 else "a number"
        raise InvalidInput(
            f"{name} must be {noun} from {rule.low:g} to {rule.high:,.0f}.",
            f"It is {str(value)[:40]}.",
            "Correct it, or leave it out for the provider's default.",
            field="parameters",
        )
