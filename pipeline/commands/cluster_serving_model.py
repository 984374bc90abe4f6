"""The model directory of a job as a base path: it has one model and no numbers, and a base path has versions."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InvalidSettings
from pipeline.storage.versions import parse_version

# Below the directory of config.yaml.
FOLDER: Final = "penstock-models"
_NO_LONGER: Final = {".model": "BigDL", ".prototxt": "Caffe", ".caffemodel": "Caffe"}


def stream_of(job: str, model_path: str, config: Path, threads: int, *, is_dry: bool = False) -> dict[str, Any]:
    """Return where the versions of a job lie, and what kind they are, as in the section ``servables``.

    A directory with numbered ones is a base path already. The files of any other are copied, once for each change, to a
    version below the directory of ``config``: its number is when the newest of them was written, in seconds since the
    Unix epoch. So files that were replaced are a new version at the next start, and the old one is there to go back to.
    Blocks for as long as copying takes; ``is_dry`` copies nothing. Raises InvalidSettings.
    """
    place = f"{config}: modelPath"
    if "://" in model_path:
        reason = f"{model_path}: put the model into a numbered directory there, such as .../1, and use penstock.yaml"
        raise InvalidSettings(place, f"{reason} with servables.{job}.base_path")
    path = (config.resolve().parent / Path(model_path).expanduser()).resolve()
    if not path.is_dir():
        raise InvalidSettings(place, f"{path} is no directory")
    versions = [child for child in path.iterdir() if child.is_dir() and parse_version(child.name) is not None]
    if versions:
        return {"base_path": str(path), **_kind(versions[0], threads)}
    for file in path.iterdir():
        if file.suffix in _NO_LONGER:
            reason = f"{file.name} is a model of {_NO_LONGER[file.suffix]}, which nothing here reads"
            raise InvalidSettings(place, f"{reason}; convert it to ONNX or OpenVINO's IR")
    base = config.resolve().parent / FOLDER / job
    try:
        if not is_dry:
            _copy(path, base)
    except OSError as error:
        reason = f"{path} can not be copied to {base}: {error}"
        raise InvalidSettings(place, f"{reason}; or put the model into {path}/1") from error
    return {"base_path": str(base), **_kind(path, threads)}


def _copy(path: Path, base: Path) -> None:
    files = [file for file in path.rglob("*") if file.is_file()]
    if not files:
        raise FileNotFoundError("it has no files")
    version = base / str(int(max(file.stat().st_mtime for file in files)))
    if version.exists():
        return
    partial = base / f".{version.name}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # of a start that was cut short
    shutil.copytree(path, partial)
    partial.rename(version)


def _kind(path: Path, threads: int) -> dict[str, Any]:
    """Return kind and options, as far as the files tell; else whoever loads it finds out."""
    found = {file.suffix for file in path.iterdir() if file.is_file()}
    if ".xml" in found:
        kind, option = "openvino", "threads"
    elif ".pt" in found:
        kind, option = "torch", "threads"
    elif (path / "saved_model.pb").is_file():
        kind, option = "tensorflow", "intra_op_threads"
    elif ".pb" in found:
        kind, option = "openvino", "threads"
    else:
        return {}
    return {"kind": kind, "options": {option: threads}} if threads else {"kind": kind}
