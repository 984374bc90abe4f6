"""What a user gets from ``pip install``: nothing depends on the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*command: str, cwd: Path) -> str:
    environ = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=cwd, env=environ, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_installed_penstock_serves_the_demo_from_any_directory(tmp_path: Path) -> None:
    """Installed from a copy of what git would clone, into a clean environment."""
    source = tmp_path / "source"
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    run(sys.executable, "-m", "venv", "environment", cwd=tmp_path)
    python = str(tmp_path / "environment" / "bin" / "python")
    constraints = str(ROOT / "constraints.txt")
    run(python, "-m", "pip", "install", "--quiet", "-c", constraints, f"{source}[demo]", cwd=tmp_path)
    source.rename(tmp_path / "gone")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    where = run(python, "-c", "import pipeline, connectors, schemas; print(pipeline.__file__)", cwd=elsewhere)
    assert "environment" in where
    penstock = str(tmp_path / "environment" / "bin" / "penstock")
    assert "worker" in run(penstock, "--help", cwd=elsewhere)
    report = json.loads(run(penstock, "demo", "--json", "--requests", "6000", cwd=elsewhere))
    assert (report["lost"], report["duplicated"], report["errors"]) == (0, 0, 0)
    assert report["answered"] == report["requests"] == 6000
