"""Whatever comes from a client or a provider is answered, and the gateway goes on; `make fuzz` tries it for longer."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.counts import repeats
from tests.fuzz.targets import TARGETS, Gateway, serve

pytestmark = [pytest.mark.feature("GATE-3"), pytest.mark.feature("GATE-5")]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    with serve(tmp_path_factory.mktemp("data")) as made:
        yield made


@pytest.mark.parametrize("name", TARGETS)
@examples(max_examples=repeats(25, 1000), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_comes_is_answered(gateway: Gateway, name: str, data: st.DataObject) -> None:
    TARGETS[name](gateway, data)  # checks the answers that the gateway gave
    assert gateway.is_alive()
