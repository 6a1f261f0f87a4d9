"""Runs of the playground: one question put to one to four panes at once, kept, opened again and shared by address.

A run stores who asked what with which parameters; the words are in the ledger with the calls, so content policies and
retention hold for them here as well. It is its owner's; shared, everybody who may test configurations can open it. A
vote says which answer was the better one: it is noted on every call as the custom metric `playground_vote` (1 won, 0.5
drew, 0 lost), so it can be counted and charted like any other.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import RowMapping, delete, insert, select, update

from lib.access import audit
from lib.access.permissions import Actor, Permission
from lib.access.team_scope import require_team
from lib.activity.custom_metric import NewMetric
from lib.activity.custom_metrics import Metrics
from lib.calls.calls import Calls
from lib.calls.grounding import Grounding, replace_question
from lib.calls.live_call import CallView
from lib.calls.request import ASKED_AGAIN, CachePolicy, CallRequest, Origin
from lib.clock import make_id, utc_now
from lib.configs.configuration import Configuration
from lib.configs.configurations import Configurations
from lib.db.engine import Store
from lib.db.tables import custom_metrics, playground_panes, playground_runs, usage_logs, usage_payloads
from lib.errors import Conflict, InvalidInput, LLMManagerError, NotFound
from lib.ledger.usage_row import build_final_condition
from lib.playground import rows
from lib.playground.exports import RunFormat, write_file
from lib.playground.question import PlaygroundQuestion, build_content
from lib.playground.run import DRAW, MOST_PANES, Pane, PaneState, PlaygroundRun, RunLine, Wins
from lib.tokens.message_text import read_message_text
from lib.tokens.text_estimate import estimate_tokens
from lib.tools.approval_policy import DOCUMENT, PASSAGES
from lib.tools.turn import TurnView
from lib.tools.turns import Turns

VOTE = "playground_vote"
RATING = "playground_rating"
_R = playground_runs.c
_P = playground_panes.c


class Playground:
    """Starts, shows, shares and exports runs; every statement names their owner."""

    def __init__(
        self,
        store: Store,
        calls: Calls,
        configurations: Configurations,
        metrics: Metrics,
        grounding: Callable[[], Grounding],
        turns: Turns,
    ) -> None:
        self._store = store
        self._calls = calls
        self._configurations = configurations
        self._metrics = metrics
        self._grounding = grounding
        self._turns = turns

    def start(
        self,
        actor: Actor,
        question: PlaygroundQuestion,
        panes: Sequence[Pane],
        *,
        is_blind: bool = False,
        cache_policy: CachePolicy | None = None,
    ) -> str:
        """Ask every pane at once and return the run's id. A pane that can't be asked says why; when none can, that is
        raised. `cache_policy` says whether answers may come from memory; None: as configurations do.
        """
        actor.require(Permission.TEST_CONFIGS)
        if not 0 < len(panes) <= MOST_PANES:
            raise InvalidInput("A run has one to four panes.", f"These are {len(panes)}.", field="panes")
        run_id = make_id()
        pane_rows = [
            self._send(actor, run_id, position, pane, question, cache_policy) for position, pane in enumerate(panes)
        ]
        failures = [row.pop("failure") for row in pane_rows]
        if all(failures):
            raise failures[0]
        with self._store.write() as connection:
            row = {"id": run_id, "user_id": actor.user_id, "team_id": require_team(actor), "created_at": utc_now()}
            connection.execute(insert(playground_runs), row | {"is_shared": False, "is_blind": is_blind})
            connection.execute(insert(playground_panes), pane_rows)
        return run_id

    def ask_again(self, actor: Actor, run_id: str, position: int, question: PlaygroundQuestion, pane: Pane) -> None:
        """Ask one pane of the actor's own run anew; its earlier call stays in the ledger."""
        with self._store.read() as connection:
            run = rows.find_owned(connection, actor, run_id)
        if run["winner"] is not None:
            raise Conflict("The vote is cast.", "Its answers are what was compared.", "Start a new run.")
        row = self._send(actor, run_id, position, pane, question, ASKED_AGAIN)
        if (failure := row.pop("failure")) is not None:
            raise failure
        is_pane = (_P.run_id == run_id, _P.position == position)
        with self._store.write() as connection:
            if connection.execute(update(playground_panes).where(*is_pane).values(**row)).rowcount == 0:
                connection.execute(insert(playground_panes), row)

    def open(self, actor: Actor, run_id: str) -> PlaygroundRun:
        """The run as it stands: the actor's own, or a shared one, or one of the actor's calls; NotFound otherwise."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            run = rows.find_run(connection, _R.id == run_id, rows.is_readable(actor))
            if run is None:
                return self._open_call(actor, run_id)
            panes = connection.execute(
                select(playground_panes).where(_P.run_id == run_id).order_by(_P.position)
            ).mappings()
            pane_rows = [dict(row) for row in panes]
        owner = dataclasses.replace(actor, user_id=run["user_id"])  # the run may be read, so may its calls
        states = tuple(
            PaneState(
                row["position"],
                row["slug"],
                row["parameters"],
                row["call_id"],
                row["error"],
                self._find_call(owner, row["call_id"]),
            )
            for row in pane_rows
        )
        names = ("id", "user_id", "owner", "created_at", "is_shared", "is_blind", "winner")
        return PlaygroundRun(**{name: run[name] for name in names}, panes=states)

    def call(self, actor: Actor, run_id: str, position: int) -> CallView:
        """The call of one pane as it stands."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            run = rows.find_readable(connection, actor, run_id)
            query = select(_P.call_id).where(_P.run_id == run_id, _P.position == position)
            call_id = connection.scalar(query)
        if call_id is None:
            raise NotFound("The pane has no call.", "Nothing was sent.")
        return self._turns.call_view(dataclasses.replace(actor, user_id=run["user_id"]), call_id)

    def turn(self, actor: Actor, run_id: str, position: int) -> TurnView | None:
        """The rounds and tools of one pane's answer as they stand; None where no tools were offered."""
        actor.require(Permission.TEST_CONFIGS)
        with self._store.read() as connection:
            run = rows.find_readable(connection, actor, run_id)
            call_id = connection.scalar(select(_P.call_id).where(_P.run_id == run_id, _P.position == position))
        owner = dataclasses.replace(actor, user_id=run["user_id"])
        return None if call_id is None else self._turns.view(owner, call_id)

    def stop(self, actor: Actor, run_id: str) -> None:
        """Stop every pane of the actor's own run that still grows."""
        for pane in self._open_own(actor, run_id).panes:
            if pane.call is not None and pane.call.running and pane.call_id is not None:
                self._turns.stop(actor, pane.call_id)

    def share(self, actor: Actor, run_id: str, *, is_shared: bool) -> None:
        """Let everybody who may test configurations open the actor's own run by its address, or take that back."""
        self._open_own(actor, run_id)
        with self._store.write() as connection:
            connection.execute(update(playground_runs).where(_R.id == run_id).values(is_shared=is_shared))
            audit.record(connection, actor, "playground.share" if is_shared else "playground.unshare", run_id)

    def vote(self, actor: Actor, run_id: str, winner: int) -> None:
        """Say which pane of the actor's own run was the better one, or DRAW; once. Noted on every call."""
        run = self._open_own(actor, run_id)
        ended = [pane for pane in run.panes if pane.call is not None and not pane.call.running]
        if len(run.panes) < 2 or len(ended) < len(run.panes):
            raise Conflict("There is nothing to compare yet.", "A vote is cast on two or more answers that have ended.")
        if winner != DRAW and winner not in {pane.position for pane in run.panes}:
            raise InvalidInput("The run has no such pane.", field="winner")
        with self._store.write() as connection:
            open_vote = update(playground_runs).where(_R.id == run_id, _R.winner.is_(None))
            if connection.execute(open_vote.values(winner=winner)).rowcount == 0:
                raise Conflict("The vote is cast already.", "", "Start a new run to compare again.")
        self._calls.flush()
        for pane in ended:
            points = 0.5 if winner == DRAW else float(pane.position == winner)
            note = NewMetric(VOTE, points, "float", {"run": run_id, "panes": len(run.panes)})
            self._metrics.record_many(actor, str(pane.call_id), [note])

    def rate(self, actor: Actor, run_id: str, position: int, *, is_good: bool) -> None:
        """Note on a pane's call whether its answer is good (1) or not (0); the run must be the actor's own."""
        run = self._open_own(actor, run_id)
        call_id = next((pane.call_id for pane in run.panes if pane.position == position), None)
        if call_id is None:
            raise InvalidInput("The run has no such answer.", field="position")
        self._calls.flush()
        self._metrics.record_many(actor, call_id, [NewMetric(RATING, float(is_good), "float", {"run": run_id})])

    def ratings(self, actor: Actor, run_id: str) -> dict[int, bool]:
        """Read how the answers of the actor's own run were rated, by position; the newest rating counts."""
        with self._store.read() as connection:
            rows.find_owned(connection, actor, run_id)
            query = (
                select(_P.position, custom_metrics.c.number)
                .join(custom_metrics, custom_metrics.c.call_id == _P.call_id)
                .where(_P.run_id == run_id, custom_metrics.c.key == RATING)
                .order_by(custom_metrics.c.id)
            )
            return {position: number > 0 for position, number in connection.execute(query)}

    def export(self, actor: Actor, run_id: str, form: RunFormat) -> bytes:
        """A run as a file; Conflict while it is blind."""
        run = self.open(actor, run_id)
        if run.is_hidden:
            raise Conflict("The vote is not cast yet.", "A file would tell whose answers these are.", "Vote first.")
        with self._store.write() as connection:
            audit.record(connection, actor, "playground.export", run_id, form=form)
        return write_file(form, run)

    def recent(self, actor: Actor, page: int = 1, size: int = 8) -> tuple[list[RunLine], bool]:
        """The actor's own runs, newest first, a page of them, and whether there are more."""
        actor.require(Permission.TEST_CONFIGS)
        own_runs = select(_R.id, _R.created_at).where(rows.is_own(actor))
        newest = (
            own_runs.order_by(_R.created_at.desc(), _R.id.desc()).limit(size + 1).offset((page - 1) * size).subquery()
        )
        query = (
            select(newest, _P.position, usage_logs.c.id.label("log"), usage_logs.c.cost_nano_usd)
            .add_columns(usage_logs.c.cost_status, usage_payloads.c.prompt_text)
            .join(playground_panes, _P.run_id == newest.c.id)
            .outerjoin(usage_logs, build_final_condition(_P.call_id))
            .outerjoin(usage_payloads, usage_payloads.c.id == usage_logs.c.id)
            .order_by(newest.c.created_at.desc(), newest.c.id.desc(), _P.position)
        )
        lines: dict[str, list[RowMapping]] = {}
        with self._store.read() as connection:
            for row in connection.execute(query).mappings():
                lines.setdefault(row["id"], []).append(row)
        run_lines = [rows.build_line(panes) for panes in lines.values()]
        return run_lines[:size], len(run_lines) > size

    def wins(self, actor: Actor) -> list[Wins]:
        """The actor's own votes by configuration, the best first."""
        actor.require(Permission.TEST_CONFIGS)
        voted = (
            select(_P.slug, _P.position, _R.winner, usage_logs.c.model)
            .join(playground_runs, _R.id == _P.run_id)
            .outerjoin(usage_logs, build_final_condition(_P.call_id))
            .where(_R.winner.is_not(None), rows.is_own(actor))
            .order_by(_R.created_at)
        )
        wins_by_slug: dict[str, Wins] = {}
        with self._store.read() as connection:
            for slug, position, winner, model in connection.execute(voted):
                old = wins_by_slug.get(slug, Wins(slug, "", 0, 0, 0))
                won = old.won + (winner == position)
                drawn = old.drawn + (winner == DRAW)
                wins_by_slug[slug] = Wins(slug, model or old.model, old.runs + 1, won, drawn)
        return sorted(wins_by_slug.values(), key=lambda line: (-sum(line.interval), line.slug))

    def delete(self, actor: Actor, run_id: str) -> None:
        """Delete the actor's own run; its calls stay in the ledger."""
        self._open_own(actor, run_id)
        with self._store.write() as connection:
            connection.execute(delete(playground_panes).where(_P.run_id == run_id))
            connection.execute(delete(playground_runs).where(_R.id == run_id))

    def _open_call(self, actor: Actor, call_id: str) -> PlaygroundRun:
        try:
            call = self._turns.call_view(actor, call_id)
        except NotFound:
            raise rows.make_not_found() from None
        slugs = {configuration.id: configuration.slug for configuration in self._configurations.list(actor)}
        slug = slugs.get(str(call.configuration_id), f"{call.provider}/{call.model}")
        pane = PaneState(0, slug, call.parameters, call_id, None, call)
        return PlaygroundRun(call_id, actor.user_id, None, call.started_at, False, False, None, (pane,), is_kept=False)

    def _open_own(self, actor: Actor, run_id: str) -> PlaygroundRun:
        with self._store.read() as connection:
            rows.find_owned(connection, actor, run_id)
        return self.open(actor, run_id)

    def _find_call(self, owner: Actor, call_id: str | None) -> CallView | None:
        try:
            return None if call_id is None else self._turns.call_view(owner, call_id)
        except NotFound:  # retention has deleted it
            return None

    def _send(
        self,
        actor: Actor,
        run_id: str,
        position: int,
        pane: Pane,
        question: PlaygroundQuestion,
        cache_policy: CachePolicy | None = None,
    ) -> dict[str, Any]:
        """Start a pane's call; return its row of `playground_panes`, and the error that prevented it as `failure`."""
        row: dict[str, Any] = {"run_id": run_id, "position": position, "slug": pane.configuration, "error": None}
        row |= {"parameters": dict(pane.parameters), "call_id": None, "configuration_id": None, "failure": None}
        try:
            configuration = self._configurations.get(actor, pane.configuration)
            row |= {"slug": configuration.slug, "configuration_id": configuration.id}
            system = question.system_prompt if pane.system_prompt is None else pane.system_prompt
            template = question.template
            below, tags = (template.parameters, template.tags) if template else ({}, question.tags)
            parameters = {**below, **pane.parameters, **question.parameters()}
            request = CallRequest(
                actor=actor,
                messages=self._build_messages(actor, question, configuration, system),
                configuration=configuration.id,
                origin=Origin.PLAYGROUND,
                system_prompt=system,
                parameters=parameters,
                tags={"playground_run": run_id, **tags},
                cache_policy=cache_policy,
            )
            outside = PASSAGES if question.collections else DOCUMENT if question.files else ""
            names = question.tool_names
            row["call_id"] = self._turns.ask(request, configuration, names=names, outside=outside)
        except LLMManagerError as error:
            row |= {"failure": error, "error": str(error)}
        return row

    def _build_messages(
        self, actor: Actor, question: PlaygroundQuestion, configuration: Configuration, system: str | None
    ) -> list[dict[str, Any]]:
        """Build the messages to send: the question with the passages that fit the model's window."""
        messages = [{"role": "user", "content": build_content(question, configuration)}]
        if question.collections and question.content is None:
            own = configuration.system_prompt if system is None else system
            spent = estimate_tokens(read_message_text(messages[0])) + estimate_tokens(own)
            passages = self._grounding().ground(actor, question.collections, question.prompt, configuration, (), spent)
            if passages.parts:
                replace_question(messages, passages.text)
        return messages
