"""Every storage path source that comes with Penstock keeps the contract."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pipeline.testing.source_contract import StoragePathSourceContract


class TestFileSystem(StoragePathSourceContract):
    entry_point = "pipeline.storage.file_system:FileSystemSource"

    def write_versions(self, base_path: Path, versions: Iterable[int]) -> None:
        base_path.mkdir(exist_ok=True)
        wanted = {str(version) for version in versions}
        for child in base_path.iterdir():
            if child.name.isdigit() and child.name not in wanted:
                child.rename(base_path / f"withdrawn-{child.name}")
        for name in wanted.difference(child.name for child in base_path.iterdir()):
            (base_path / name).mkdir()
            (base_path / name / "model").write_text(f"version {name}")
