"""A kind of servable made of functions: the one loader, and the one source adapter, that most kinds need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.registry.options import Options, check_options
from pipeline.registry.servable import Servable, ServableId


class SimpleLoader:
    """A Loader that is its functions, and nothing of whoever made it.

    ``create`` does all the work of a load; it is called again when a load that failed is tried again.
    ``estimate_bytes`` says what the version will need; without it nobody knows. It is asked until it has returned once.
    ``estimate_loaded_bytes`` is asked once, after the load, and counts where it is lower. ``destroy`` frees what
    garbage collection does not; it is called with the servable at its unload, or in a load that fails after ``create``.
    """

    def __init__(
        self,
        create: Callable[[], Servable],
        estimate_bytes: Callable[[], int | None] | None = None,
        *,
        estimate_loaded_bytes: Callable[[Any], int] | None = None,
        destroy: Callable[[Any], None] | None = None,
    ) -> None:
        self._create = create
        self._estimate_bytes = estimate_bytes
        self._estimate_loaded_bytes = estimate_loaded_bytes
        self._destroy = destroy
        self._bytes: int | None = None
        self._is_estimated = estimate_bytes is None
        self._servable: Servable | None = None

    @property
    def servable(self) -> Servable | None:
        """The servable between ``load`` and ``unload``, None before and after."""
        return self._servable

    def estimate_bytes(self) -> int | None:
        """See Loader. Raises what the estimate raises."""
        if not self._is_estimated and self._estimate_bytes is not None:
            self._bytes = self._estimate_bytes()
            self._is_estimated = True
        return self._bytes

    def load(self) -> Servable:
        """See Loader. Raises what ``create`` and the estimates raise."""
        servable = self._create()
        try:
            if self._estimate_loaded_bytes is not None:
                before, loaded = self.estimate_bytes(), self._estimate_loaded_bytes(servable)
                self._bytes = loaded if before is None else min(before, loaded)
        except BaseException:
            self._free(servable)
            raise
        self._servable = servable
        return servable

    def unload(self) -> None:
        """See Loader. The servable is let go of even when ``destroy`` raises."""
        servable, self._servable = self._servable, None
        if servable is not None:
            self._free(servable)

    def _free(self, servable: Servable) -> None:
        if self._destroy is not None:
            self._destroy(servable)


class SimpleAdapter:
    """A SourceAdapter whose loaders are SimpleLoaders: one ``create`` and, as far as they are needed, its companions.

    ``create(id, path, options)`` returns the servable of one version, ``options`` being an object of the class that
    ``options`` names. The rest as in SourceAdapter and SimpleLoader. Each loader gets the functions themselves, so it
    works on when the adapter is gone. An entry point names a function that returns one::

        def adapter() -> SimpleAdapter:
            return SimpleAdapter("sums", "sums.txt", lambda path: (path / "sums.txt").is_file(), read_sums)
    """

    def __init__(
        self,
        kind: str,
        looks_for: str,
        detect: Callable[[Path], bool],
        create: Callable[[ServableId, Path, Any], Servable],
        *,
        options: type[Options] = Options,
        estimate_bytes: Callable[[Path], int | None] | None = None,
        estimate_loaded_bytes: Callable[[Any], int] | None = None,
        destroy: Callable[[Any], None] | None = None,
        prepare: Callable[[], Any] | None = None,
        wants_process: Callable[[Path], bool] | None = None,
    ) -> None:
        self.kind = kind
        self.looks_for = looks_for
        self._detect = detect
        self._create = create
        self._options = options
        self._estimate_bytes = estimate_bytes
        self._estimate_loaded_bytes = estimate_loaded_bytes
        self._destroy = destroy
        self._prepare = prepare
        self._wants_process = wants_process

    def prepare(self) -> None:
        """See SourceAdapter. Raises what the function raises that was given."""
        if self._prepare is not None:
            self._prepare()

    def wants_process(self, path: Path) -> bool:
        """See SourceAdapter; False without a function that says so."""
        return self._wants_process is not None and self._wants_process(path)

    def detect(self, path: Path) -> bool:
        """See SourceAdapter."""
        return self._detect(path)

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> SimpleLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter."""
        return SimpleLoader(
            partial(self._create, id, path, check_options(id, options, self._options)),
            None if self._estimate_bytes is None else partial(self._estimate_bytes, path),
            estimate_loaded_bytes=self._estimate_loaded_bytes,
            destroy=self._destroy,
        )
