"""A batch's rows on their way into a table of PostgreSQL, by COPY. I/O.

Two threads are at work: one converts file after file to CSV, the other sends what is converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

from ..project import Unfit, quoted
from . import staged

if TYPE_CHECKING:
    from types import TracebackType

_COPY_BYTES = 2**20
_ELEMENT = r"""CASE WHEN one IS NULL THEN 'NULL' ELSE '"' || replace(replace(CAST(one AS VARCHAR), '\', '\\'), '"', '\"') || '"' END"""
"""An element as it stands in the text of an array (PostgreSQL, 8.15.6)."""


class Copying:
    """Columns of Parquet files, of the types that are given, without records that hold what is unfit: `copy` is given their rows as CSV.

    As a context it ends with the last file, and raises what `copy` and the conversion raised; an error breaks it off, and `copy` with it.
    """

    def __init__(self, types: Mapping[str, str], unfit: Iterable[Unfit], copy: Callable[[Iterator[bytes]], None]) -> None:
        self.files: list[str] = []
        self._written, self._unfit = {name: _written(name, type_) for name, type_ in types.items()}, list(unfit)
        self._waiting = SimpleQueue[Future[Path] | None]()
        self._converter, self._sender = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._is_wanted = True
        self._sent = self._sender.submit(copy, self._pieces())

    def __enter__(self) -> Copying:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.end()
        else:
            self.break_off()

    def add(self, file: str) -> None:
        self.files.append(file)
        if not self._sent.done():  # else it failed
            self._waiting.put(self._converter.submit(self._converted, file))

    def end(self) -> None:
        """No file comes any more: wait for all of them."""
        self._waiting.put(None)
        try:
            self._sent.result()
        finally:
            self._shut()

    def break_off(self) -> None:
        """Nothing of it is wanted any more."""
        self._is_wanted = False
        self._waiting.put(None)
        self._shut()

    def _shut(self) -> None:
        self._converter.shutdown(cancel_futures=True)
        self._sender.shutdown()

    def _pieces(self) -> Iterator[bytes]:
        while (converted := self._waiting.get()) is not None:
            file = converted.result()
            with file.open("rb") as stream:
                while piece := stream.read(_COPY_BYTES):
                    self._require_wanted()
                    yield piece
            file.unlink()
        self._require_wanted()

    def _require_wanted(self) -> None:
        """Raises CancelledError, which breaks off `copy` too."""
        if not self._is_wanted:
            raise CancelledError

    def _converted(self, file: str) -> Path:
        to = Path(file).with_suffix(".csv")
        staged.copy(staged.selected([file], self._written, self._unfit), str(to), "FORMAT csv, HEADER false", to.parent)
        return to


def _written(name: str, type_: str) -> str:
    """A value as COPY reads it."""
    if not type_.endswith("[]"):
        return quoted(name)
    elements = f"list_transform({quoted(name)}, lambda one: {_ELEMENT})"
    return f"CASE WHEN {quoted(name)} IS NOT NULL THEN '{{' || array_to_string({elements}, ',') || '}}' END"
