"""Where an attempt's answer comes from: an upstream, or a remembered answer. The seam of a cache.

An attempt reads from one `AnswerSource`. Today that is `lib.calls.upstream.Upstream`, the only module on a call's way
that knows adapters; a cache adds another by giving `Calls.recall` an `AnswerMemory`:

- `AnswerMemory.find(plan)` is asked once a call, on the calls' loop, before anything is opened. It returns a source
  that answers, or None: then the call goes upstream as ever. It stands before every call, so a miss must be quick; what
  has to wait (a database, an embedding, another call that is asking the same) is awaited, under a bound of its own.
  When it fails the call goes upstream. It has the plan's `request.cache_policy`, `configuration` and `fingerprint`
  (`lib.calls.fingerprint`) to go by; who may read what is its own affair.
- The attempt on a source that is not upstream asks no circuit, no deployment pool and no adapter. It is opened like
  every other (a row, budgets with its `bound`, limits of the key), read under the call's deadlines, passed on to the
  listener and closed: status by the same rules (a source yields exactly one `Finish` where it ends well), cost 0,
  `free`, no tokens counted, `cache`, `lane` and `saved_nano_usd` as the source says. Pieces are those of
  `lib.providers.chunks`, so `ServedModel` and `UsageReport` show in the answer; a program's protocol is written of
  plain chunks, whatever lane they once came by.
- A source that fails with a ProviderError before its first piece of content is followed by the upstream as the call's
  second attempt; after that, as with every answer, nothing is doubled or swapped.
- `AnswerMemory.take(call)` is told of every call that has ended, with its last row (None: nothing could be opened),
  whichever source answered: there an answer is remembered. On the loop, so it must not block; `call.plan`,
  `call.attempt` (`answer`, `tool_calls`, `usage`, `finish_reason`) and `call.row` (`status`, `cache`) say everything.
"""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from lib.errors import Throttled
from lib.providers.chunks import Piece

if TYPE_CHECKING:
    from lib.calls.live_call import LiveCall
    from lib.calls.request import Plan

NO_CACHE = "none"  # the column `cache` of an attempt that went upstream


class Bound(Struct, frozen=True):
    """The most that an attempt can use. `amount_nano`: nano-dollars, 0 free, None nobody knows.

    `wished_nano` is held where nobody knows, as far as there is room; `prompt_tokens` and `answer_tokens` are what the
    amount stands for, `claimed_tokens` what the limits of a key count until the end; `has_ceiling`: the longest answer
    stands in the request itself.
    """

    amount_nano: int | None
    wished_nano: int = 0
    prompt_tokens: int = 0
    answer_tokens: int = 0
    claimed_tokens: int = 0
    has_ceiling: bool = False


FREE = Bound(0)  # of an answer that is here already


class AnswerSource(Protocol):
    """What the current attempt of a call (`call.attempt`) reads its answer from."""

    @property
    def cache(self) -> str:
        """The column `cache`: `none` for an upstream; exact, loose or semantic for a remembered answer."""
        ...

    @property
    def age_s(self) -> int | None:
        """Seconds since a remembered answer was given; None for an upstream."""
        ...

    def find_lane(self, call: "LiveCall") -> str:
        """The column `lane`, at most ten characters: `relay`, `translate`, or `cache`."""
        ...

    def bound(self, call: "LiveCall") -> Bound:
        """The most it can cost, before it is opened: held by budgets."""
        ...

    def limit(self, call: "LiveCall") -> Throttled | None:
        """Make it keep to its bound, for a hard budget holds for the call; why that can't be, or None."""
        ...

    def read(self, call: "LiveCall") -> AsyncIterator[Piece]:
        """The pieces of the answer as they come; closing the iterator ends it, a failure is a ProviderError."""
        ...

    def compute_saved_nano(self, call: "LiveCall") -> int | None:
        """Return what an upstream would have cost, in nano-dollars, once the answer was read; None where unknown."""
        ...


class AnswerMemory(Protocol):
    """Remembers answers: asked before a call goes upstream, told when it has ended."""

    async def find(self, plan: "Plan") -> AnswerSource | None:
        """The source that answers the plan without an upstream, or None."""
        ...

    def take(self, call: "LiveCall") -> None:
        """Look at a call that has ended."""
        ...
