"""What a search may be told, and what a collection keeps of it."""

from dataclasses import dataclass
from enum import StrEnum

from lib.errors import InvalidInput

MOST_HITS = 100


class Mode(StrEnum):
    """How passages are found."""

    HYBRID = "hybrid"
    VECTOR = "vector"
    KEYWORD = "keyword"


@dataclass(frozen=True)
class SearchSettings:
    """`k` passages by `mode`; `rerank` reads the best ones against each other once more (see `fusion`).

    With a `reranker` (provider/model) that model then reads the best with the question and puts them in order.
    """

    mode: Mode = Mode.HYBRID
    k: int = 8
    rerank: bool = True
    reranker: str = ""

    def __post_init__(self) -> None:
        """One form, however it was written."""
        try:
            object.__setattr__(self, "mode", Mode(self.mode))
        except ValueError as error:
            modes = ", ".join(Mode)
            raise InvalidInput(f"There is no mode {self.mode}.", "", f"Choose of {modes}.", "mode") from error
        if (self.reranker and not all(self.reranker.partition("/"))) or len(self.reranker) > 200:
            raise InvalidInput("The re-ranking model can't be used.", "", "Name it as provider/model.", "reranker")
        if not 1 <= self.k <= MOST_HITS:
            raise InvalidInput(f"{self.k} passages can't be found.", "", f"Ask for 1 to {MOST_HITS}.", "k")
