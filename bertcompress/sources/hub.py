"""The Hugging Face Hub, asked once before its clients retry, so that a mistyped id is said in seconds."""

from __future__ import annotations

from typing import Literal

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

TIMEOUT_S = 3.0


def hub_answers(kind: Literal["model", "dataset"], name: str) -> bool:
    """Whether the Hub can be reached for `name`; False when there is no network, or it is switched off.

    Raises:
        RepositoryNotFoundError: it was reached and holds no such model or data set that this user may see.
    """
    ask = HfApi().model_info if kind == "model" else HfApi().dataset_info
    try:
        ask(name, timeout=TIMEOUT_S)
    except RepositoryNotFoundError:
        raise
    except HfHubHTTPError:
        return True  # It answers, if only to complain: the loader has the better message.
    except Exception:  # noqa: BLE001  # Which error a dead connection is depends on the client's HTTP library.
        return False
    return True
