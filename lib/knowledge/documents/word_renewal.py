"""Passages whose words were counted by an older version of the software get them counted anew, a document at a time.

Nothing is read from a file or embedded again: text and vectors stay. It may stop anywhere, and two processes that do
the same document write the same.
"""

from sqlalchemy import select, update

from lib.db.engine import Store
from lib.db.tables import chunks, document_versions, documents
from lib.knowledge.collections import touch
from lib.knowledge.words import FORM, detect_language, join_stems

_D = documents.c
_V = document_versions.c
_K = chunks.c


def renew_next(store: Store) -> bool:
    """Count the words of one document anew; False when no document has older ones."""
    outdated = (_D.words_form < FORM) & _D.serving_version.is_not(None)
    with store.read() as connection:
        row = connection.execute(select(documents).where(outdated).order_by(_D.id).limit(1)).mappings().first()
        if row is None:
            return False
        serving = (_V.document_id == row["id"]) & (_V.version == row["serving_version"])
        text = connection.scalar(select(_V.text).where(serving)) or ""
        passages = connection.execute(select(_K.id, _K.heading, _K.text).where(_K.document_id == row["id"])).all()
    language = detect_language([text])
    words = [(id_, join_stems(row["title"], heading, passage, language)) for id_, heading, passage in passages]
    with store.write() as connection:
        for id_, stems in words:
            connection.execute(update(chunks).where(_K.id == id_).values(words=stems))
        values = {"words_form": FORM, "language": language}
        connection.execute(update(documents).where(_D.id == row["id"]).values(**values))
        touch(connection, row["collection_id"])
    return True
