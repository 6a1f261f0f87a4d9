"""What pages say of an answer from memory: what it saved, and how long before the model had given it."""

from dataclasses import replace

from lib.access.permissions import Actor
from lib.calls.live_call import CallView
from lib.calls.sources import NO_CACHE
from lib.money import format_money
from lib.services import Services
from lib.ui import format

ASK_AGAIN = "Ask again without the cache"  # the button


def describe_origin(saved_nano_usd: int | None, age_s: int | None) -> list[str]:
    """Phrases such as `saved $0.004` and `given 5 min before`; without what is not known, and without savings of 0."""
    saved = [f"saved {format_money(saved_nano_usd)}"] if saved_nano_usd else []
    return saved if age_s is None else [*saved, f"given {format.format_age(age_s)} before"]


def add_age(services: Services, actor: Actor, view: CallView) -> CallView:
    """Complete the view of a call by the age of its answer, which only a call that runs in this process knows."""
    if view.running or view.cache == NO_CACHE or view.age_s is not None:
        return view
    return replace(view, age_s=services.cache.find_answer_ages(actor, [view.call_id]).get(view.call_id))
