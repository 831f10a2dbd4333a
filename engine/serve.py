"""Keeps sources fresh: begins each source's pulls and loads when they are due, each in a process of its own. I/O.

Two of a kind are never under way at once, nor two loads into one warehouse. A process that dies takes nobody with it, and a
source that fails is tried again later each time, while the others go on. `syncer pull` and `load` by hand count as turns, too.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Protocol

from msgspec import Struct

from . import times
from .account import lock_name
from .clock import Clock
from .errors import HubError
from .hub import Hub
from .outcome import FIGURES
from .parse import Source
from .run import Options
from .schedule import HALVES, Half, Schedule, Turn, due
from .timers import Job
from .turns import turns_of

AT_ONCE = 4
"""How many halves are under way at once, of all sources together: each takes some hundred MB."""

LONGEST_SLEEP = 60.0
"""Seconds after which the clock is looked at again: it may have been set, or the machine have slept."""


@dataclass(frozen=True)
class Task:
    """One half of a source, and what `syncer` is to be told besides the spec's file."""

    source: str
    half: Half
    spec: str
    flags: tuple[str, ...] = field(default=(), repr=False)  # settings may be secrets
    at: str = ""
    """What no other task may be at while this one is: a hub, or a warehouse."""

    @property
    def command(self) -> tuple[str, ...]:
        """The command line that carries it out, by the same Python."""
        return (sys.executable, "-m", f"{__package__.partition('.')[0]}.cli", self.half, self.spec, *self.flags)


class Ended(Struct, frozen=True):
    """How a task ended: its status, and what there is to tell."""

    task: Task
    status: str
    told: tuple[str, ...] = ()


class Hands(Protocol):
    """What carries tasks out."""

    def start(self, task: Task) -> None:
        """Begin a task."""

    def next(self, seconds: float) -> Ended | None:
        """A task that has ended, within so many seconds; None where none did, or something else wants to be looked at."""

    def stop(self) -> None:
        """Have all that are under way come to an end soon; they still come out of `next`."""


@dataclass(frozen=True)
class Served:
    """A source that is kept fresh: its two tasks, and when they are due."""

    source: Source
    schedule: Schedule
    options: Options
    flags: tuple[str, ...] = field(default=(), repr=False)

    def task(self, half: Half) -> Task:
        name = self.source.spec.name.text
        to = self.options.warehouse_of(name)
        flags = ("--hub", self.options.hub, *(("--to", to) if half == "load" else self.flags))
        return Task(name, half, self.source.file, flags, f"{half} {to if half == 'load' else self.options.hub + '/' + name}")

    def last(self, half: Half) -> Turn | None:
        """The last turn that anybody had."""
        name = self.source.spec.name.text
        return turns_of(Hub(self.options.hub, name).local, lock_name(*self.options.lock_of(half, name))).last

    def ready(self, half: Half) -> bool:
        """Whether there is anything to do it with: a load needs a hub."""
        return half == "pull" or Hub(self.options.hub, self.source.spec.name.text).identity() is not None


class Server:
    """Keeps sources fresh, until it is told to stop."""

    def __init__(self, sources: Sequence[Served], hands: Hands, clock: Clock, say: Callable[[str], None]) -> None:
        self._sources, self._hands, self._clock, self._say = sources, hands, clock, say
        self._running: dict[Task, int] = {}
        self._mine: dict[tuple[str, Half], Turn] = {}
        self._stopping = False
        self._since = self._now()

    def serve(self) -> None:
        """Begin what is due and wait for what is next; return when all has ended after `stop`."""
        for one in self._sources:
            for half in HALVES:
                self._say(f"{one.source.spec.name}: {half} {one.schedule.of(half).told}")
        while not self._stopping or self._running:
            sleep = LONGEST_SLEEP if self._stopping else self._begin_what_is_due()
            if ended := self._hands.next(sleep):
                self._end(ended)

    def stop(self) -> None:
        """Begin nothing more, and have what is under way finish what it has in hand. For signal handlers, too."""
        self._stopping = True
        self._hands.stop()

    def _begin_what_is_due(self) -> float:
        """Begin what is due and may begin; gives the seconds until something else is."""
        now, sleep = self._now(), LONGEST_SLEEP
        waiting = sorted(
            ((self._due(one, half, now), place, half) for place, one in enumerate(self._sources) for half in HALVES),
            key=lambda found: found[:2],
        )
        for instant, place, half in waiting:
            task = self._sources[place].task(half)
            if instant > now:
                sleep = min(sleep, (instant - now) / times.SECOND)
            elif self._stopping:
                break
            elif len(self._running) < AT_ONCE and all(task.at != other.at for other in self._running):
                self._running[task] = now
                self._hands.start(task)
        return sleep

    def _due(self, one: Served, half: Half, now: int) -> int:
        """When a half is due. Of a hub that cannot be looked at its task shall say why."""
        found, is_ready = [self._mine.get((one.source.spec.name.text, half))], True
        with contextlib.suppress(HubError):
            found.append(one.last(half))
        turns = [turn for turn in found if turn and turn.began <= now]  # one of the future tells nothing: a clock was wrong
        last = max(turns, key=lambda turn: turn.began, default=None)
        with contextlib.suppress(HubError):
            is_ready = last is not None or one.ready(half)
        return due(one.schedule.of(half), one.schedule.zone, last, self._since, now, is_ready)

    def _end(self, ended: Ended) -> None:
        task, began, now = ended.task, self._running.pop(ended.task), self._now()
        before = self._mine.get((task.source, task.half))
        failures = 0 if ended.status == "complete" else 1 + (before.failures if before else 0)
        self._mine[task.source, task.half] = Turn(verb=task.half, began=began, ended=now, status=ended.status, failures=failures)
        self._say("; ".join([f"{task.source}: {task.half} {ended.status}, {(now - began) / times.SECOND:.1f} s", *ended.told]))

    def _now(self) -> int:
        return int(self._clock.time() * times.SECOND)


class Processes:
    """Carries tasks out by the command line, in processes of their own. A context manager: at its end, what still goes on is killed."""

    def __init__(self) -> None:
        self._running: dict[Task, subprocess.Popen[bytes]] = {}
        self._stopping = False
        self._ended: SimpleQueue[Ended | None] = SimpleQueue()  # its `put` may be called by signal handlers

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._running.values():
            process.kill()

    def start(self, task: Task) -> None:
        command = [*task.command, "--json"]
        try:
            # A session of its own: ctrl-C is for the one who started us, and he passes it on.
            process = subprocess.Popen(  # noqa: S603 - our own command
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            self._ended.put(Ended(task, "failed", (f"no process can be begun for it ({error.strerror})",)))
            return
        self._running[task] = process
        if self._stopping:
            process.terminate()
        threading.Thread(target=self._watch, args=(task, process), daemon=True).start()

    def next(self, seconds: float) -> Ended | None:
        with contextlib.suppress(Empty):
            if ended := self._ended.get(timeout=max(0.0, seconds)):
                self._running.pop(ended.task, None)
                return ended
        return None

    def stop(self) -> None:
        self._stopping = True
        for process in list(self._running.values()):
            process.terminate()
        self._ended.put(None)

    def _watch(self, task: Task, process: subprocess.Popen[bytes]) -> None:
        out, said = process.communicate()
        self._ended.put(_ended(task, process.returncode, out, said))


def _ended(task: Task, code: int, out: bytes, said: bytes) -> Ended:
    """How a task ended, from what its process printed."""
    try:
        document = json.loads(out)
        books = document["collections"]
    except (ValueError, LookupError, TypeError):
        last = said.decode("utf-8", "replace").strip().rpartition("\n")[2]
        died = f"its process ended {f'by signal {-code}' if code < 0 else f'with code {code}'}"
        return Ended(task, "failed", (died, last) if last and code >= 0 else (died,))
    figures = [f"{sum(book[word] or 0 for book in books.values()):,} {word}" for word in FIGURES[task.half]] if books else []
    errors = [document["error"]] if document.get("error") else [book["error"] for book in books.values() if book["error"]]
    return Ended(task, document["status"], (", ".join(figures), *errors) if figures else tuple(errors))


def jobs(sources: Sequence[tuple[Source, Schedule]], options: Options, folder: Path) -> list[Job]:
    """The tasks as other schedulers carry them out, in a folder."""
    return [
        Job(task.source, half, schedule.of(half), schedule.timezone or "UTC", str(folder), task.command)
        for source, schedule in sources
        for half in HALVES
        for task in [Served(source, schedule, options).task(half)]
    ]
