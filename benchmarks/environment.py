"""The environments of the peers: each has its own below ``.venv/peers``, with exactly what its requirements say."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.process import BenchmarkError

REQUIREMENTS: Final = Path(__file__).parent / "peers"
_ENVIRONMENTS: Final = Path(__file__).parent.parent / ".venv" / "peers"
_STAMP: Final = ".ready"


def requirements(name: str) -> Path:
    """Return the file that lists every package of an environment with its version."""
    return REQUIREMENTS / name / "requirements.txt"


def versions(name: str) -> dict[str, str]:
    """Return the packages of an environment and their versions, as its requirements say."""
    lines = (line.partition("#")[0].strip() for line in requirements(name).read_text().splitlines())
    return dict(line.split("==") for line in lines if line)


def python(name: str) -> Path:
    """Return the interpreter of an environment; it need not be there."""
    return _ENVIRONMENTS / name / "bin" / "python"


def is_ready(folder: Path, wanted: str) -> bool:
    """Whether the environment in ``folder`` was finished with just these requirements, on this Python."""
    stamp = folder / _STAMP
    return stamp.is_file() and stamp.read_text() == wanted


def stamp(text: str) -> str:
    """Return what the stamp of an environment with these requirements says."""
    return f"{sys.version_info.major}.{sys.version_info.minor} {hashlib.sha256(text.encode()).hexdigest()}\n"


def set_up(name: str) -> None:
    """Make an environment, or do nothing where it is there; raises BenchmarkError with what pip said."""
    folder, wanted = _ENVIRONMENTS / name, stamp(requirements(name).read_text())
    if is_ready(folder, wanted):
        return
    print(f"installing what {name} needs into {folder} (once)", file=sys.stderr, flush=True)
    _run([sys.executable, "-m", "venv", "--clear", folder])
    install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps"]
    _run([python(name), *install, "-r", requirements(name)])
    (folder / _STAMP).write_text(wanted)


def _run(argv: list[str | Path]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BenchmarkError(f"{' '.join(map(str, argv))} ended with status {done.returncode}\n{done.stderr[-4000:]}")
