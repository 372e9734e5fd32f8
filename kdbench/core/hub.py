"""Check within seconds whether the Hugging Face hub can be reached; its libraries try for half a minute or more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 5.0  # timeout of a request for the hub's front page


def connection_problem() -> str:
    """Return why the hub cannot be reached, in a few words; "" if it can, or if HF_HUB_OFFLINE is set."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return ""
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception as error:  # errors of many types
        return f"{constants.ENDPOINT} does not answer: {type(error).__name__}"
    return ""


@contextmanager
def use_offline() -> Iterator[None]:
    """Make the hub's libraries use only local files within the block."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
