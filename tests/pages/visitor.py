"""A signed-in person in front of one page: real services, a real session, Streamlit's own test runner."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from lib import services as service_root
from lib.access.permissions import OPERATOR, Role
from lib.cache.policy import CacheRules
from lib.services import Services
from lib.settings import Settings
from lib.ui import session
from tests.waiting import CEILING_S

PAGES = Path(__file__).resolve().parents[2] / "pages"
_SCRIPT = """
import streamlit as st
from lib.ui import session
pages = {name: st.Page(f"{folder}/{name}.py", url_path=name, default=name == wanted) for name in names}
session.register(pages)
st.navigation(list(pages.values()), position="hidden").run()
"""


class Visitor:
    """Opens pages as one user."""

    def __init__(self, settings: Settings, monkeypatch: pytest.MonkeyPatch, role: Role) -> None:
        self.services: Services = service_root.build(settings)
        service_root.use(self.services)
        self.services.users.create(OPERATOR, "amira", "a long enough password", role)
        token = self.services.sessions.login("amira", "a long enough password", "127.0.0.1", "test")
        monkeypatch.setattr(session, "read_token", lambda: token)
        monkeypatch.setattr(session, "describe_place", lambda: "page 192.0.2.7")
        monkeypatch.setattr(service_root, "current", lambda: self.services)

    def open(self, name: str, **query: str) -> AppTest:
        """The page, drawn once without an exception."""
        names = sorted(path.stem for path in PAGES.glob("*.py"))
        page = AppTest.from_string(
            f"folder, names, wanted = {str(PAGES)!r}, {names!r}, {name!r}\n{_SCRIPT}", default_timeout=CEILING_S
        )
        for key, value in query.items():
            page.query_params[key] = value
        return run(page)

    def draw(self, dialog: str, subject: str = "") -> AppTest:
        """A dialog's body by itself (the test runner knows no fragments): `module.function`, and whom it is about."""
        module, function = dialog.rsplit(".", 1)
        about = f", services.{subject}" if subject else ""
        script = f"""
from {module} import {function}
from lib.ui import session
services, actor = session.ensure_services(), session.require_actor()
{function}(services, actor{about})
"""
        return run(AppTest.from_string(script, default_timeout=CEILING_S))

    def remember(self, slug: str) -> None:
        """Let a configuration answer the same request from memory."""
        configuration = self.services.configurations.get(OPERATOR, slug)
        self.services.cache.change_rules(OPERATOR, configuration.id, CacheRules(exact=True))

    def close(self) -> None:
        """Leave nothing open."""
        self.services.close()
        service_root.use(None)


def run(page: AppTest) -> AppTest:
    """Draw the page (again); an exception on it fails the test."""
    page.run()
    assert not page.exception, page.exception
    return page


def press(page: AppTest, label: str, nth: int = 0) -> AppTest:
    """Press the button with this label."""
    found = [button for button in page.button if button.label == label]
    found[nth].click()
    return run(page)


def words(page: AppTest) -> str:
    """Everything the page says."""
    shown = (page.title, page.subheader, page.markdown, page.caption, page.error, page.warning, page.success)
    return "\n".join(str(element.value) for elements in shown for element in elements)


def press_last(page: AppTest, label: str) -> None:
    """Press a button after which the dialog closes: what it was about may be gone when the script runs again."""
    next(button for button in page.button if button.label == label).click()
    page.run()
