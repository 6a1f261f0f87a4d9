"""From where a change was made; and the audit log is append-only: the database itself refuses to change an entry, and
to delete one younger than 29 days. Retention keeps 30 at least; the day between is for clocks that differ.

A migration that makes the table anew has to make the triggers anew.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_SQLITE = (
    """CREATE TRIGGER audit_log_unchanged BEFORE UPDATE ON audit_log
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END""",
    """CREATE TRIGGER audit_log_kept BEFORE DELETE ON audit_log
    WHEN OLD.at > strftime('%Y-%m-%d %H:%M:%f', 'now', '-29 days')
    BEGIN SELECT RAISE(ABORT, 'the audit log is kept for 29 days'); END""",
)
_POSTGRESQL = (
    """CREATE FUNCTION audit_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'DELETE' AND OLD.at <= now() - interval '29 days' THEN RETURN OLD; END IF;
        RAISE EXCEPTION 'the audit log is append-only';
    END $$""",
    """CREATE TRIGGER audit_log_kept BEFORE UPDATE OR DELETE ON audit_log
    FOR EACH ROW EXECUTE FUNCTION audit_log_is_append_only()""",
    """CREATE TRIGGER audit_log_whole BEFORE TRUNCATE ON audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION audit_log_is_append_only()""",
)


def upgrade() -> None:
    """Add the column and the triggers."""
    op.add_column("audit_log", sa.Column("came_from", sa.String(length=80), nullable=True))
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
