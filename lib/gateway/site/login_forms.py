"""The two pages that a stranger sees, as plain HTML forms: log in, and create the administrator.

Real forms, so that password managers work; no script runs before somebody has signed in. Colours and sizes are the
theme's. Everything shown is escaped here.
"""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from lib.access.access_links import AccessLink
from lib.errors import LLMManagerError

_ASSETS = Path(__file__).resolve().parents[2] / "ui" / "assets"
_LOGO = (
    (_ASSETS / "logo.svg").read_text(encoding="utf-8").replace("<svg ", '<svg role="img" aria-label="LLM Manager" ', 1)
)
_ICON = "data:image/svg+xml;base64," + b64encode((_ASSETS / "mark.svg").read_bytes()).decode()


def _find_font() -> str:
    """The file name of the pages' own typeface, which carries a hash of its version."""
    spec = find_spec("streamlit")
    folder = Path(str(spec.origin if spec else "")).parent / "static" / "static" / "media"
    return next((path.name for path in folder.glob("SourceSansVF-Upright*.woff2")), "")


_STYLE = """
:root{--page:#fff;--text:#0E1621;--caption:#586374;--field:#F4F6F8;--border:#DCE1E7;--accent:#0B6477;--on:#fff;
--red:#A92A25;--redpage:#FDF0EF;color-scheme:light dark}
@media (prefers-color-scheme:dark){:root{--page:#12171D;--text:#E3E8EE;--caption:#A3AFBD;--field:#1C232B;
--border:#313B46;--accent:#4FB3C6;--on:#000;--red:#F59C96;--redpage:#3A1E1F}}
@font-face{font-family:"Source Sans";src:url("/static/media/FONT") format("woff2");
font-weight:200 900}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--text);font:15px/1.55 "Source Sans",sans-serif}
main{max-width:432px;margin:0 auto;padding:64px 24px 48px}svg{display:block;height:32px;width:auto;color:var(--caption)}
h1{font-size:1.6rem;font-weight:650;line-height:1.2;margin:24px 0 8px}p{margin:0 0 16px}
label{display:block;font-size:.875rem;margin:16px 0 4px}
input{width:100%;height:40px;padding:0 12px;font:inherit;color:inherit;background:var(--field);
border:1px solid var(--border);border-radius:6px}
input:focus-visible,button:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
button{width:100%;height:40px;margin:24px 0 16px;font:inherit;font-weight:600;color:var(--on);background:var(--accent);
border:0;border-radius:6px;cursor:pointer}button:hover{filter:brightness(1.08)}
.hint,.field{font-size:.875rem;color:var(--caption)}.field{color:var(--red);margin:4px 0 0}
.error{color:var(--red);background:var(--redpage);border-radius:6px;padding:12px 16px;margin:0 0 8px}
.error b{display:block}
""".replace("FONT", _find_font())


@dataclass(frozen=True)
class LoginField:
    """An input: its name, label, type, what password managers call it, and what it holds again after an error."""

    name: str
    label: str
    kind: str = "text"
    autocomplete: str = "off"
    value: str = ""
    placeholder: str = ""


def build_login_page(error: LLMManagerError | None = None, name: str = "", address: str = "") -> str:
    """User name and password."""
    fields = (
        LoginField("name", "User name", autocomplete="username", value=name),
        LoginField("password", "Password", "password", "current-password"),
    )
    action = "/login" + (f"?next={escape(address, quote=True)}" if address else "")
    return _build_page("Sign in", "", fields, "Sign in", "No account? Ask your administrator for one.", action, error)


def build_setup_page(error: LLMManagerError | None = None, name: str = "", code: str = "") -> str:
    """The first account, with the code from the terminal."""
    intro = "This account manages people, keys and budgets. More people can join afterwards, each with their own role."
    fields = (
        LoginField(
            "code", "Set-up code, from the terminal that started LLM Manager", value=code, placeholder="XXXX-XXXX-XXXX"
        ),
        LoginField("name", "User name", autocomplete="username", value=name, placeholder="for example amira"),
        LoginField("password", "Password, 12 characters or more", "password", "new-password"),
        LoginField("again", "Password again", "password", "new-password"),
    )
    note = "Nothing leaves this server until you add a provider."
    return _build_page("Create the administrator", intro, fields, "Create account and sign in", note, "/setup", error)


def build_link_page(link: AccessLink, token: str, error: LLMManagerError | None = None, name: str = "") -> str:
    """A new account in a team, or a new password."""
    passwords = (
        LoginField("password", "Password, 12 characters or more", "password", "new-password"),
        LoginField("again", "Password again", "password", "new-password"),
    )
    action = f"/link?token={quote(token, safe='')}"
    if link.name:
        intro = f"This sets a new password for {link.name} and ends their sessions."
        return _build_page("New password", intro, passwords, "Set password", "The link works once.", action, error)
    intro = f"You are invited into {link.team}. Choose the name and password you will sign in with."
    fields = (LoginField("name", "User name", autocomplete="username", value=name), *passwords)
    return _build_page(
        "Make your account", intro, fields, "Make account and sign in", "The link works once.", action, error
    )


def build_error_page(message: str) -> str:
    """A page that says why another can't be shown."""
    title = "This page can't be shown"
    return f'{_build_head(title)}<p class="error" role="alert">{escape(message)}</p></main></body></html>'


def _build_page(
    title: str,
    intro: str,
    fields: Sequence[LoginField],
    button: str,
    note: str,
    action: str,
    error: LLMManagerError | None,
) -> str:
    at_field = getattr(error, "field", None) if error else None
    field_names = {field.name for field in fields}
    box = _build_error_box(error) if error is not None and at_field not in field_names else ""
    focus = at_field if at_field in field_names else next((field.name for field in fields if not field.value), "")
    inputs = "".join(
        _build_input(field, error if at_field == field.name else None, field.name == focus) for field in fields
    )
    return (
        f"{_build_head(title)}"
        f'{f"<p>{escape(intro)}</p>" if intro else ""}{box}<form method="post" action="{action}">{inputs}'
        f'<button type="submit">{escape(button)}</button></form><p class="hint">{escape(note)}</p></main></body></html>'
    )


def _build_head(title: str) -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        f'content="width=device-width,initial-scale=1"><title>{escape(title)} · LLM Manager</title>'
        f'<link rel="icon" href="{_ICON}"><style>{_STYLE}</style></head>'
        f"<body><main>{_LOGO}<h1>{escape(title)}</h1>"
    )


def _build_input(field: LoginField, error: LLMManagerError | None, focus: bool) -> str:
    state = f' aria-invalid="true" aria-describedby="{field.name}-error"' if error else ""
    message = f'<p class="field" id="{field.name}-error">{escape(str(error))}</p>' if error else ""
    return (
        f'<label for="{field.name}">{escape(field.label)}</label><input id="{field.name}" name="{field.name}" '
        f'type="{field.kind}" autocomplete="{field.autocomplete}" value="{escape(field.value, quote=True)}" '
        f'placeholder="{escape(field.placeholder, quote=True)}" required{" autofocus" if focus else ""}{state}>'
        f"{message}"
    )


def _build_error_box(error: LLMManagerError) -> str:
    return f'<p class="error" role="alert"><b>{escape(error.title)}</b>{escape(error.body)}</p>'
