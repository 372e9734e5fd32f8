"""The cluster that the tests of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.slurm.cluster import Cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A cluster of this process's own, to which SLURM's programs turn until the session ends."""
    if reason := Cluster.available():
        pytest.skip(reason)
    started = Cluster(tmp_path_factory.mktemp("slurm"))
    with pytest.MonkeyPatch.context() as patch:
        try:
            started.start()
            for name, value in started.environment().items():
                patch.setenv(name, value)
            yield started
        finally:
            started.stop(purge=True)
