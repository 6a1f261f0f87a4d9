"""Passages are found: modes, filters, ranks, languages; indexes follow their collection and survive damage."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import update

from lib.db.tables import chunks, documents
from lib.errors import InvalidInput
from lib.knowledge import index as index_module
from lib.knowledge import indexes as indexes_module
from lib.knowledge.collections import touch
from lib.knowledge.documents.document_service import About
from lib.knowledge.documents.ingest import Ingest
from lib.knowledge.embedding import BUNDLED
from lib.knowledge.fusion import rank, weigh_vectors
from lib.knowledge.index import IndexedPassage, build_next, make_empty_index
from lib.knowledge.indexes import Indexes
from lib.knowledge.search import DocumentFilter, Passages
from lib.knowledge.settings import Mode, SearchSettings
from lib.knowledge.words import detect_language, prepare
from tests.knowledge.knowledge_rig import KnowledgeRig

pytestmark = pytest.mark.feature("RAG-4")
RNG = np.random.default_rng(3)


def passages(count: int, dimensions: int = 24, first: int = 1) -> list[IndexedPassage]:
    vectors = RNG.standard_normal((count, dimensions)).astype("<f4")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        IndexedPassage(n, f"d{n // 3}", f"{n:064x}", f"w{n % 7} w{n % 11} only{n}", vectors[n - first].tobytes())
        for n in range(first, first + count)
    ]


def made(given: list[IndexedPassage], old: index_module.Index | None = None, seq: int = 1) -> index_module.Index:
    ids = np.asarray(sorted(one.id for one in given), dtype=np.int64)
    return build_next(old or make_empty_index("m"), seq, "m", ids, given, "english")


def test_each_mode_finds_by_its_leg_and_says_so(rig: KnowledgeRig) -> None:
    rig.add("fox.txt", "The quick brown fox jumps.")
    rig.add("sky.txt", "The sky is blue and wide.")
    for mode in Mode:
        hits = rig.services.knowledge.passages.search(rig.amira, rig.id, "brown fox", SearchSettings(mode, 1)).hits
        assert [hit.title for hit in hits] == ["fox.txt"]
        assert (hits[0].vector_rank is None) == (mode is Mode.KEYWORD)
        assert (hits[0].keyword_rank is None) == (mode is Mode.VECTOR)


def test_filters_stand_before_the_best(rig: KnowledgeRig) -> None:
    rig.add("a.txt", "The fox is red.", About(kind="faq", tags=("x",), dated=date(2026, 1, 1)))
    rig.add("b.txt", "The fox is red, too.", About(kind="manual", tags=("y", "z"), dated=date(2026, 6, 1)))
    one = SearchSettings(k=1)
    for only, found in (
        (DocumentFilter(kinds=("faq",)), ["a.txt"]),
        (DocumentFilter(kinds=("manual",)), ["b.txt"]),
        (DocumentFilter(tags=("z", "nothing")), ["b.txt"]),
        (DocumentFilter(since=date(2026, 2, 1)), ["b.txt"]),
        (DocumentFilter(until=date(2026, 2, 1)), ["a.txt"]),
        (DocumentFilter(kinds=("code",)), []),
    ):
        assert rig.found("red fox", settings=one, only=only) == found
        assert rig.found("red fox", settings=SearchSettings(Mode.KEYWORD, 1), only=only) == found


def test_a_hit_has_its_place_and_its_neighbours(rig: KnowledgeRig) -> None:
    text = "\n\n".join(f"Part {n}: " + f"{word} " * 40 for n, word in enumerate(("sun", "moon", "star")))
    rig.add("sky.txt", text)
    hit = rig.services.knowledge.passages.search(rig.amira, rig.id, "moon", SearchSettings(k=1)).hits[0]
    assert "moon" in hit.text
    assert "sun" in hit.before
    assert hit.after != ""
    assert text[hit.start : hit.end] == hit.text


def test_words_are_stemmed_in_the_documents_language(rig: KnowledgeRig) -> None:
    rig.add("es.txt", "Las facturas que la empresa ha pagado este año están en el archivo del sótano de la casa.")
    rig.add("es2.txt", "El gato duerme en la silla que está en el jardín y no quiere salir con la lluvia.")
    keyword = SearchSettings(Mode.KEYWORD, 2)
    found = rig.services.knowledge.passages.search(rig.amira, rig.id, "¿Dónde está la factura pagada?", keyword)
    assert found.language == "spanish"
    assert found.hits[0].title == "es.txt"


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The cat sat on the mat because it was warm there.", "english"),
        ("Der Hund lief über die Straße und war nicht mehr zu sehen.", "german"),
        ("Le chat est sur la table et il ne veut pas descendre.", "french"),
        ("東京は日本の首都であり、世界でも最大級の都市である。", ""),
        ("भारत की राजधानी दिल्ली है और यह बहुत पुराना शहर है।", "hindi"),
        ("Москва — это столица России, и в ней живёт больше людей, чем в других городах.", "russian"),
        ("القاهرة هي عاصمة مصر وأكبر مدينة في أفريقيا من حيث عدد السكان", "arabic"),
        ("București este capitala României și cel mai mare oraș din țară.", "romanian"),
        ("id: 1 · grade: a\n" * 50, ""),  # letters that are words somewhere
        ("", ""),
    ],
)
def test_a_language_is_told_by_its_frequent_words(text: str, language: str) -> None:
    assert detect_language([text]) == language


def test_text_without_spaces_goes_as_pairs() -> None:
    assert prepare("東京都", "") == ["東京", "京都"]
    assert prepare("Müller’s Größe", "") == ["muller", "s", "große"]
    assert prepare("서울의", "") == ["서울", "울의"]
    assert prepare("iPhone的価格", "") == ["iphone", "的価", "価格"]
    assert prepare("ភាសា", "") == ["ភា", "ាស", "សា"]


@pytest.mark.parametrize(
    ("text", "language", "words"),
    [
        ("हिन्दी की किताबें", "", ["हिन्दी", "की", "किताबें"]),
        ("हिन्दी की किताबें", "hindi", ["हिन्द", "किताब"]),
        ("தமிழ் நாடு", "", ["தமிழ்", "நாடு"]),
        ("বাংলা ভাষা", "", ["বাংলা", "ভাষা"]),
        ("Мой ёж", "", ["мой", "еж"]),
        ("がか", "", ["がか"]),
        ("كِتَابٌ ١٩٤٧", "", ["كتاب", "1947"]),
        ("१९४७ में", "hindi", ["1947"]),
        ("Πόσο Ångström", "", ["ποσο", "angstrom"]),
    ],
)
def test_a_mark_that_is_a_letter_belongs_to_its_word_and_an_accent_does_not(
    text: str, language: str, words: list[str]
) -> None:
    assert prepare(text, language) == words


def test_words_that_an_older_version_counted_are_counted_anew_and_found(rig: KnowledgeRig) -> None:
    document = rig.add("delhi.txt", "भारत की राजधानी दिल्ली है और यह बहुत पुराना शहर है।")
    with rig.services.store.write() as connection:
        connection.execute(update(chunks).values(words="भ रत र जध न"))
        connection.execute(update(documents).values(words_form=1, language=""))
        touch(connection, rig.id)
    by_words = SearchSettings(Mode.KEYWORD)
    assert rig.found("राजधानी", settings=by_words) == []
    Ingest(rig.services.store, rig.services.knowledge.embedder).run_due()
    assert rig.found("राजधानी", settings=by_words) == ["delhi.txt"]
    assert rig.services.knowledge.documents.get(rig.amira, document.id).language == "hindi"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Rechts\u00adschutz\u200bbrief", ["rechtsschutzbrief"]),
        ("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", ["\u0645\u06cc\u062e\u0648\u0627\u0647\u0645"]),
        ("Versiche-\nrung", ["versiche", "rung", "versicherung"]),
        ("well-known", ["well", "known"]),
    ],
)
def test_what_says_where_lines_may_break_ends_no_word(text: str, words: list[str]) -> None:
    assert prepare(text, "") == words


@pytest.mark.parametrize(
    ("model", "stem", "is_by_words"),
    [(BUNDLED, "हिन्दी", True), (BUNDLED, "слова", True), (BUNDLED, "words", False), ("other/model", "हिन्दी", False)],
)
def test_the_bundled_models_vector_has_no_say_on_another_script(model: str, stem: str, is_by_words: bool) -> None:
    near = np.eye(3, dtype="<f4")
    texts = ("other", stem, f"{stem} and much more than that")
    fresh = [IndexedPassage(n, str(n), f"{n:064x}", text, near[n].tobytes()) for n, text in enumerate(texts)]
    index = build_next(make_empty_index(model), 1, model, np.arange(3), fresh, "")
    first, second = (rank(index, Mode.HYBRID, vector, [stem], None, True, 3) for vector in (near[0], near[2]))
    assert (first.scores.tolist() == second.scores.tolist()) is is_by_words


def test_an_empty_question_and_an_empty_collection(rig: KnowledgeRig) -> None:
    assert rig.found("anything") == []
    with pytest.raises(InvalidInput):
        rig.found("  ")
    with pytest.raises(InvalidInput):
        SearchSettings(k=0)


def test_bm25_is_that_of_the_textbook() -> None:
    """Three documents by hand: idf = ln(1 + (3 - 2 + .5) / (2 + .5)), tf in a document of usual length 2."""
    words = ["red fox", "red red", "sky blue"]
    given = [IndexedPassage(n + 1, "d", f"{n:064x}", text, None) for n, text in enumerate(words)]
    scores = made(given).keyword_scores(["red"])
    idf = np.log(1 + 1.5 / 2.5)
    assert scores == pytest.approx([idf * 2.2 / 2.2, idf * 2 * 2.2 / (2 + 1.2), 0], rel=1e-6)


def test_an_index_that_follows_is_the_index_made_anew() -> None:
    given = passages(60)
    first = made(given)
    kept = [one for one in given if one.id % 5]
    changed = IndexedPassage(7, "d2", "f" * 64, "other words here", given[20].vector)
    later = [one for one in [*kept, *passages(9, first=100)] if one.id != 7] + [changed]
    ids = np.asarray(sorted(one.id for one in later), dtype=np.int64)
    fresh = [one for one in later if one.id >= 100 or one.id == 7]
    followed = build_next(first, 2, "m", ids, fresh, "english")
    anew = made(later, seq=2)
    assert followed.ids.tolist() == anew.ids.tolist()
    assert np.array_equal(followed.vectors, anew.vectors)
    for stems in (["w1"], ["other"], ["only7"], ["w3", "w3", "only104"]):
        assert followed.keyword_scores(stems) == pytest.approx(anew.keyword_scores(stems))
    names = [followed.document_ids[n] for n in followed.documents]
    assert names == [anew.document_ids[n] for n in anew.documents]


def test_the_graph_finds_what_comparing_with_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = made(passages(3000))
    monkeypatch.setattr(index_module, "GRAPH_FROM", 1000)
    graph = build_next(make_empty_index("m"), 1, "m", exact.ids, _again(exact), "english")
    assert graph.graph is not None
    hits = 0
    for _ in range(50):
        question = RNG.standard_normal(24).astype(np.float32)
        question /= np.linalg.norm(question)
        best = np.argsort(-(exact.vectors @ question))[:10]
        rows, cosines = graph.nearest(question, None)
        hits += len(set(best) & set(rows[np.argsort(-cosines)][:10]))
    assert hits / 500 >= 0.99


def test_a_graph_forgets_what_is_deleted_and_learns_what_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "GRAPH_FROM", 200)
    given = passages(400)
    first = made(given)
    later = given[50:] + passages(30, first=900)
    ids = np.asarray([one.id for one in later], dtype=np.int64)
    second = build_next(first, 2, "m", ids, later[-30:], "english")
    assert second.graph is not None
    for one in (later[-1], given[200]):
        vector = np.frombuffer(one.vector or b"", dtype="<f4")
        rows, cosines = second.nearest(vector, None)
        assert second.ids[rows[int(np.argmax(cosines))]] == one.id
    gone = np.frombuffer(given[3].vector or b"", dtype="<f4")
    rows, _ = second.nearest(gone, None)
    assert set(second.ids[rows]) <= set(ids.tolist())
    rows, _ = first.nearest(gone, None)
    assert given[3].id in first.ids[rows], "a question that is under way still has the old one"


@pytest.mark.parametrize(
    ("language", "model", "weight"),
    [("english", BUNDLED, 0.7), ("english", "other/model", 0.7), ("turkish", BUNDLED, 0.2), ("", BUNDLED, 0.2),
     ("turkish", "other/model", 0.35)],
)  # fmt: skip
def test_the_bundled_model_counts_little_in_languages_that_it_did_not_learn(
    language: str, model: str, weight: float
) -> None:
    assert weigh_vectors(language, model) == weight


def test_a_mixture_is_not_worse_than_its_better_leg_where_one_leg_knows_nothing() -> None:
    given = passages(300)
    index = made(given)
    for n in (5, 50, 123):
        vector = np.frombuffer(given[n].vector or b"", dtype="<f4")
        lost = RNG.standard_normal(24).astype(np.float32)
        lost /= np.linalg.norm(lost)
        assert rank(index, Mode.HYBRID, vector, ["unheard"], None, True, 5).rows[0] == n
        assert rank(index, Mode.HYBRID, lost, [f"only{n + 1}"], None, True, 5).rows[0] == n


def test_a_kept_index_is_used_when_whole_and_made_again_when_damaged(
    rig: KnowledgeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes_module, "KEPT_FROM", 1)
    rig.add("fox.txt", "The quick brown fox jumps.")
    assert rig.found("fox") == ["fox.txt"]
    folder = rig.services.settings.data_dir / "knowledge" / rig.id
    (place,) = (one for one in folder.iterdir() if one.is_dir())

    def fresh() -> list[str]:
        search = Passages(
            rig.services.store, rig.services.knowledge.embedder, Indexes(rig.services.store, folder.parent)
        )
        return [hit.title for hit in search.search(rig.amira, rig.id, "fox").hits]

    assert fresh() == ["fox.txt"]
    for path in (place / "vectors.npy", folder / "index.json"):
        path.write_bytes(b"damaged")
        assert fresh() == ["fox.txt"]
    rig.add("sky.txt", "The sky is wide; a fox looks up.")
    assert sorted(fresh()) == ["fox.txt", "sky.txt"]


def test_an_index_that_cannot_be_kept_is_made_each_time(
    rig: KnowledgeRig, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(indexes_module, "KEPT_FROM", 1)
    rig.add("fox.txt", "The quick brown fox jumps.")
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, no folder")
    search = Passages(rig.services.store, rig.services.knowledge.embedder, Indexes(rig.services.store, blocked))
    assert [hit.title for hit in search.search(rig.amira, rig.id, "fox").hits] == ["fox.txt"]


def _again(index: index_module.Index) -> list[IndexedPassage]:
    return [
        IndexedPassage(int(one), "d", f"{int(one):064x}", "w", index.vectors[row].tobytes())
        for row, one in enumerate(index.ids)
    ]


def test_a_reranking_model_puts_the_best_in_order_and_what_it_costs_is_logged(rig: KnowledgeRig) -> None:
    rig.add("a.txt", "The boiler is descaled, says the manual.")
    rig.add("b.txt", "The boiler boiler boiler is old.")
    services = rig.services
    reading = SearchSettings(reranker="scripted/words:512", k=1)
    services.knowledge.collections.update(rig.amira, rig.id, search=reading)
    found = services.knowledge.passages.search(rig.amira, rig.id, "boiler")
    assert [(hit.title, hit.relevance) for hit in found.hits] == [("b.txt", 3.0)], "it says how many words are shared"
    (row,) = [row for row in rig.rows() if row.tags.get("purpose") == "rerank"]
    assert (row.origin, row.model, row.user_id) == ("rag", "words:512", rig.amira.user_id)
    off = services.knowledge.passages.search(rig.amira, rig.id, "boiler", replace(reading, rerank=False))
    assert all(hit.relevance is None for hit in off.hits)


def test_without_its_reranking_model_a_search_still_answers_and_says_so(rig: KnowledgeRig) -> None:
    rig.add("a.txt", "The boiler is descaled, says the manual.")
    for broken in ("scripted/words:8+error:500", "nobody/words:8"):
        found = rig.services.knowledge.passages.search(rig.amira, rig.id, "boiler", SearchSettings(reranker=broken))
        assert [hit.title for hit in found.hits] == ["a.txt"]
        assert found.failure
    for bad in ("words", "/x", "x/"):
        with pytest.raises(InvalidInput):
            SearchSettings(reranker=bad)
