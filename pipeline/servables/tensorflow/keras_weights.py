"""A large Keras file, read in pieces: others get the GIL meanwhile."""

from __future__ import annotations

import importlib
import io
import os
import struct
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_CONFIG: Final = "config.json"
_WEIGHTS: Final = "model.weights.h5"
# Files of less are Keras' own business.
_SMALL_BYTES: Final = 16 << 20
# TensorFlow holds the GIL while it copies an array: for 30 ms.
_PIECE_BYTES: Final = 128 << 20
_LOCAL_HEADER: Final = struct.Struct("<26xHH")
# Of Keras' own, which has no public function that reads the weights from anything but a path.
_NEEDED: Final = ("H5IOStore", "_load_state", "_model_from_config", "safe_get_h5_dataset")


def load_model(
    tensorflow: Any, keras: Any, file: Path, *, small_bytes: int = _SMALL_BYTES, piece_bytes: int = _PIECE_BYTES
) -> Any:
    """Return the Keras model in ``file``, in safe mode and not compiled. Raises whatever Keras raises.

    Keras itself reads the weights at once, and holds the GIL for 1 to 4 s a GB. Where they are large they are read
    here, into the model that Keras makes of the configuration: without the GIL, and given to TensorFlow in pieces.
    """
    saving: Any = importlib.import_module("keras.src.saving.saving_lib")
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        weights = members.get(_WEIGHTS)
        if (
            weights is None
            or weights.file_size <= small_bytes
            or weights.compress_type != zipfile.ZIP_STORED  # Keras does not compress
            or any(name.startswith("assets/") for name in members)
            or not all(hasattr(saving, name) for name in _NEEDED)
        ):
            return keras.models.load_model(file, compile=False, safe_mode=True)
        model = saving._model_from_config(archive.read(_CONFIG), None, compile=False, safe_mode=True)  # noqa: SLF001  # see _NEEDED
    with _Member(file, weights) as member:
        _restore(tensorflow, saving, model, member, piece_bytes)
    return model


def _restore(tensorflow: Any, saving: Any, model: Any, member: _Member, piece_bytes: int) -> None:
    """Give the model's variables the values in ``member``, an HDF5 file; raises ValueError for the first that lacks."""
    h5py = importlib.import_module("h5py")

    class Store(saving.H5IOStore):  # type: ignore[misc]  # Keras is not typed
        """Keras' store of weights, from a part of a file, with large ones in pieces."""

        def _get_h5_file(self, *_: Any, **__: Any) -> Any:
            return h5py.File(member, "r")

        def __getitem__(self, key: str) -> Any:
            found = saving.safe_get_h5_dataset(self._h5_entry_group, key)
            if found.nbytes <= piece_bytes or "dtype" in found.attrs:  # the latter says how to read the bytes
                return super().__getitem__(key)
            rows = max(1, piece_bytes * len(found) // found.nbytes)
            pieces = [tensorflow.constant(found[at : at + rows]) for at in range(0, len(found), rows)]
            return tensorflow.concat(pieces, 0)  # without the GIL

    failed: set[int] = set()
    errors: dict[int, tuple[Any, Exception]] = {}
    store = Store(_WEIGHTS)
    try:
        saving._load_state(model, store, None, "", visited_saveables=set(), failed_saveables=failed, error_msgs=errors)  # noqa: SLF001  # see _NEEDED
    finally:
        store.close()
    if failed:
        what, error = next(iter(errors.values()))
        raise ValueError(f"{len(failed)} of its objects have no weights, such as {what}: {error}") from error


class _Member(io.RawIOBase):
    """A member of a zip file that is not compressed, as a file; reading releases the GIL."""

    def __init__(self, file: Path, info: zipfile.ZipInfo) -> None:
        self._opened = file.open("rb", buffering=0)
        header = os.pread(self._opened.fileno(), _LOCAL_HEADER.size, info.header_offset)
        self._start = info.header_offset + _LOCAL_HEADER.size + sum(_LOCAL_HEADER.unpack(header))
        self._size = info.file_size
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer)[: max(0, self._size - self._at)]
        count = os.preadv(self._opened.fileno(), [view], self._start + self._at)
        self._at += count
        return count

    def close(self) -> None:
        self._opened.close()
        super().close()
