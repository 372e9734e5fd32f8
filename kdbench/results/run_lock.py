"""Lock a run, so that only one process on any machine trains it."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, SoftFileLease

from kdbench.core.errors import RunFailure

EMPTY_SECONDS = 2.0  # a lease that is empty for so long is not being written
LEASE_SECONDS = 30.0  # a holder on another machine that gave no sign for so long is taken for dead
GRACE_SECONDS = 1.0  # longer than somebody's look at whether the run is held


class Superseded(Exception):
    """Raised when another process has taken the run over; this process must not write any more."""


class RunLock:
    """A lock of two parts, for folders that several machines share.

    `lock` is the operating system's lock. It is reliable between processes of one machine and ends with its process,
    but some file systems do not pass it to other machines. `lease` is a file that its holder touches every few seconds:
    a process elsewhere takes the run over after `LEASE_SECONDS` of its own clock without a touch. Clocks that differ or
    jump do no harm. A holder that was frozen for longer notices it before it writes (`check`).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._here = FileLock(folder / "lock")
        self._looked = 0.0
        self._lease = SoftFileLease(folder / "lease", lease_duration=LEASE_SECONDS, thread_local=False)

    @contextmanager
    def held(self, give_up: Callable[[], bool] = lambda: False) -> Iterator[RunLock]:
        """Hold the lock within the block.

        Args:
            give_up: asked while waiting for the lease of a silent holder on another machine.

        Raises:
            Timeout: another process holds the run.
            RunFailure: the folder or its lock cannot be written.
        """
        self._make_ready()
        with self._here.acquire(timeout=GRACE_SECONDS):
            self._drop_empty_lease()
            before = self._touched()
            silence = self._lease.acquire(
                timeout=LEASE_SECONDS + 10,
                cancel_check=lambda: give_up() or self._touched() not in (before, 0),
            )
            with silence:
                yield self

    def _make_ready(self) -> None:
        """Create the folder and the lock file.

        Raises:
            RunFailure: they cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = Path(self._here.lock_file)
            os.close(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666))
        except PermissionError:
            raise RunFailure(
                "permission", f"you may not write to {self._folder}; give another --results DIR."
            ) from None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENOTDIR):
                raise RunFailure("disk", f"{self._folder}/lock is no file ({error.strerror}); delete it.") from None
            raise

    def _drop_empty_lease(self) -> None:
        """Remove a lease without content, which a full disk leaves, and which filelock takes for held for ever.

        Nobody on this machine holds the run, because this process has its lock. On another machine a lease has content
        as soon as it is made.
        """
        lease, before = Path(self._lease.lock_file), self._touched()
        try:
            if lease.stat().st_size == 0:
                time.sleep(EMPTY_SECONDS)
                if lease.stat().st_size == 0 and self._touched() == before:
                    lease.unlink()
        except FileNotFoundError:
            pass  # there is no lease, or its holder has gone

    def _touched(self) -> int:
        """Return when the lease was last touched, in ns of the file system's clock; 0 where there is no lease."""
        try:
            return Path(self._lease.lock_file).stat().st_mtime_ns
        except OSError:
            return 0

    def check(self, *, at_most_every: float = 0.0) -> None:
        """Check that this process still holds the lease; call it before every write.

        Args:
            at_most_every: seconds; skip the check if the last one is no older.

        Raises:
            Superseded: the lease was lost.
        """
        now = time.monotonic()
        if now - self._looked < at_most_every:
            return
        self._looked = now
        owner = self._lease.owner
        if owner is None or owner.token != self._lease.token:
            raise Superseded("another process took over while this one gave no sign")

    def owner(self) -> tuple[str, int] | None:
        """Return host and process that hold the run; None where they are not known."""
        owner = self._lease_owner() if self.is_held() else None
        return (owner.hostname, owner.pid) if owner and owner.hostname and owner.pid else None

    def is_held(self) -> bool:
        """Return whether a process seems to train the run; meant for display, not for decisions.

        Neither writes nor locks, so that anybody who may read the folder can ask.
        """
        if self._is_locked():
            return True
        owner = self._lease_owner()
        if owner is None or owner.hostname == socket.gethostname():
            return False
        return time.time() - self._touched() / 1e9 < 2 * LEASE_SECONDS

    def _is_locked(self) -> bool:
        """Try a shared lock, for which read permission is enough; where that fails, look for the holder's process."""
        try:
            handle = os.open(self._here.lock_file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return False
        except OSError:
            return self._has_live_owner()
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return self._has_live_owner()
        finally:
            os.close(handle)
        return False

    def _has_live_owner(self) -> bool:
        """Return whether the process that wrote the lease lives on this machine."""
        owner = self._lease_owner()
        if owner is None or not owner.pid or owner.hostname != socket.gethostname():
            return False
        try:
            os.kill(owner.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # another user's
            return True
        return True

    def _lease_owner(self) -> Any:
        """Return who wrote the lease; None where there is no readable lease."""
        try:
            return self._lease.owner
        except OSError:
            return None
