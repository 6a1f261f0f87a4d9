"""The pieces of the Prices page: what has no price, the list, the editor of one model, import and export."""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from functools import partial
from typing import Any

import streamlit as st

from lib.access.permissions import Actor, Permission
from lib.clock import utc_now
from lib.errors import InvalidInput, LLMManagerError
from lib.files.text import decode_text
from lib.money import NANO_PER_USD, format_price
from lib.providers.kinds import FACTS, ProviderKind
from lib.providers.prices import price_list
from lib.providers.prices.rates import Price, Rates, Tier
from lib.services import Services
from lib.statistics.filters import Dimension, StatisticsFilter
from lib.ui import blocks, format, grammar, session_keys

_LABELS = {
    "input": "Input",
    "output": "Output",
    "cache_read": "Cache read",
    "cache_write": "Cache write, 5 min",
    "cache_write_1h": "Cache write, 1 h",
    "reasoning": "Reasoning",
    "image": "Per image, $",
    "request": "Per request, $",
}
_MODALITY_LABELS = {
    "audio_input": "Audio in",
    "audio_output": "Audio out",
    "audio_cache_read": "Audio, cache read",
    "image_input": "Image in",
    "image_output": "Image out",
    "image_cache_read": "Image, cache read",
    "video_input": "Video in",
    "video_output": "Video out",
    "video_cache_read": "Video, cache read",
    "audio_second": "Audio, a second, $",
    "video_second": "Video, a second, $",
}
_ALL_LABELS = _LABELS | _MODALITY_LABELS
_HEADS = {"cache_read": "Read", "cache_write": "Write"}  # where there is little room
_PAGE = 200
_MOST_BYTES = 20_000_000


def show_unpriced(services: Services, actor: Actor) -> None:
    """The models whose calls have no cost, each with the way to its price; nothing when all are priced."""
    frame = services.statistics.by(actor, StatisticsFilter(), Dimension.PROVIDER, Dimension.MODEL)
    frame = frame[frame.unpriced_calls > 0].sort_values("unpriced_calls", ascending=False)
    if frame.empty:
        return
    kinds = {provider.name: provider.kind for provider in services.providers.list(actor)}
    with st.container(border=True):
        many = int(frame.unpriced_calls.sum())
        st.subheader(f"{many:,} {'call' if many == 1 else 'calls'} without a price", anchor=False)
        st.caption("They are in no total. Set the price of their model, then price these calls again.")
        position = grammar.choose_row(
            frame[["provider", "model", "unpriced_calls", "total_tokens"]],
            height="content" if len(frame) < 8 else 260,
            key="unpriced-models",
            column_config={
                "provider": st.column_config.TextColumn("Provider", width=110),
                "model": st.column_config.TextColumn("Model"),
                "unpriced_calls": st.column_config.NumberColumn(
                    "Calls",
                    format="localized",
                    width=format.compute_column_width([f"{n:,}" for n in frame.unpriced_calls], 80),
                ),
                "total_tokens": st.column_config.NumberColumn(
                    "Tokens",
                    format="localized",
                    width=format.compute_column_width([f"{n:,}" for n in frame.total_tokens.dropna()], 110),
                ),
            },
        )
        row = frame.iloc[position] if position is not None and position < len(frame) else None
        label = "Set price" if row is None else f"Set the price of {row.model}"
        locked = row is None or not actor.can(Permission.MANAGE_PROVIDERS)
        if st.button(label, icon=":material/sell:", disabled=locked, help="Choose a model above") and row is not None:
            kind = kinds.get(row.provider, row.provider)
            oldest = services.repricing.oldest_unpriced(actor, row.provider, row.model) or utc_now()
            blank = Price(kind, row.model, oldest, (Tier(0, Rates(0, 0)),))
            st.dialog("Set a price")(edit_price)(services, actor, blank, is_new=True)


def show_prices(services: Services, actor: Actor, *, compact: bool) -> None:
    """Search, the prices in force, and the model that was chosen."""
    text, kind, own_only = _draw_filters()
    page_text = st.query_params.get("page", "1")
    number = int(page_text) if page_text.isdecimal() and len(page_text) < 5 else 1
    answer = services.price_entries.search(
        actor, text, kind, own_only=own_only, skip=max(0, number - 1) * _PAGE, most=_PAGE
    )
    prices = answer.prices
    if not prices:
        with blocks.show_empty_state("sell", "No price matches", "Try fewer words, or set a price of your own."):
            st.caption("Models that run on your own machines are free and need none.", text_alignment="center")
        return
    position = _draw_prices(prices, compact=compact)
    with blocks.start_row(horizontal_alignment="distribute"):
        many = f"{answer.total:,} {'model' if answer.total == 1 else 'models'}"
        st.caption(f"{many} · ● your own · choose a line to see or change its price", width="content")
        if (pages := -(-answer.total // _PAGE)) > 1:
            key = f"price-page-{text}-{kind}-{own_only}"
            st.pagination(
                pages, default=number, max_visible_pages=5, width=332, key=key, on_change=_turn_page, args=(key,)
            )
    if position is not None and position < len(prices):
        _show_model(services, actor, prices[position])


def _draw_filters() -> tuple[str, str | None, bool]:
    """Draw the words, the provider's kind and whether only own prices are listed, as the address has them."""
    query = st.query_params
    with blocks.start_row():
        text = st.text_input(
            "Search",
            query.get("q", ""),
            placeholder="Search models",
            icon=":material/search:",
            label_visibility="collapsed",
            key="price-search",
        )
        kinds = [kind.value for kind in ProviderKind if not FACTS[kind].in_process]
        kind_name = query.get("kind")
        kind = st.selectbox(
            "Provider",
            kinds,
            index=kinds.index(kind_name) if kind_name in kinds else None,
            placeholder="Any provider",
            format_func=lambda name: FACTS[ProviderKind(name)].label,
            label_visibility="collapsed",
            key="price-kind",
        )
        own_only = st.toggle("Own only", query.get("own") == "1", key="price-own")
    parameters = {"q": text, "kind": kind or "", "own": "1" if own_only else ""}
    if any(query.get(name, "") != value for name, value in parameters.items()):
        query.from_dict({name: value for name, value in parameters.items() if value})  # and back to the first page
    return text, kind, own_only


def _draw_prices(prices: Sequence[Price], *, compact: bool) -> int | None:
    """Draw a page of prices, in dollars a million tokens; the number of the line that was chosen."""
    names = ["input", "output"] if compact else list(_LABELS)[:4]
    return grammar.choose_row(
        _build_table(prices, names),
        height=430 if len(prices) > 12 else "content",
        placeholder="—",
        key="price-list",
        column_order=["own", "model", *names] if compact else None,
        column_config={
            "own": st.column_config.TextColumn("", width=28, help="● your own entry"),
            "kind": st.column_config.TextColumn("Provider", width=82),
            "model": st.column_config.TextColumn("Model", width=160 if compact else 190),
            **{
                name: st.column_config.NumberColumn(
                    _HEADS.get(name, _LABELS[name]), width=60 if compact else 72, help=_LABELS[name]
                )
                for name in names
            },
            "tiers": st.column_config.TextColumn(
                "Special",
                width=96,
                help="Longer prompts, or other ways of serving (flex, priority …), have own rates",
            ),
            "since": st.column_config.DateColumn("Since", format="D MMM YYYY", width=90),
            "source": st.column_config.TextColumn("Source"),  # takes the room that is left
        },
    )


def _turn_page(key: str) -> None:
    st.query_params["page"] = str(st.session_state[key])


def _convert_to_dollars(nano: int | None) -> float | None:
    return None if nano is None else nano / NANO_PER_USD


def _build_table(prices: Sequence[Price], names: Sequence[str]) -> Any:
    """The table of prices: numbers, so that they are sorted as such, and how each is written."""
    import pandas as pd

    frame = pd.DataFrame([_format_row(price, names) for price in prices])
    return frame.style.format(dict.fromkeys(names, _write_price), na_rep="—")


def _write_price(dollars: Any) -> str:
    return format_price(round(dollars * NANO_PER_USD))


def _format_row(price: Price, names: Sequence[str]) -> dict[str, Any]:
    rates = {name: _convert_to_dollars(getattr(price.rates, name)) for name in names}
    longest = max(tier.above_tokens for tier in price.tiers)
    ways = len({tier.service_tier for tier in price.tiers}) - 1
    special = [f"> {longest // 1000}k"] if longest else []
    special += [f"{ways} {'way' if ways == 1 else 'ways'}"] if ways else []
    return {
        "own": "●" if price.id else "",
        "kind": price.kind,
        "model": price.model,
        **rates,
        "tiers": " · ".join(special) or None,
        "since": price.valid_from.date(),
        "source": price.source,
    }


def _show_model(services: Services, actor: Actor, price: Price) -> None:
    """The versions of one model's price, with the ways to change them."""
    versions = services.price_entries.versions(actor, price.kind, price.model)
    with st.container(border=True):
        with blocks.start_row():
            title = f"{blocks.escape_markdown(price.kind)} · {blocks.escape_markdown(price.model)}"
            st.subheader(title, anchor=False, width="stretch")
            if st.button("New version", icon=":material/edit:", disabled=not actor.can(Permission.MANAGE_PROVIDERS)):
                st.dialog("Set a price")(edit_price)(services, actor, price)
        for version in reversed(versions):
            with blocks.start_row():
                plain_tier, *special_tiers = version.tiers
                st.markdown(f"**Since {version.valid_from:%-d %b %Y}** · {_describe_tier(plain_tier)}", width="stretch")
                st.caption(blocks.escape_markdown(version.source))
                if version.id and st.button(
                    ":red[Remove]",
                    type="tertiary",
                    key=f"remove-{version.id}",
                    disabled=not actor.can(Permission.MANAGE_PROVIDERS),
                ):
                    st.dialog("Remove this version?")(_remove_version)(services, actor, version)
            if special_tiers:
                with st.expander(f"Long prompts and other ways of serving · {len(special_tiers)}"):
                    st.markdown("\n".join(f"- {_describe_tier(tier)}" for tier in special_tiers))


def _describe_tier(tier: Tier) -> str:
    """The rates of a tier, and when they hold."""
    rates = [
        f"{_ALL_LABELS[name].lower().removesuffix(', $')} \\${price_list.format_exact_dollars(value)}"
        for name in price_list.RATES
        if (value := getattr(tier.rates, name)) is not None
    ]
    heads = [f"**{blocks.escape_markdown(tier.service_tier)}**"] if tier.service_tier else []
    heads += [f"above {tier.above_tokens:,} tokens"] if tier.above_tokens else []
    return f"{', '.join(heads)}: {', '.join(rates)}" if heads else ", ".join(rates)


def _remove_version(services: Services, actor: Actor, version: Price) -> None:
    st.markdown("Calls keep the cost they have. From now on the version before it holds, or none.")
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        if st.button("Keep it"):
            st.rerun()
        if st.button(":red[Remove]"):
            with blocks.show_errors():
                services.price_entries.delete(actor, version.id)
                st.rerun()


def edit_price(services: Services, actor: Actor, price: Price | None, *, is_new: bool = False) -> None:
    """Every rate of one model as decimal dollars, from a day on; long prompts and ways of serving come by import."""
    kinds = [kind.value for kind in ProviderKind]
    left_column, right_column = st.columns(2)
    index = kinds.index(price.kind) if price and price.kind in kinds else 0
    kind = left_column.selectbox(
        "Provider", kinds, index=index, format_func=lambda name: FACTS[ProviderKind(name)].label
    )
    model = right_column.text_input(
        "Model", price.model if price else "", help="* at the end: every model that begins so"
    )
    current_price = None if is_new else price
    cells = _ask_rates(_LABELS, current_price)
    with st.expander(
        "Audio, pictures, video", expanded=any(_find_rate(current_price, name) for name in _MODALITY_LABELS)
    ):
        cells |= _ask_rates(_MODALITY_LABELS, current_price)
    since = st.date_input(
        "Since", price.valid_from.date() if price and is_new else utc_now().date(), help="From this day on, UTC"
    )
    source = st.text_input("Source", placeholder="Price page, contract…", max_chars=200)
    if price is not None and len(price.tiers) > 1:
        st.caption("Its rates for long prompts and other ways of serving stay. Change them by importing a list.")
    if not st.button("Save price", type="primary"):
        return
    try:
        rates = Rates(**_parse_rates(cells))  # type: ignore[arg-type]  # input and output are stated
        moment = datetime.combine(since, time(), UTC)
        longer = price.tiers[1:] if price is not None else ()
        services.price_entries.set(actor, Price(kind, model.strip(), moment, (Tier(0, rates), *longer), source))
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.session_state[session_keys.REPRICED_MODEL] = (model.strip(), since)
    st.rerun()


def _find_rate(price: Price | None, name: str) -> int | None:
    value: int | None = None if price is None else getattr(price.rates, name)
    return value


def _ask_rates(labels: dict[str, str], price: Price | None) -> dict[str, str]:
    """A field for each rate, two a row; what was written in each."""
    columns = st.columns(2)
    cells = dict[str, str]()
    for number, (name, label) in enumerate(labels.items()):
        value = _find_rate(price, name)
        text = "" if value is None else price_list.format_exact_dollars(value)
        hint = "$ per million" if name in ("input", "output") else "not stated"
        cells[name] = columns[number % 2].text_input(label, text, placeholder=hint, key=f"rate-{name}")
    return cells


def _parse_rates(cells: dict[str, str]) -> dict[str, int | None]:
    rates: dict[str, int | None] = {}
    for name, text in cells.items():
        try:
            rates[name] = price_list.parse_nano(text.strip())
        except ValueError as error:
            raise InvalidInput(f"{_ALL_LABELS[name]} can't be used.", f"{error}.", "Write it like 2.50.") from None
    if rates["input"] is None or rates["output"] is None:
        raise InvalidInput("Input and output are needed.", "", "Write 0 for what is free.")
    return rates


def import_dialog(services: Services, actor: Actor) -> None:
    """Choose a file, see what it changes, take it in."""
    st.caption(f"CSV with the columns {', '.join(price_list.COLUMNS)}. Export gives an example.")
    file = st.file_uploader("Price list", type="csv", label_visibility="collapsed")
    if file is None:
        return
    try:
        if file.size > _MOST_BYTES:
            raise InvalidInput("The file is too large.", "", "Split it.")
        document = decode_text(file.getvalue())
        preview = services.price_entries.preview(actor, document)
    except LLMManagerError as error:
        blocks.show_error(error)
        return
    st.markdown(
        f"**{len(preview.new):,} new**, {len(preview.changed):,} changed, {len(preview.unchanged):,} already there."
    )
    if changes := [*preview.new, *preview.changed]:
        st.dataframe([_format_row(price, ["input", "output"]) for price in changes[:200]], hide_index=True, height=240)
    if st.button("Import", type="primary", disabled=not changes):
        with blocks.show_errors():
            services.price_entries.import_csv(actor, document)
            st.toast(f"{len(changes):,} prices imported.")
            st.rerun()


def show_downloads(services: Services, actor: Actor, *, compact: bool) -> None:
    """The list as a file: all of it or the team's own."""
    with st.popover("" if compact else "Export", icon=":material/download:"):
        for label, own_only in (("All prices", False), ("Own prices", True)):
            st.download_button(
                label,
                data=partial(services.price_entries.export_csv, actor, own_only=own_only),
                file_name="own-prices.csv" if own_only else "prices.csv",
                mime="text/csv",
                type="tertiary",
                on_click="ignore",
                key=f"export-{own_only}",
            )
