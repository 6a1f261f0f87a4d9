"""The pieces of the Prompts page: the table with what each was used for, and the panel of one template."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zoneinfo import ZoneInfo

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.errors import LLMManagerError
from lib.money import format_sum
from lib.prompts.template import PRODUCTION, PromptVersion, Template, fill_text, write_values
from lib.services import Services
from lib.ui import blocks, format, grammar, session, session_keys, text_difference
from lib.ui.prompts import prompt_editor
from lib.ui.prompts.variable_inputs import draw_variable_inputs

CATEGORY = "prompts_category"


@dataclass(frozen=True)
class Use:
    """What a template was used for: calls, nano-dollars or None, and calls that are not, or not wholly, in these."""

    calls: int = 0
    cost_nano_usd: int | None = 0
    unpriced: int = 0

    @property
    def cost(self) -> str:
        """The cost as text, marked where it is not whole."""
        return format_sum(self.cost_nano_usd, self.unpriced)


def clear_search() -> None:
    """Show every prompt again."""
    st.session_state[session_keys.SEARCH_WORDS] = ""
    st.session_state[CATEGORY] = None


def count_uses(services: Services, actor: Actor) -> Mapping[str, Use]:
    """Calls, cost and unpriced calls by template, of the calls that the actor may see."""
    import pandas as pd

    from lib.statistics.filters import StatisticsFilter
    from lib.statistics.measures import Measure, Tag

    measures = [Measure.CALLS, Measure.COST, Measure.UNPRICED]
    frame = services.statistics.pivot(actor, StatisticsFilter(), [Tag("template")], measures)
    rows = zip(frame["tag.template"], frame["calls"], frame["cost"], frame["unpriced"], strict=True)
    return {
        str(slug): Use(int(calls), None if pd.isna(cost) else int(cost), int(unpriced))
        for slug, calls, cost, unpriced in rows
        if not pd.isna(slug)
    }


def draw_table(
    templates: Sequence[Template], used: Mapping[str, Use], selected: str | None, *, compact: bool
) -> str | None:
    """The table; the slug of the row that is selected."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "slug": [template.slug for template in templates],
            "category": [template.category or None for template in templates],
            "app": [template.app or "every app" for template in templates],
            "labels": [[f"{name} {version}" for name, version in template.labels.items()] for template in templates],
            "newest": [template.newest for template in templates],
            "calls": [used.get(template.slug, Use()).calls for template in templates],
            "cost": [used.get(template.slug, Use()).cost for template in templates],
        }
    )
    rows = [index for index, template in enumerate(templates) if template.slug == selected]
    text = st.column_config.TextColumn
    number = st.column_config.NumberColumn
    position = grammar.choose_row(
        frame,
        height=min(30 * len(templates) + 38, 250),
        placeholder="—",
        default=next(iter(rows), None),
        key="prompts-" + str(hash(tuple(template.slug for template in templates))),
        column_order=["slug", "labels", "calls"] if compact else list(frame.columns),
        column_config={
            "slug": text("Name", width=120 if compact else 190),
            "category": text("Category", width=110),
            "app": text("App", width=100),
            "labels": st.column_config.ListColumn("Labels", width=130 if compact else 230),
            "newest": number("Newest", width=70),
            "calls": number(
                "Calls",
                width=format.compute_column_width([f"{calls:,}" for calls in frame["calls"]], 70),
                format="localized",
            ),
            "cost": text(
                "Cost",
                width=format.compute_column_width(frame["cost"], 84),
                alignment="right",
                help="— means a call's cost is unknown",
            ),
        },
    )
    return templates[position].slug if position is not None and position < len(templates) else None


def draw_panel(services: Services, actor: Actor, template: Template, use: Use, *, compact: bool) -> None:
    """Editor left; variables, versions and a try right."""
    versions = services.prompts.versions(actor, template.slug)
    newest = versions[0]
    base, opened_version = _find_opened_version(template, versions)
    locked = not actor.can(Permission.EDIT_CONFIGS)
    editor_column, side_column = (st.container(), st.container()) if compact else st.columns([1.35, 1], gap="small")
    with editor_column.container(border=True):
        _draw_head(services, actor, template, use)
        if base != newest.version:
            st.warning(f"{blocks.escape_markdown(newest.user_name)} saved version {newest.version} meanwhile.")
            if st.button("Show it", help="What stands here and was not saved is dropped."):
                prompt_editor.close()
                st.rerun()
        elif opened_version is not newest:
            st.info(
                f"The words of version {opened_version.version}. Saving makes version {newest.version + 1} of them."
            )
        key = f"{template.slug}-{base}-{opened_version.version}"
        text, system, parameters = prompt_editor.draw_words(opened_version, key, locked=locked)
        foot = st.container()
    with side_column.container(border=True):
        variables, history, trial = st.tabs(["Variables", "Versions", "Try"])
        with variables:
            declared = prompt_editor.draw_variables(text, system, opened_version, key, locked=locked)
        with history:
            _draw_versions(services, actor, template, versions)
        with trial:
            _try(template, newest)
    with foot:
        draft = prompt_editor.build_draft(text, system, declared, parameters)
        prompt_editor.save(services, actor, template, draft, base)
    with st.container(border=True):
        _draw_difference(versions)


def _find_opened_version(template: Template, versions: Sequence[PromptVersion]) -> tuple[int, PromptVersion]:
    """The version that was the newest when the editor was opened, and the one whose words it began with."""
    slug, base, number = prompt_editor.read_opened()
    opened_version = (
        next((version for version in versions if version.version == number), None) if slug == template.slug else None
    )
    if opened_version is None:
        base = versions[0].version
        opened_version = versions[0]
        prompt_editor.open_at(template.slug, base, base)
    return base, opened_version


def _draw_head(services: Services, actor: Actor, template: Template, use: Use) -> None:
    with blocks.start_row(gap="xsmall"):
        st.subheader(blocks.escape_markdown(template.slug), anchor=False, width="stretch")
        with st.popover("More", icon=":material/more_horiz:", type="tertiary"), st.container(gap="xsmall"):
            may_edit = actor.can(Permission.EDIT_CONFIGS)
            may_delete = actor.can(Permission.DELETE_CONFIGS)
            if st.button("Describe", icon=":material/edit:", type="tertiary", disabled=not may_edit):
                st.dialog(f"Describe {template.slug}")(prompt_editor.draw_about_dialog)(services, actor, template)
            st.page_link(
                session.page("playground"),
                label="Open in playground",
                icon=":material/play_circle:",
                query_params={"prompt": template.slug},
            )
            st.page_link(
                session.page("experiments"),
                label="Run over a table",
                icon=":material/science:",
                query_params={"prompt": template.slug},
            )
            if st.button(":red[Delete]", icon=":material/delete:", type="tertiary", disabled=not may_delete):
                st.dialog(f"Delete {template.slug}?")(delete_dialog)(services, actor, template)
    about = [template.description, template.category, f"app {template.app}" if template.app else "every app"]
    about += [f"{format.format_count(use.calls)} calls, {use.cost}"]
    st.caption(" · ".join(blocks.escape_markdown(part) for part in about if part))


def _draw_versions(services: Services, actor: Actor, template: Template, versions: Sequence[PromptVersion]) -> None:
    zone = services.preferences.report_zone(actor)
    locked = not actor.can(Permission.EDIT_CONFIGS)
    for prompt_version in versions[:20]:
        labels = [name for name, version in template.labels.items() if version == prompt_version.version]
        with st.container(border=True, gap="xsmall"):
            with blocks.start_row(gap="xsmall"):
                st.markdown(f"**Version {prompt_version.version}**", width="content")
                for name in labels:
                    st.badge(blocks.escape_markdown(name), color="green" if name == PRODUCTION else "gray")
            st.caption(_describe_author(prompt_version, zone))
            with blocks.start_row():
                if PRODUCTION not in labels and st.button(
                    "Make production", key=f"production-{prompt_version.version}", disabled=locked
                ):
                    prompt_editor.move(services, actor, template.slug, PRODUCTION, prompt_version.version)
                with st.popover("Label", type="tertiary", disabled=locked):
                    prompt_editor.label_popover(services, actor, template, prompt_version.version)
                may_edit = prompt_version is not versions[0] and not locked
                if may_edit and st.button("Edit", type="tertiary", key=f"from-{prompt_version.version}"):
                    prompt_editor.open_at(template.slug, versions[0].version, prompt_version.version)
                    st.rerun()
    if len(versions) > 20:
        st.caption(f"And {len(versions) - 20} older ones.")


def _describe_author(version: PromptVersion, zone: ZoneInfo) -> str:
    line = f"{version.user_name}, {format.format_moment(version.created_at, zone)}" + (
        f": {version.reason}" if version.reason else ""
    )
    return blocks.escape_markdown(line)


def _try(template: Template, version: PromptVersion) -> None:
    """The newest version, filled; nothing is sent."""
    values = draw_variable_inputs(version.variables, f"try-{template.slug}-{version.version}", examples=True)
    try:
        written = write_values(version.variables, values)
    except LLMManagerError as error:
        st.caption(blocks.escape_markdown(error.why))
        return
    if version.system_prompt:
        st.caption("System prompt")
        st.code(fill_text(version.system_prompt, written), language=None, wrap_lines=True)
    st.caption("Prompt")
    st.code(fill_text(version.text, written), language=None, wrap_lines=True)


def _draw_difference(versions: Sequence[PromptVersion]) -> None:
    if len(versions) < 2:
        st.caption("Saved once so far: there is nothing to compare yet.")
        return
    with blocks.start_row():
        st.subheader("Compare versions", anchor=False, width="stretch")
        numbers = [version.version for version in versions]
        key = f"diff-{versions[0].created_at}"
        old = st.selectbox(
            "From",
            numbers,
            1,
            format_func=lambda n: f"Version {n}",
            label_visibility="collapsed",
            width=120,
            key=f"{key}-old",
        )
        new = st.selectbox(
            "To",
            numbers,
            0,
            format_func=lambda n: f"Version {n}",
            label_visibility="collapsed",
            width=120,
            key=f"{key}-new",
        )
    by_number = {version.version: version for version in versions}
    old_version = by_number[old]
    new_version = by_number[new]
    parts = [
        ("System prompt", old_version.system_prompt or "", new_version.system_prompt or ""),
        ("", old_version.text, new_version.text),
    ]
    parts += [
        ("Variables", _list_variables(old_version), _list_variables(new_version)),
        ("Parameters", _list_parameters(old_version), _list_parameters(new_version)),
    ]
    changed = [(title, first, second) for title, first, second in parts if first != second]
    if not changed:
        st.caption("They are the same.")
    for title, first, second in changed:
        if title:
            st.caption(title)
        text_difference.show(first, second, (f"Version {old}", f"Version {new}"))


def _list_variables(version: PromptVersion) -> str:
    lines = []
    for variable in version.variables:
        details = [f"default {variable.default}"] if variable.default is not None else []
        details += [f"one of {', '.join(variable.choices)}"] if variable.choices else []
        lines.append(f"{variable.name}: {', '.join([variable.type.value, *details])}")
    return "\n".join(lines)


def _list_parameters(version: PromptVersion) -> str:
    return "\n".join(f"{name}: {value}" for name, value in sorted(version.parameters.items()))


def delete_dialog(services: Services, actor: Actor, template: Template) -> None:
    """Ask before a template is deleted, saying what stays of it."""
    st.markdown("Programs that use it by name get an error from then on. Its calls and their cost stay in the ledger.")
    with blocks.start_row():
        if st.button("Keep prompt"):
            st.rerun()
        if st.button(":red[Delete prompt]"):
            with blocks.show_errors():
                services.prompts.delete(actor, template.slug)
                st.query_params.pop("id", None)
                st.rerun()


def import_dialog(services: Services, actor: Actor) -> None:
    """Upload a document and say what came of it."""
    st.caption("A JSON file made by Export. Names that exist are left as they are.")
    file = st.file_uploader("Export file", type="json", label_visibility="collapsed")
    if st.button("Import prompts", type="primary", disabled=file is None) and file is not None:
        with blocks.show_errors():
            done = services.prompts.import_json(actor, file.getvalue())
            st.success(f"{len(done.created)} added, {len(done.skipped)} skipped because the name exists.")
