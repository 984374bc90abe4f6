"""LocalServer: what the servers of this machine share: their folder, and how they are used in a with statement."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType


class LocalServer(ABC):
    """Data in ``data_dir``, which is kept, or in a temporary folder, which goes with the object."""

    def __init__(self, data_dir: Path | None, name: str) -> None:
        """``name`` is what the temporary folder's begins with."""
        self._is_data_kept = data_dir is not None
        self._folder = data_dir or Path(tempfile.mkdtemp(prefix=name))
        if data_dir is None:
            weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)

    @abstractmethod
    def start(self) -> Self:
        """Start what is not running, and return when it can be used."""

    @abstractmethod
    def stop(self) -> None:
        """Shut down in good order."""

    @abstractmethod
    def kill(self) -> None:
        """End as a power cut would (SIGKILL)."""

    def restart(self) -> None:
        """Stop and start; clients find it at the same address, with the data that a ``stop`` leaves."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_data_kept:
            self.stop()
            return
        self.kill()  # nobody will read what an orderly shutdown would write
        shutil.rmtree(self._folder, ignore_errors=True)
