"""The Hub is asked once: an answer, a refusal and a dead line are told apart."""

from __future__ import annotations

import pytest
from conftest import not_found
from huggingface_hub import HfApi
from huggingface_hub.errors import OfflineModeIsEnabled, RepositoryNotFoundError

from bertcompress.sources.hub import TIMEOUT_S, hub_answers


@pytest.mark.parametrize(("kind", "method"), [("model", "model_info"), ("dataset", "dataset_info")])
def test_a_dead_line_is_no_answer_and_a_refusal_is_one(
    kind: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(outcome: Exception | None) -> bool:
        def ask(self: HfApi, name: str, *, timeout: float) -> None:
            assert (name, timeout) == ("owner/name", TIMEOUT_S)
            if outcome is not None:
                raise outcome

        monkeypatch.setattr(HfApi, method, ask)
        return hub_answers(kind, "owner/name")

    assert reply(None)
    assert not reply(ConnectionError("name or service not known"))
    assert not reply(OfflineModeIsEnabled("HF_HUB_OFFLINE is set"))
    with pytest.raises(RepositoryNotFoundError):
        reply(not_found("owner/name"))
