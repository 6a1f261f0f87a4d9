"""Bodies and queries of `/api` are refused in our words, with the field; names are printable."""

from typing import Any, get_args

import msgspec
import pytest

from lib.errors import InvalidInput
from lib.gateway.api import bodies, calls
from lib.gateway.api.bodies import BudgetQuery, NewMetricsBody, Nothing, QuestionBody, UsageQuery
from lib.gateway.api.conversations import ConversationsQuery, NewConversationBody
from lib.gateway.api.knowledge import KnowledgeAskedBody, NewCollectionBody, NewDocumentBody
from lib.gateway.api.operation import read
from lib.knowledge import settings
from lib.knowledge.documents import document_service
from lib.knowledge.documents.chunking import ChunkingStrategy

pytestmark = pytest.mark.feature("GATE-2")
_LONG = "x" * 301
REFUSED: list[tuple[type[msgspec.Struct], dict[str, Any], str, str]] = [
    (QuestionBody, {"prompt": 3}, "prompt", "It must be a text or an object."),
    (QuestionBody, {"prompt": " "}, "prompt", "It must not be blank."),
    (QuestionBody, {"prompt": {"label": "x"}}, "prompt", "prompt.slug is missing."),
    (QuestionBody, {"prompt": {"slug": "x", "y": 1}}, "prompt", "prompt can't hold y."),
    (QuestionBody, {"prompt": "x", "messages": [{}]}, "prompt", "Send either prompt or messages."),
    (QuestionBody, {"messages": []}, "messages", "It must be not empty."),
    (QuestionBody, {"prompt": "x", "tags": {"a": "x" * 4_000}}, "tags", "4,000 characters"),
    (QuestionBody, {"prompt": "x", "context": "a\nb"}, "context", "signs that no name has"),
    (QuestionBody, {"prompt": "x", "context": _LONG}, "context", "at most 300"),
    (NewMetricsBody, {"metrics": [{"key": "a"}]}, "metrics", "metrics[0].value is missing."),
    (NewMetricsBody, {"metrics": 3}, "metrics", "It must be a list."),
    (NewConversationBody, {"tags": "a"}, "tags", "It must be a list."),
    (NewConversationBody, {"context": {"last": 0}}, "context", "context.last can't be used. It must be at least 1."),
    (NewConversationBody, {"ttl_s": True}, "ttl_s", "It must be a whole number."),
    (NewCollectionBody, {"name": "x", "chunking": {"steps": 3}}, "chunking", "chunking can't hold steps."),
    (NewCollectionBody, {}, "name", "name is missing."),
    (NewDocumentBody, {"text": "a", "url": "b"}, "text", "Send one of text, base64 and url."),
    (NewDocumentBody, {"text": "a", "tags": ["a\x00"]}, "tags", "signs that no name has"),
    (KnowledgeAskedBody, {"question": "x", "k": None}, "k", "It must be a whole number."),
    (KnowledgeAskedBody, {"question": "x", "history": [{"role": "user"}]}, "history", "history[0].content is missing."),
    (KnowledgeAskedBody, {"question": "x", "mode": "magic"}, "mode", "none of the values it can have"),
]
REFUSED_IN_A_QUERY: list[tuple[type[msgspec.Struct], dict[str, str], str, str]] = [
    (UsageQuery, {"from": "yesterday"}, "from", "write it like 2026-10-31"),
    (UsageQuery, {"from": "2026-02-02", "to": "2026-02-01"}, "to", "The range is empty."),
    (UsageQuery, {"to": "0001-01-01"}, "to", "Write it like 2026-10-31."),
    (ConversationsQuery, {"page": "0"}, "page", "It must be at least 1."),
    (ConversationsQuery, {"folder": ""}, "folder", "It must be not empty."),
    (BudgetQuery, {"configuration": "x", "max_tokens": "many"}, "max_tokens", "It must be"),
    (BudgetQuery, {}, "configuration", "configuration is missing."),
]


@pytest.mark.parametrize(("kind", "document", "field", "why"), REFUSED)
def test_a_body_is_refused_by_its_field(kind: type[msgspec.Struct], document: Any, field: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(kind, document)
    assert (refused.value.field, why in str(refused.value)) == (field, True), str(refused.value)
    assert "msgspec" not in str(refused.value)
    assert "`" not in str(refused.value)


@pytest.mark.parametrize(("kind", "query", "field", "why"), REFUSED_IN_A_QUERY)
def test_a_query_is_refused_by_its_field(kind: type[msgspec.Struct], query: Any, field: str, why: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read(kind, query, strict=False)
    assert (refused.value.field, why in str(refused.value)) == (field, True), str(refused.value)


def test_fields_that_nobody_knows_are_passed_over_and_null_is_what_a_missing_field_is() -> None:
    question = read(QuestionBody, {"prompt": "x", "tags": None, "system": None, "of_tomorrow": [1]})
    assert (question.prompt, question.tags, question.system) == ("x", None, None)


def test_every_operation_says_in_its_types_what_it_takes_and_answers() -> None:
    for path, methods in calls.OPERATIONS.items():
        for method, operation in methods.items():
            assert all(issubclass(kind, msgspec.Struct) for kind in operation.types), (path, method)
            assert method == "POST" or operation.types.body is Nothing, (path, method)


def test_words_that_a_field_takes_are_those_of_the_library() -> None:
    from lib.activity.custom_metric import MetricType
    from lib.gateway.api import knowledge

    assert set(get_args(knowledge.Kind)) == set(document_service.KINDS)
    fields = {field.name: field.type for field in msgspec.structs.fields(knowledge.KnowledgeQuestionBody)}
    assert set(settings.Mode) <= set(str(fields["mode"]).replace("'", " ").replace(",", " ").split())
    assert set(get_args(bodies.MetricKind)) == set(MetricType)
    chunking = {field.name: field.type for field in msgspec.structs.fields(knowledge.ChunkingBody)}
    assert all(f"'{strategy}'" in str(chunking["strategy"]) for strategy in ChunkingStrategy)
