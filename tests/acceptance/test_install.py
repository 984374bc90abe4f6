"""What a user gets from ``pip install``: nothing depends on the checkout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.acceptance.installing import install, run


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_installed_penstock_serves_the_demo_from_any_directory(tmp_path: Path) -> None:
    """Installed from a copy of what git would clone, into a clean environment."""
    binaries = install(tmp_path, "[demo]")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    imports = "import pipeline, connectors, schemas; print(pipeline.__file__)"
    assert "environment" in run(str(binaries / "python"), "-c", imports, cwd=elsewhere)
    penstock = str(binaries / "penstock")
    assert "worker" in run(penstock, "--help", cwd=elsewhere)
    report = json.loads(run(penstock, "demo", "--json", "--requests", "6000", cwd=elsewhere))
    assert (report["lost"], report["duplicated"], report["errors"]) == (0, 0, 0)
    assert report["answered"] == report["requests"] == 6000
