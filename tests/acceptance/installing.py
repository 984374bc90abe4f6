"""Penstock as a user has it: installed from what git would clone, into an environment of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONSTRAINTS = ROOT / "constraints.txt"


def environ_of_a_user(**more: str) -> dict[str, str]:
    """Return the environment without what names this Python and its packages."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {**kept, **more}


def run(*command: str, cwd: Path, environ: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and return what it has printed; fail when it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=280, cwd=cwd, env=environ or environ_of_a_user(), check=False
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def copy_checkout(to: Path, below: str = "") -> None:
    """Copy what git would clone, all of it or what lies below one folder."""
    for name in run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines():
        if (ROOT / name).is_file() and name.startswith(below):
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            (to / name).write_bytes((ROOT / name).read_bytes())


def install(folder: Path, extras: str = "") -> Path:
    """Make an environment with Penstock in ``folder``, and return its bin; the sources are gone afterwards."""
    source = folder / "source"
    copy_checkout(source)
    run(sys.executable, "-m", "venv", "environment", cwd=folder)
    binaries = folder / "environment" / "bin"
    run(str(binaries / "pip"), "install", "--quiet", "-c", str(CONSTRAINTS), f"{source}{extras}", cwd=folder)
    source.rename(folder / "gone")
    return binaries
