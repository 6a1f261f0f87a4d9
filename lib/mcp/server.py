"""A server of tools of others as a value: how it is reached, what is wanted, how it is, and what a person may set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from lib.errors import InvalidInput
from lib.mcp import pins, processes
from lib.mcp.pins import PinnedTool
from lib.patterns import compile_pattern
from lib.providers import hosts

_NAME = compile_pattern(r"[a-z0-9](?:[a-z0-9-]|_(?!_)){0,38}[a-z0-9]|[a-z0-9]")
_VARIABLE = compile_pattern(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_HEADER = compile_pattern(r"[A-Za-z0-9-]{1,100}")
_KEPT = frozenset({"PATH", "HOME", "TMPDIR", "LD_PRELOAD", "LD_LIBRARY_PATH", processes.TOKEN})
RESERVED = frozenset({"filesystem", "database", "operations", "code"})  # the bundled servers
SIGN_IN_PLACE = "Sign in on the page Tools, under Sign-ins."
_MOST_ARGUMENTS = 100
_LONGEST_ARGUMENT = 4_000
_LONGEST_SECRET = 20_000
_LONGEST_CLIENT = 2_000


class ActualState(StrEnum):
    """How a server is, apart from what is wanted of it."""

    OFF = "off"
    STARTING = "starting"
    READY = "ready"
    NO_TOOLS = "no tools"
    LOST = "lost"  # it was there, and is not
    RESTARTING = "restarting"  # after it was lost, or because somebody asked
    NEEDS_SIGN_IN = "needs sign-in"
    CRASHED = "crashed"  # it ended while it was being started
    GIVEN_UP = "given up"

    @property
    def answers(self) -> bool:
        """Whether tools can be run now."""
        return self in (ActualState.READY, ActualState.NO_TOOLS)


@dataclass(frozen=True)
class ServerDraft:
    """What a person sets of a server. One of `command` (the whole argument vector) and `url`; `secrets` are values of
    variables, or of headers, by name. `issuer` is the authorization server that people sign in at, where the server's
    own word is not enough; `client_id` is what it knows this installation as, registered by hand. An empty
    `client_secret` keeps the one that is stored for the same client.
    """

    name: str
    command: Sequence[str] = ()
    url: str = ""
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    title: str = ""
    allow_private: bool = False
    memory_mb: int = 2048
    issuer: str = ""
    client_id: str = ""
    client_secret: str = field(default="", repr=False)

    @property
    def transport(self) -> str:
        """How it is reached: `stdio` or `http`."""
        return "stdio" if self.command else "http"

    def check(self) -> None:
        """Raise InvalidInput for what can't be used."""
        if not _NAME.fullmatch(self.name):
            why = f"{self.name[:40]!r} must be small letters, digits, dashes and single underscores, at most 40."
            raise InvalidInput("The name can't be used.", why, "Write it like weather.", field="name")
        if self.name in RESERVED:
            raise InvalidInput("The name is taken.", f"{self.name} comes with the product.", "Choose another.", "name")
        if bool(self.command) == bool(self.url):
            raise InvalidInput("Give either a command or an address.", "", "Leave one of them out.", field="command")
        if self.url:
            hosts.check(self.url, allow_private=self.allow_private)
        self._check_sign_in()
        too_many = len(self.command) > _MOST_ARGUMENTS
        if too_many or any(not part or "\0" in part or len(part) > _LONGEST_ARGUMENT for part in self.command):
            raise InvalidInput("The command can't be used.", "A part is empty or too long.", "Correct it.", "command")
        if not 64 <= self.memory_mb <= 65_536:
            raise InvalidInput("The memory can't be used.", "It must be 64 to 65,536 MB.", "Correct it.", "memory_mb")
        form = _VARIABLE if self.command else _HEADER
        for name, value in self.secrets.items():
            is_kept = name.upper() in _KEPT if self.command else name.lower() in ("host", "content-length", "cookie")
            if is_kept or not form.fullmatch(name) or "\0" in value or len(value) > _LONGEST_SECRET:
                kind = "variable" if self.command else "header"
                raise InvalidInput(f"{name[:60]!r} can't be a {kind}.", "", "Use another name.", field="secrets")
            if self.url and not (value.isprintable() and value.isascii()):
                raise InvalidInput(f"The header {name} can't be sent.", "It holds odd signs.", "Correct it.", "secrets")

    def _check_sign_in(self) -> None:
        """Raise InvalidInput for an authorization server or a client that can't be used."""
        if not (self.issuer or self.client_id or self.client_secret):
            return
        if not self.url:
            raise InvalidInput("Nobody signs in at a program here.", "", "Leave the sign-in out.", field="issuer")
        if not self.issuer:
            why = "What is registered by hand goes to one authorization server alone."
            raise InvalidInput("The authorization server is missing.", why, "Give its address.", field="issuer")
        try:
            hosts.check(self.issuer, allow_private=self.allow_private)
        except InvalidInput as error:
            raise InvalidInput("The authorization server can't be used.", error.title, error.fix, "issuer") from None
        if self.client_secret and not self.client_id:
            raise InvalidInput("The secret belongs to no client.", "", "Give the client's id.", field="client_id")
        longest = max(len(self.client_id), len(self.client_secret))
        is_plain = all(text.isprintable() and text.isascii() for text in (self.client_id, self.client_secret))
        if longest > _LONGEST_CLIENT or not is_plain:
            why = f"Id and secret have at most {_LONGEST_CLIENT:,} plain characters."
            raise InvalidInput("The client can't be used.", why, "Correct it.", field="client_id")


@dataclass(frozen=True)
class ServerState:
    """How a server is on one machine. `tools` is the last good list, None where there was none; `is_stale`: it may have
    changed since.
    """

    machine: str
    actual: ActualState
    reason: str
    since: datetime
    protocol: str = ""
    server_version: str = ""
    tools: Sequence[Mapping[str, Any]] | None = None
    resources: Sequence[Mapping[str, Any]] = ()
    prompts: Sequence[Mapping[str, Any]] = ()
    tools_at: datetime | None = None
    error_text: str = field(default="", repr=False)
    pid: int | None = None
    listed_as: str | None = None  # whose sign-in the tools were listed with

    @property
    def is_stale(self) -> bool:
        """Whether the list of tools was read before the server was lost."""
        return self.tools is not None and not self.actual.answers


@dataclass(frozen=True)
class McpServer:
    """A server with its state here and its tools against their pins."""

    id: str
    name: str
    title: str
    transport: str
    command: tuple[str, ...]
    url: str
    allow_private: bool
    secret_names: tuple[str, ...]
    limits: Mapping[str, int]
    wanted: str
    revision: int
    is_approved: bool
    approved_at: datetime | None
    pinned_version: str | None
    user_id: str | None
    team_id: int
    created_at: datetime
    state: ServerState
    tools: Sequence[PinnedTool]
    signed_in: frozenset[str] = frozenset()  # ids of people
    issuer: str = ""
    client_id: str = ""

    @property
    def approval_hash(self) -> str:
        """The hash of what an administrator approves; see `pins.hash_command`."""
        return pins.hash_command(self.command, self.url, self.secret_names)

    @property
    def offered(self) -> list[PinnedTool]:
        """Tools that models may call while the server is ready."""
        return [tool for tool in self.tools if tool.is_offered]

    @property
    def waiting(self) -> list[PinnedTool]:
        """Tools that wait for an administrator."""
        return [tool for tool in self.tools if not tool.is_offered]

    @property
    def takes_sign_in(self) -> bool:
        """Whether people may sign in there: it is at an address, and no header has its credentials."""
        return bool(self.url) and "authorization" not in {name.lower() for name in self.secret_names}

    @property
    def private_places(self) -> frozenset[str]:
        """Scheme, host and port of the addresses inside the network that a sign-in there may lead to."""
        if not self.allow_private:
            return frozenset()
        return frozenset(hosts.parse_host(address) for address in (self.url, self.issuer) if address)

    @property
    def requires_sign_in(self) -> bool:
        """Whether its tools are each person's own: it was listed with a sign-in, or waits for one."""
        waits = self.state.actual is ActualState.NEEDS_SIGN_IN
        return self.takes_sign_in and (waits or self.state.listed_as is not None)

    def explain_absence(self, user_id: str | None) -> str:
        """Why a person can't have its tools now, as a sentence; empty when they can."""
        is_missing = self.wanted == "on" and self.requires_sign_in and user_id not in self.signed_in
        if is_missing and (self.state.actual is ActualState.NEEDS_SIGN_IN or not self.absence):
            return f"It wants each person to sign in. {SIGN_IN_PLACE}"
        return self.absence

    def explain_unattended(self, user_id: str | None) -> str:
        """Say what the server's sign-in means for a person's runs that begin by themselves."""
        if user_id in self.signed_in:
            return (
                f"{self.name} is used with your own sign-in there: runs that begin by themselves fail once it"
                " has ended, until you sign in again."
            )
        fails = "and you have not: runs that begin by themselves fail."
        return f"{self.name} wants each person to sign in, {fails} {SIGN_IN_PLACE}"

    @property
    def absence(self) -> str:
        """Why its tools can't be had now, as a sentence; empty when they can."""
        if self.wanted != "on":
            return "It is switched off."
        if self.state.actual is ActualState.READY:
            return "" if self.offered else "None of its tools is approved."
        reason = f": {self.state.reason}" if self.state.reason else ""
        return f"It is {self.state.actual}{reason}".rstrip(".") + "."
