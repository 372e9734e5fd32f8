"""Whether the Hugging Face hub can be reached, told within seconds: its libraries try for half a minute or more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 5.0  # to answer a request for its front page


def problem() -> str:
    """Why the hub cannot be reached, in a few words; "" when it can be, or when the user has asked to stay offline."""
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return ""
    try:
        get_session().head(constants.ENDPOINT, timeout=SECONDS)
    except Exception as error:  # of the HTTP library's many kinds
        return f"{constants.ENDPOINT} does not answer: {type(error).__name__}"
    return ""


@contextmanager
def offline() -> Iterator[None]:
    """Let the hub's libraries use what is on this machine, without trying the network."""
    import datasets
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE = before
