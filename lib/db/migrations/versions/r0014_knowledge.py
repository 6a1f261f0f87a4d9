"""The knowledge base: collections, documents with their versions, chunks and their vectors."""

from alembic import op

from lib.db.tables import metadata

revision = "0014"
down_revision = "0012"
_TABLES = ("collections", "documents", "document_versions", "chunks", "chunk_vectors")


def upgrade() -> None:
    """Add the tables."""
    for name in _TABLES:
        metadata.tables[name].create(op.get_bind())
