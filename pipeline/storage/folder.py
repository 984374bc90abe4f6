"""What a storage path source needs of a storage: the contract between one base path and whoever looks at it."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, NamedTuple, Protocol

IN_PROGRESS: Final = (".tmp", ".part")
MAX_FILES: Final = 100_000


class FileStamp(NamedTuple):
    """One file: its name relative to the version, its size, and a tag that changes when somebody writes to it."""

    name: str
    size_bytes: int
    tag: Hashable

    @property
    def is_content(self) -> bool:
        """Whether the file belongs to the version; hidden files and those of a copy in progress do not."""
        return not any(part.startswith(".") or part.endswith(IN_PROGRESS) for part in self.name.split("/"))


Fingerprint = tuple[FileStamp, ...]


class Folder(Protocol):
    """The children of one base path. Every method may block for as long as the storage does not answer.

    Used by one thread at a time. ``has_sha256`` says what ``hash_of`` returns.
    """

    has_sha256: bool

    def children(self) -> Iterable[str]:
        """Return the names directly below the base path. Raises OSError: it is missing, or can not be read."""
        ...

    def path_of(self, name: str) -> str:
        """Return the path, or URI, that a record names the child by."""
        ...

    def fingerprint(self, name: str) -> Fingerprint:
        """Return the stamps of all files of a child, sorted by name; the one of a single file has an empty name.

        Temporary files count: while a copy goes on, the fingerprint changes. Raises OSError where something can not be
        read, and PathRefused where the child is nothing that a worker may open.
        """
        ...

    def hash_of(self, name: str, stamp: FileStamp) -> str:
        """Return what the content of one file is told by: its SHA-256 in hex, else what the store tells without a read.

        Raises OSError.
        """
        ...

    def read(self, name: str, file: str, limit_bytes: int) -> bytes:
        """Return the content of one small file. Raises OSError: also where it is larger than ``limit_bytes``."""
        ...

    def directories(self) -> frozenset[tuple[str, int]]:
        """Return the directories seen since ``children``, with their inodes, that can be watched for changes.

        Empty where the storage tells nobody of changes, or not of all of them.
        """
        ...
