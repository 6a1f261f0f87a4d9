"""Documents are taken in: states, versions, what is embedded, what a stop or a deletion in the middle leaves."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select, update

from lib.access.permissions import OPERATOR
from lib.clock import utc_now
from lib.db.tables import chunk_vectors, chunks, document_versions, documents
from lib.errors import InvalidInput, NotFound
from lib.knowledge.documents import ingest as ingest_module
from lib.knowledge.documents import sandbox
from lib.knowledge.documents.chunking import Chunking
from lib.knowledge.documents.ingest import Ingest
from lib.knowledge.documents.row_lease import keep_renewed
from tests.knowledge.knowledge_rig import MODEL, KnowledgeRig
from tests.knowledge.test_readers import hidden_from_the_reader

pytestmark = pytest.mark.feature("RAG-1")
TEXT = "\n\n".join(f"Paragraph {n} speaks of {word} and nothing else." * 3 for n, word in enumerate("abcdef"))


def count(rig: KnowledgeRig, table: object) -> int:
    with rig.services.store.read() as connection:
        return connection.scalar(select(func.count()).select_from(table)) or 0  # type: ignore[arg-type]


def test_a_document_becomes_passages_that_are_its_text(rig: KnowledgeRig) -> None:
    added = rig.add("letters.txt", TEXT)
    assert (added.state, added.serving_version, added.error) == ("ready", 1, None)
    text = rig.services.knowledge.documents.text(rig.amira, added.id)
    found, many = rig.services.knowledge.documents.chunks(rig.amira, added.id)
    assert many == len(found) == added.chunks_total > 3
    assert all(text[one.start : one.end] == one.text for one in found)
    assert [one.ordinal for one in found] == list(range(many))


@pytest.mark.feature("RAG-3")
def test_embedding_is_a_call_of_whoever_added_the_document(rig: KnowledgeRig) -> None:
    rig.add("letters.txt", TEXT)
    (row,) = rig.rows()
    assert (row.user_id, row.origin, row.status, row.app) == (rig.amira.user_id, "rag", "ok", "knowledge")
    assert row.prompt_tokens > 0
    assert row.cost_nano_usd == 0


def test_the_same_bytes_are_taken_in_once_and_the_same_words_embedded_once(rig: KnowledgeRig) -> None:
    first = rig.add("a.txt", TEXT)
    again, is_new = rig.services.knowledge.documents.add(rig.amira, rig.id, "b.txt", TEXT.encode())
    assert (again.id, is_new) == (first.id, False)
    calls, vectors = len(rig.rows()), count(rig, chunk_vectors)
    changed = rig.add("a.txt", TEXT + "\n\n" + "A last paragraph that was not there before, and is long enough." * 2)
    assert (changed.id, changed.version, changed.serving_version) == (first.id, 2, 2)
    assert len(rig.rows()) == calls + 1
    assert count(rig, chunk_vectors) <= vectors + 2
    assert count(rig, document_versions) == 1, "the old version goes when the new one is whole"


def test_the_old_version_is_found_until_the_new_one_is_whole(
    rig: KnowledgeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.add("a.txt", "The lighthouse stands on a rock.")
    rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", b"The windmill stands on a hill.")
    assert rig.found("lighthouse") == ["a.txt"]

    def broken(*_: object) -> None:
        raise InvalidInput("a.txt can't be read.", "It is damaged.")

    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "parse", broken)
        rig.services.knowledge.ingest.run_due()
    (failed,) = rig.services.knowledge.documents.list(rig.amira, rig.id)
    assert (failed.state, failed.error) == ("failed", "a.txt can't be read. It is damaged.")
    assert rig.found("lighthouse") == ["a.txt"]
    rig.services.knowledge.documents.retry(rig.amira, failed.id)
    rig.services.knowledge.ingest.run_due()
    hits = rig.services.knowledge.passages.search(rig.amira, rig.id, "windmill").hits
    assert [hit.text for hit in hits] == ["The windmill stands on a hill."]


def test_what_a_killed_process_held_is_taken_over_when_its_time_is_over(rig: KnowledgeRig) -> None:
    added, _ = rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", TEXT.encode())
    held = {"state": "embedding", "worker_id": "gone", "worker_until": utc_now() + timedelta(minutes=1)}
    with rig.services.store.write() as connection:
        connection.execute(update(documents).values(**held))
    assert rig.services.knowledge.ingest.run_due() == 0
    with rig.services.store.write() as connection:
        connection.execute(update(documents).values(worker_until=utc_now() - timedelta(seconds=1)))
    other = Ingest(rig.services.store, rig.services.knowledge.embedder)
    assert other.run_due() == 1
    assert rig.services.knowledge.documents.get(rig.amira, added.id).state == "ready"


def test_a_document_over_which_process_after_process_dies_is_left_alone(rig: KnowledgeRig) -> None:
    added, _ = rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", TEXT.encode())
    for _ in range(3):
        with rig.services.store.write() as connection:
            connection.execute(update(documents).values(worker_until=utc_now() - timedelta(seconds=1)))
        claimed = Ingest(rig.services.store, rig.services.knowledge.embedder)._claim()
        assert claimed is not None
        assert claimed["id"] == added.id
    with rig.services.store.write() as connection:
        connection.execute(update(documents).values(worker_until=utc_now() - timedelta(seconds=1)))
    assert rig.services.knowledge.ingest.run_due() == 0
    failed = rig.services.knowledge.documents.get(rig.amira, added.id)
    assert (failed.state, "3 times" in str(failed.error)) == ("failed", True)
    rig.services.knowledge.documents.retry(rig.amira, added.id)
    assert rig.services.knowledge.ingest.run_due() == 1
    assert rig.services.knowledge.documents.get(rig.amira, added.id).state == "ready"


def test_a_server_that_stops_gives_back_what_it_had_begun(rig: KnowledgeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    added, _ = rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", TEXT.encode())
    first, parse = Ingest(rig.services.store, rig.services.knowledge.embedder), sandbox.parse

    def stopped_meanwhile(name: str, data: bytes) -> object:
        first.stop()
        return parse(name, data)

    with monkeypatch.context() as patch:
        patch.setattr(sandbox, "parse", stopped_meanwhile)
        first.run_due()
    assert rig.services.knowledge.documents.get(rig.amira, added.id).state == "queued"
    assert rig.services.knowledge.ingest.run_due() == 1, "without waiting for a hold to run out"
    assert rig.services.knowledge.documents.get(rig.amira, added.id).state == "ready"


def test_a_hold_is_renewed_while_a_step_lasts_longer_than_it(
    rig: KnowledgeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    added, _ = rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", TEXT.encode())
    monkeypatch.setattr(ingest_module, "HELD", timedelta(seconds=0.4))
    monkeypatch.setattr(ingest_module, "keep_renewed", partial(keep_renewed, every_s=0.05))
    parse = sandbox.parse
    taken: list[int] = []

    def slow(name: str, data: bytes) -> object:
        time.sleep(0.8)
        taken.append(Ingest(rig.services.store, rig.services.knowledge.embedder).run_due())
        return parse(name, data)

    monkeypatch.setattr(sandbox, "parse", slow)
    assert rig.services.knowledge.ingest.run_due() == 1
    assert taken == [0], "nobody else took it meanwhile"
    assert rig.services.knowledge.documents.get(rig.amira, added.id).state == "ready"


@pytest.mark.parametrize("texts", [[TEXT] * 4, [TEXT, TEXT, TEXT + "b", TEXT + "c"]], ids=["alike", "changed"])
def test_uploads_of_one_file_at_once_are_one_document(rig: KnowledgeRig, texts: list[str]) -> None:
    together = threading.Barrier(4)

    def upload(number: int) -> bool:
        together.wait()
        return rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", texts[number].encode())[1]

    with ThreadPoolExecutor(4) as pool:
        added = list(pool.map(upload, range(4)))
    assert len({*texts}) <= sum(added) <= (1 if len({*texts}) == 1 else 4)
    (one,) = rig.services.knowledge.documents.list(rig.amira, rig.id)
    assert one.version == sum(added)
    assert rig.services.knowledge.ingest.run_due() == 1
    assert count(rig, document_versions) == 1


@pytest.mark.parametrize("step", ["parse", "keep"])
def test_another_version_that_comes_in_the_middle_is_the_one_that_is_found(
    rig: KnowledgeRig, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", b"The lighthouse stands on a rock.")
    of: Any = sandbox if step == "parse" else rig.services.knowledge.embedder
    whole = getattr(of, step)
    once: list[int] = []

    def adding(*given: object, **more: object) -> object:
        if not once:
            once.append(1)
            rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", b"The windmill stands on a hill.")
        return whole(*given, **more)

    monkeypatch.setattr(of, step, adding)
    rig.services.knowledge.ingest.run_due()
    (hit,) = rig.services.knowledge.passages.search(rig.amira, rig.id, "stands").hits
    assert hit.text == "The windmill stands on a hill."
    assert (count(rig, documents), count(rig, chunks), count(rig, document_versions)) == (1, 1, 1)


def test_a_document_of_somebody_without_an_account_says_so(rig: KnowledgeRig) -> None:
    added, _ = rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", TEXT.encode())
    with rig.services.store.write() as connection:
        connection.execute(update(documents).values(created_by="nobody"))
    rig.services.knowledge.ingest.run_due()
    failed = rig.services.knowledge.documents.get(OPERATOR, added.id)
    assert (failed.state, "no account any more" in (failed.error or "")) == ("failed", True)


def test_many_passages_ask_once_which_vectors_are_there(rig: KnowledgeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, known = list[int](), rig.services.knowledge.embedder.find_embedded

    def counted(*given: Any) -> Any:
        asked.append(1)
        return known(*given)

    monkeypatch.setattr(rig.services.knowledge.embedder, "find_embedded", counted)
    rig.add("a.txt", TEXT)
    assert len(asked) == 1


def test_a_document_deleted_while_it_is_taken_in_leaves_nothing(
    rig: KnowledgeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    added, _ = rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", TEXT.encode())
    keep = rig.services.knowledge.embedder.keep

    def deleting(*given: object, **more: object) -> None:
        rig.services.knowledge.documents.delete(rig.amira, added.id)
        keep(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.services.knowledge.embedder, "keep", deleting)
    rig.services.knowledge.ingest.run_due()
    assert (count(rig, documents), count(rig, chunks), count(rig, document_versions)) == (0, 0, 0)


def test_a_budget_or_a_dead_provider_says_why_and_it_can_be_tried_again(rig: KnowledgeRig) -> None:
    broken = rig.collection(rig.amira, "broken", "scripted/words:8+error:401")
    added = rig.add("a.txt", TEXT, collection=broken)
    assert added.state == "failed"
    assert "401" in (added.error or "")


@pytest.mark.feature("RAG-3")
def test_a_collection_is_cut_and_embedded_anew_beside_what_serves(rig: KnowledgeRig) -> None:
    added = rig.add("a.txt", TEXT)
    before = added.chunks_total
    rig.services.knowledge.collections.reindex(
        rig.amira, rig.id, chunking=Chunking(size=500, overlap=0), embedding_model="scripted/words:64"
    )
    assert rig.found("paragraph") != [], "found by its words until it is embedded anew"
    rig.services.knowledge.ingest.run_due()
    after = rig.services.knowledge.documents.get(rig.amira, added.id)
    assert (after.state, after.chunks_total < before) == ("ready", True)
    hit = rig.services.knowledge.passages.search(rig.amira, rig.id, "paragraph").hits[0]
    assert hit.vector_score is not None


@pytest.mark.feature("RAG-2")
def test_an_edited_passage_is_found_by_its_new_words_alone(rig: KnowledgeRig) -> None:
    added = rig.add("a.txt", "The lighthouse stands on a rock.")
    (chunk,), _ = rig.services.knowledge.documents.chunks(rig.amira, added.id)
    rig.services.knowledge.documents.edit_chunk(rig.amira, chunk.id, "The windmill stands on a hill.")
    hits = rig.services.knowledge.passages.search(rig.amira, rig.id, "windmill").hits
    assert [(hit.text, hit.keyword_rank) for hit in hits] == [("The windmill stands on a hill.", 1)]
    (edited,), _ = rig.services.knowledge.documents.chunks(rig.amira, added.id)
    assert edited.is_edited
    with pytest.raises(NotFound):
        rig.services.knowledge.documents.edit_chunk(rig.jonas, chunk.id, "Mine now.")


def test_others_read_what_is_shared_and_change_nothing(rig: KnowledgeRig) -> None:
    added = rig.add("a.txt", TEXT)
    services = rig.services
    for ask in (
        lambda: services.knowledge.documents.list(rig.jonas, rig.id),
        lambda: services.knowledge.documents.text(rig.jonas, added.id),
        lambda: services.knowledge.passages.search(rig.jonas, rig.id, "a"),
        lambda: services.knowledge.documents.page_image(rig.jonas, 1),
    ):
        with pytest.raises(NotFound):
            ask()
    assert services.knowledge.collections.list(rig.jonas) == []
    services.knowledge.collections.update(rig.amira, rig.id, is_shared=True)
    assert [one.may_change for one in services.knowledge.collections.list(rig.jonas)] == [False]
    assert rig.found("paragraph", rig.jonas) != []
    for change in (
        lambda: services.knowledge.documents.add(rig.jonas, rig.id, "b.txt", b"b"),
        lambda: services.knowledge.documents.delete(rig.jonas, added.id),
        lambda: services.knowledge.collections.delete(rig.jonas, rig.id),
        lambda: services.knowledge.collections.update(rig.jonas, rig.id, name="mine"),
    ):
        with pytest.raises(NotFound):
            change()


def test_a_deleted_collection_takes_everything_with_it(rig: KnowledgeRig) -> None:
    rig.add("a.txt", TEXT)
    rig.services.knowledge.collections.delete(rig.amira, rig.id)
    assert (count(rig, documents), count(rig, chunks), count(rig, document_versions)) == (0, 0, 0)
    with pytest.raises(NotFound):
        rig.services.knowledge.collections.get(OPERATOR, rig.id)


def test_names_are_names_and_sizes_have_an_end(rig: KnowledgeRig, monkeypatch: pytest.MonkeyPatch) -> None:
    added, _ = rig.services.knowledge.documents.add(rig.amira, rig.id, "../../etc/pass\x00wd", b"root")
    assert added.title == "passwd"
    with pytest.raises(InvalidInput, match="empty"):
        rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", b"")
    monkeypatch.setattr("lib.knowledge.documents.document_service.LARGEST", 10)
    with pytest.raises(InvalidInput, match="too large"):
        rig.services.knowledge.documents.add(rig.amira, rig.id, "a.txt", b"12345678901")


@pytest.mark.feature("RAG-3")
def test_the_model_that_counts_words_is_no_model_of_meaning(rig: KnowledgeRig) -> None:
    one, two, other = rig.services.knowledge.embedder.embed(
        rig.amira, MODEL, ["a red fox", "fox red a", "some blue sky"]
    )
    assert one @ two == pytest.approx(1)
    assert one @ other < 0.5


@pytest.mark.feature("RAG-1")
def test_a_document_of_which_not_all_was_read_is_found_and_says_what_share(rig: KnowledgeRig) -> None:
    added, _ = rig.services.knowledge.documents.add(rig.amira, rig.id, "a.docx", hidden_from_the_reader())
    rig.services.knowledge.ingest.run_due()
    (document,) = rig.services.knowledge.documents.list(rig.amira, rig.id)
    assert (document.state, document.error) == ("partial", None)
    assert document.note is not None
    assert document.state_in_words == document.note.partition(" were read")[0]
    assert document.state_in_words.endswith(" % of the words")
    assert set(rig.found("seven eight")) == {"a.docx"}
    assert rig.services.knowledge.collections.get(rig.amira, rig.id).ready == 1
    rig.services.knowledge.collections.reindex(rig.amira, rig.id)
    assert rig.services.knowledge.documents.get(rig.amira, added.id).state == "queued"
