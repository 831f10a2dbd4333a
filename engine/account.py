"""What processes of one account share: locks, and permits to send requests. I/O; files for their owner alone.

A lock is for thrift, never for truth: it spares two runs the same requests. Locks belong to open files, so they die with their
process, however that ends. The locks of a hub stand beside it; the permits of an account, which may fill several hubs, in one
folder of the machine's user.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import count
from pathlib import Path

from .budget import Budget
from .clock import Clock
from .errors import HubError
from .permits import LOOK, Permits

_TURN, _SLOT = 0.005, 0.02
"""Seconds after which is looked again whether it is one's turn, and whether another's request has ended."""

_LONGEST_LINE = 2**20
"""Bytes of the file that are read. A shorter line than the one before leaves an old end behind itself."""

COMPACTION = "compaction"
"""Held by who compacts a hub, and shared by those who load from it."""
_DOES = {COMPACTION: "compacts it, or loads from it"}

Waiting = Callable[[float, str], None]
"""Told before each wait: how many seconds, and why."""


def lock_name(what: str, target: str = "") -> str:
    """What the lock on doing `what` is called, with `target` if that is named."""
    return f"{what} {sha256(target.encode()).hexdigest()[:8]}" if target else what


@contextlib.contextmanager
def locked(root: Path, what: str, target: str = "", shared: bool = False, wait: bool = False) -> Iterator[str]:
    """Hold the lock on doing `what`, with `target` if that is named; gives the lock's name. Those who share it hold off the others.

    Raises HubError at once where another process holds it, unless it is for a moment, and waited for.
    """
    name = lock_name(what, target)
    folder = root / "account"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise HubError(f"hub {root}: cannot be locked ({error.strerror}); correct its permissions") from error
    try:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
        except OSError:
            raise HubError(f"hub {root}: another process {_DOES.get(what, f'is at a {what} of it')}; wait until that has ended") from None
        yield name
    finally:
        os.close(handle)


def state_folder() -> Path:
    """Where what all runs of this machine's user share is kept."""
    if told := os.environ.get("SYNCER_STATE"):
        return Path(told)
    return Path(os.environ.get("XDG_STATE_HOME") or Path("~/.local/state").expanduser()) / "syncer"


def account_name(origin: str, public: str, private: str) -> str:
    """An account's name for files: of its origin and whom the API knows by it. Only where nothing public tells, a little of secrets."""
    if public:
        return sha256(f"{origin}\n{public}".encode()).hexdigest()[:16]
    return sha256(origin.encode()).hexdigest()[:8] + sha256(f"{origin}\n{private}".encode()).hexdigest()[:8]


class Account:
    """The permits of an account: budgets, and how many requests may be under way at once. For any number of threads.

    With a `name`, all processes of this machine share them, by files in `folder`; where that cannot be written, and without a
    name, they are this process's own. `waiting` is told of every wait.
    """

    def __init__(
        self,
        budgets: Sequence[Budget],
        concurrency: int | None,
        clock: Clock,
        waiting: Waiting,
        name: str | None = None,
        folder: Callable[[], Path] = state_folder,
    ) -> None:
        self.clock, self.waiting = clock, waiting
        self._budgets, self._shared_slots = budgets, concurrency or 0
        self._own_slots = threading.BoundedSemaphore(concurrency or 1)
        self._lock = threading.Lock()
        self._me, self._numbers = secrets.token_hex(8), count()
        self._permits = Permits.opened(budgets, clock.monotonic())
        self._stem: Path | None = None
        self._file: int | None = None
        self._name, self._folder = name, folder
        """What is opened with the first permit: whoever asks for none leaves no trace."""

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file = None

    @contextlib.contextmanager
    def permit(self, cost: int = 1) -> Iterator[None]:
        """Wait for a permit to send one request that counts for `cost`; it is held until the block ends."""
        with self._own_slots:
            slot = self._taken(f"{self._me}-{next(self._numbers)}", cost)
            try:
                yield
            finally:
                if slot is not None:
                    os.close(slot)

    def told(self, headers: Mapping[str, str], status: int) -> None:
        """Believe what an answer's headers say."""
        with self._opened() as now:
            self._permits = self._permits.told(headers, status, now, self.clock.time())

    def remaining(self) -> tuple[int, float] | None:
        """How many requests the tightest budget has left after the last answer, and in how many seconds it has all again."""
        now = self.clock.monotonic()
        found = self._permits.remaining(now)
        return found and (found[0], found[1] - now)

    def _taken(self, who: str, cost: int) -> int | None:
        """Wait for one's turn, for the budgets and for a slot; gives the slot's handle where slots are shared."""
        said: dict[str, float] = {}
        try:
            while True:
                with self._opened() as now:
                    wait, why = self._permits.wait(cost, now)
                    if wait <= 0 and not self._permits.is_next(who, now, cost):
                        wait, why = _TURN, "others of this account came before"
                    if wait <= 0:
                        slot, is_free = self._free_slot()
                        if is_free:
                            self._permits = self._permits.left_by(who).spent(cost, now)
                            return slot
                        wait, why = _SLOT, "as many requests as `api.concurrency` allows are under way"
                    self._permits = self._permits.queued(who, now + wait, now, cost)
                if now >= said.get(why, now):  # looking again and again is one wait
                    self.waiting(wait, why)
                    said[why] = now + max(wait, 1.0)
                self.clock.sleep(min(wait, LOOK))
        except BaseException:
            with self._opened():
                self._permits = self._permits.left_by(who)
            raise

    def _free_slot(self) -> tuple[int | None, bool]:
        """A slot that no other process holds, if there is one; `None` is a slot of this process's own."""
        if self._stem is None or not self._shared_slots:
            return None, True
        for place in range(self._shared_slots):
            try:
                handle = _open_own(self._stem.with_name(f"{self._stem.name}.slot-{place}"))
            except OSError as error:
                self._alone(error)
                return None, True
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(handle)
                continue
            return handle, True
        return None, False

    @contextlib.contextmanager
    def _opened(self) -> Iterator[float]:
        """The permits as all processes know them, for this thread alone; what the block makes of them is kept. Gives the time."""
        with self._lock:
            if self._name:
                self._open(self._name)
            file = self._file
            text = None if file is None else self._read(file)
            now = self.clock.monotonic()
            if text is not None:
                self._permits = Permits.parse(text, self._budgets, now)
            before = self._permits
            try:
                yield now
            finally:
                if file is not None and file == self._file:
                    self._write(file, None if self._permits is before else self._permits.text(now))

    def _open(self, name: str) -> None:
        self._name = None
        try:
            self._stem = self._folder() / name
            self._stem.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = _open_own(self._stem.with_suffix(".json"))
        except (OSError, RuntimeError) as error:
            self._alone(error)

    def _read(self, file: int) -> str | None:
        """Lock the file, and read its line; None where that cannot be done."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            return os.pread(file, _LONGEST_LINE, 0).partition(b"\n")[0].decode("utf-8", "replace")
        except OSError as error:
            self._alone(error)
            return None

    def _write(self, file: int, text: str | None) -> None:
        """Write the line, if there is a new one, and unlock. Not synced: what a dead machine knew is past."""
        try:
            if text is not None:
                os.pwrite(file, f"{text}\n".encode(), 0)
            fcntl.flock(file, fcntl.LOCK_UN)
        except OSError as error:
            self._alone(error)

    def _alone(self, error: Exception) -> None:
        """Go on without the others, and say so once."""
        self.close()
        self._stem = None
        why = getattr(error, "strerror", None) or type(error).__name__
        self.waiting(
            0.0, f"the budgets of this account are not shared with other runs of this machine ({why}); set SYNCER_STATE to a folder"
        )


def _open_own(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
