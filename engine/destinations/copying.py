"""A batch's rows on their way into a table of PostgreSQL, by COPY. I/O.

Two threads are at work: one converts file after file to CSV, the other sends what is converted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ..project import Unfit, quoted
from . import staged

if TYPE_CHECKING:
    from types import TracebackType

_COPY_BYTES = 2**20
_ELEMENT = r"""CASE WHEN one IS NULL THEN 'NULL' ELSE '"' || replace(replace(CAST(one AS VARCHAR), '\', '\\'), '"', '\"') || '"' END"""
"""An element as it stands in the text of an array (PostgreSQL, 8.15.6)."""


class Copying:
    """Sends Parquet files to `copy`, one after the other, each as the pieces of a CSV: columns of the types that are given, without records
    that hold what is unfit.

    As a context it ends with the last file, and raises what `copy` or the conversion raised; an error breaks it off, and `copy` with it.
    Where one file fails, none that follows is sent.
    """

    def __init__(self, types: Mapping[str, str], unfit: Iterable[Unfit], copy: Callable[[Iterator[bytes]], None]) -> None:
        self.files: list[str] = []
        self._copy, self._unfit = copy, list(unfit)
        self._columns = {name: _written(name, type_) for name, type_ in types.items()}
        self._converter, self._sender = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._sent: list[Future[None]] = []
        self._is_wanted = True

    def __enter__(self) -> Copying:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.end()
        else:
            self.break_off()

    def add(self, file: str) -> None:
        self.files.append(file)
        self._sent.append(self._sender.submit(self._send, self._converter.submit(self._converted, file)))

    def end(self) -> None:
        """No file comes any more: wait for all of them. Raises what went wrong first."""
        try:
            for sent in self._sent:
                sent.result()
        finally:
            self.break_off()

    def break_off(self) -> None:
        """Nothing of it is wanted any more."""
        self._is_wanted = False
        for pool in (self._converter, self._sender):
            pool.shutdown(cancel_futures=True)

    def _converted(self, file: str) -> Path:
        self._require_wanted()
        to = Path(file).with_suffix(".csv")
        staged.copy(staged.selected([file], self._columns, self._unfit), str(to), "FORMAT csv, HEADER false", to.parent)
        return to

    def _send(self, converted: Future[Path]) -> None:
        try:
            file = converted.result()
            with file.open("rb") as stream:
                self._copy(self._pieces(stream))
            file.unlink()
        except BaseException:
            self._is_wanted = False
            raise

    def _pieces(self, stream: IO[bytes]) -> Iterator[bytes]:
        while piece := stream.read(_COPY_BYTES):
            self._require_wanted()
            yield piece

    def _require_wanted(self) -> None:
        """Raises CancelledError, which breaks off `copy` too."""
        if not self._is_wanted:
            raise CancelledError


def _written(name: str, type_: str) -> str:
    """A value as COPY reads it."""
    if not type_.endswith("[]"):
        return quoted(name)
    elements = f"list_transform({quoted(name)}, lambda one: {_ELEMENT})"
    return f"CASE WHEN {quoted(name)} IS NOT NULL THEN '{{' || array_to_string({elements}, ',') || '}}' END"
