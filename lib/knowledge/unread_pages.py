"""How it is said that a document was not read whole: by what reads it, and by what reads its pictures later."""


def describe_unread_pages(unread: int, pages: int) -> str | None:
    """A sentence that says how many pages have no text; None where all have."""
    if not unread:
        return None
    why = f"{unread:,} of {pages:,} have no text: pictures need text recognition."
    return f"{format_percent(1 - unread / pages)} of the pages were read. {why}"


def format_percent(share: float) -> str:
    """A share that is not all is never told as 100 %."""
    return f"{min(99, round(100 * share))} %"
