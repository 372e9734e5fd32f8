"""Load data sets from the Hugging Face hub, and check within seconds whether the hub can be reached.

The hub's own libraries try for half a minute or more.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from kdbench.core.errors import UserError

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


def dataset_name(repository: str, configuration: str, revision: str) -> str:
    """Return the name of a data set's content, such as `OWNER/NAME@REVISION/CONFIGURATION`."""
    return f"{repository}{'@' * bool(revision)}{revision}{'/' * bool(configuration)}{configuration}"


def load_dataset(repository: str, configuration: str, revision: str, way_out: str) -> Any:
    """Load a data set of the hub, from the local cache if it was loaded before.

    Args:
        configuration, revision: "" for the data set's own defaults.
        way_out: what the user can do without the hub; the error's message names it.

    Raises:
        UserError: the data set cannot be loaded.
    """
    import datasets
    from huggingface_hub.utils import logging

    unreachable = ""
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # its warnings on retries; the error below covers them
    try:
        # the library reads HF_HUB_OFFLINE at import and would ignore a later change
        asked_offline = os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}
        if asked_offline and not datasets.config.HF_HUB_OFFLINE:
            raise ConnectionError("HF_HUB_OFFLINE is set")
        unreachable = connection_problem()
        with use_offline() if unreachable else nullcontext():
            return datasets.load_dataset(repository, configuration or None, revision=revision or None)
    except Exception as error:  # errors of many types, with the same meaning for the user
        reason = unreachable or str(error).partition("\n")[0].partition(". ")[0].rstrip(".") or type(error).__name__
        name = dataset_name(repository, configuration, revision)
        raise UserError(
            f"{name} cannot be loaded from the Hugging Face hub ({reason}): {way_out}, or run once with network and "
            "HF_HUB_OFFLINE unset."
        ) from error
