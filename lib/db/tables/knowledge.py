"""The knowledge base: collections, documents, passages, and how well they are searched."""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Date, Index, Integer, LargeBinary, String, Table, Text

from lib.db.tables.columns import id_column, metadata, moment_column, team_column

collections = Table(
    "collections",
    metadata,
    id_column(primary_key=True),
    id_column("owner_id", nullable=False),  # a user
    Column("name", String(120), nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("is_shared", Boolean, nullable=False, default=False),  # read by all of its team who may use models
    Column("embedding_model", String(200), nullable=False),  # provider/model, for the call path
    Column("chunking", JSON, nullable=False, default=dict),  # strategy, size, overlap
    Column("search", JSON, nullable=False, default=dict),  # what a question uses unless it says otherwise: mode, k
    Column("change_seq", BigInteger, nullable=False, default=0),  # grows with what is found: indexes follow it
    team_column(),
    moment_column("created_at"),
    moment_column("updated_at"),
    Index(None, "owner_id"),
)


documents = Table(
    "documents",
    metadata,
    id_column(primary_key=True),
    id_column("collection_id", nullable=False),
    Column("title", String(300), nullable=False),
    Column("kind", String(10), nullable=False),  # manual, faq, api_doc, code
    Column("tags", JSON, nullable=False, default=list),
    Column("dated", Date),  # the day it is of, where somebody said
    Column("source", String(10), nullable=False),  # upload, paste, url, command
    Column("source_name", String(2000), nullable=False, default=""),
    Column("media_type", String(120), nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes of the newest version
    Column("sha256", String(64), nullable=False),
    Column("language", String(20), nullable=False, default=""),
    Column("words_form", Integer, nullable=False, default=1, server_default="1"),  # lib.knowledge.words.FORM
    Column("state", String(10), nullable=False),  # queued, parsing, embedding, ready, partial, failed
    Column("error", Text),  # why it failed; of a partial one what share of its words was read
    Column("chunks_total", Integer, nullable=False, default=0),
    Column("chunks_done", Integer, nullable=False, default=0),
    Column("version", Integer, nullable=False, default=1),  # the newest, which may still be worked on
    Column("serving_version", Integer),  # what is found; NULL until the first is whole
    id_column("worker_id"),  # the process that works on it
    moment_column("worker_until", nullable=True),
    Column("interruptions", Integer, nullable=False, default=0, server_default="0"),  # processes that died over it
    id_column("created_by"),
    moment_column("created_at"),
    moment_column("updated_at"),
    Index(None, "collection_id", "sha256"),
    Index(None, "state"),
)


document_versions = Table(
    "document_versions",
    metadata,
    id_column("document_id", primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("original", LargeBinary, nullable=False),
    Column("text", Text),  # as parsed; the offsets of chunks count its characters
    Column("page_starts", JSON),  # the offset of each page, where there are pages
)


chunks = Table(
    "chunks",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    id_column("collection_id", nullable=False),
    id_column("document_id", nullable=False),
    Column("version", Integer, nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),  # offsets in the document's text
    Column("end", Integer, nullable=False),
    Column("page_first", Integer),
    Column("page_last", Integer),
    Column("heading", String(300), nullable=False, default=""),
    Column("text", Text, nullable=False),
    Column("words", Text, nullable=False, default=""),  # its stems, for the search by words
    Column("text_sha256", String(64), nullable=False),
    Column("is_edited", Boolean, nullable=False, default=False),
    Index(None, "document_id", "version", "ordinal"),
    Index(None, "collection_id"),
)


chunk_vectors = Table(
    "chunk_vectors",
    metadata,
    Column("embedding_model", String(200), primary_key=True),
    Column("text_sha256", String(64), primary_key=True),
    Column("vector", LargeBinary, nullable=False),  # float32, little-endian, of length one
)


question_sets = Table(
    "question_sets",
    metadata,
    id_column(primary_key=True),
    id_column("collection_id", nullable=False),
    Column("name", String(120), nullable=False),
    id_column("created_by"),
    moment_column("created_at"),
    Index(None, "collection_id"),
)


questions = Table(
    "questions",
    metadata,
    id_column(primary_key=True),
    id_column("set_id", nullable=False),
    Column("external_id", String(200), nullable=False, default=""),  # its name where it was imported from
    Column("text", Text, nullable=False),
    Column("source", String(10), nullable=False),  # typed, imported, proposed (by a model)
    Column("is_approved", Boolean, nullable=False),  # by a person; others do not count
    id_column("created_by"),
    moment_column("created_at"),
    Index(None, "set_id"),
)


judgements = Table(
    "judgements",
    metadata,
    id_column("question_id", primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    id_column("document_id", nullable=False),
    Column("grade", Integer, nullable=False),
    Column("start", Integer),  # of a passage in the document's text; NULL: the document as a whole
    Column("end", Integer),
    Column("quote", Text),  # the passage's words, to find it again in a later version
    Index(None, "document_id"),
)


evaluations = Table(
    "evaluations",
    metadata,
    id_column(primary_key=True),
    id_column("collection_id", nullable=False),
    id_column("set_id", nullable=False),
    Column("settings", JSON, nullable=False),  # what was searched with, the chunking and the model of that moment
    Column("figures", JSON, nullable=False),  # by name: value, low, high, questions
    Column("passages", Integer, nullable=False),
    Column("took_ms", Integer, nullable=False),
    id_column("created_by"),
    moment_column("created_at"),
    Index(None, "collection_id", "created_at"),
)


evaluation_results = Table(
    "evaluation_results",
    metadata,
    id_column("evaluation_id", primary_key=True),
    id_column("question_id", primary_key=True),
    Column("figures", JSON, nullable=False),
    Column("found", JSON, nullable=False),  # the first things found: document, start, end, grade
)


studies = Table(
    "studies",
    metadata,
    id_column(primary_key=True),
    id_column("collection_id", nullable=False),
    id_column("set_id", nullable=False),
    Column("metric", String(20), nullable=False),
    Column("state", String(10), nullable=False),  # waiting, running, stopped, done, failed
    Column("error", Text),
    id_column("worker_id"),  # the process that works on it
    moment_column("worker_until", nullable=True),
    id_column("created_by"),
    moment_column("created_at"),
    moment_column("updated_at"),
    Index(None, "collection_id", "created_at"),
    Index(None, "state"),
)


trials = Table(
    "trials",
    metadata,
    id_column("study_id", primary_key=True),
    Column("ordinal", Integer, primary_key=True),
    Column("chunking", JSON, nullable=False),
    Column("search", JSON, nullable=False),
    Column("is_current", Boolean, nullable=False),  # as the collection is now
    Column("result", JSON),  # NULL until it was tried
)
