"""Question sets of collections, evaluations of their search, and the optimiser's trials."""

from alembic import op

from lib.db.tables import metadata

revision = "0015"
down_revision = "0014"
_TABLES = ("question_sets", "questions", "judgements", "evaluations", "evaluation_results", "studies", "trials")


def upgrade() -> None:
    """Add the tables."""
    for name in _TABLES:
        metadata.tables[name].create(op.get_bind())
