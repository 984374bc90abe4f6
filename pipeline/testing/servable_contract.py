"""The contract suite of kinds of servables: subclass it in a test module, say what a version looks like, run pytest.

::

    class TestMine(ServableContract):
        entry_point = "my_module:MyAdapter"

        def write_version(self, path: Path) -> None: ...
        def write_broken_version(self, path: Path) -> None: ...
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from pipeline import plugins
from pipeline.errors import InvalidSettings, LoadFailed
from pipeline.registry.loader import Loader
from pipeline.registry.servable import Servable, ServableId, Signature, describe
from pipeline.registry.source_adapter import SourceAdapter, wants_process
from pipeline.tensors import Array
from pipeline.testing import damage
from pipeline.testing.meters import bytes_read, counting_allocations
from pipeline.testing.signature_checks import check_outputs, check_signature, small_numbers

_ROWS: Final = (1, 2, 7)
_MIB: Final = 1 << 20
# What a worker does before it loads anything, in a process of its own; prints the frameworks that are there after it.
_BEFORE_LOAD: Final = """
import json, sys, threading
from importlib.metadata import EntryPoint
from pathlib import Path
from pipeline.registry.servable import ServableId
adapter = EntryPoint("it", sys.argv[1], "it").load()()
adapter.detect(Path(sys.argv[2]))
adapter.loader(ServableId("m", 1), Path(sys.argv[2]), json.loads(sys.argv[3]))
print(*sorted(set(sys.argv[4:]).intersection(sys.modules)), *(t.name for t in threading.enumerate()[1:]))
"""


class ServableContract:
    """What every kind of servable must do. Each test has a new adapter; ``tmp_path`` is pytest's.

    ``entry_point`` is what the package's entry point names. ``options`` are those of a stream, ``wrong_options`` some
    that must be refused. ``frameworks`` must not be imported before the first load. Answers to one row may differ by
    ``relative_tolerance`` from those to the same row in a batch. ``damaged_versions`` are
    tried. A kind that leaves its files to another unless the settings name it sets ``is_detected`` to False.
    """

    entry_point: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}
    wrong_options: ClassVar[Mapping[str, Any]] = {"no_such_option": 1}
    frameworks: ClassVar[tuple[str, ...]] = ("jax", "onnxruntime", "openvino", "sklearn", "tensorflow", "torch")
    relative_tolerance: ClassVar[float] = 0.01
    damaged_versions: ClassVar[int] = 30
    is_detected: ClassVar[bool] = True

    def write_version(self, path: Path) -> None:
        """Make a version that loads at ``path``, which does not exist yet: a directory, or a file."""
        raise NotImplementedError

    def write_broken_version(self, path: Path) -> None:
        """Make a version at ``path`` that can not be loaded, for instance half of one."""
        raise NotImplementedError

    def make_inputs(self, signature: Signature, rows: int) -> Mapping[str, Array]:
        """Return ``rows`` rows, not all alike, that the version answers; by default small numbers."""
        return {spec.name: small_numbers(spec, rows) for spec in signature.inputs}

    # -- what is promised before a load -------------------------------------------------------------------------------

    def test_its_own_files_are_detected_and_no_others(self, tmp_path: Path) -> None:
        """A version that is not there, an empty one, and one of something else."""
        adapter = self._adapter(tmp_path)
        assert adapter.kind, "an adapter has the name of its kind"
        assert adapter.looks_for, "an adapter says what detect looks for"
        wrong = "its own version is not detected" if self.is_detected else "a version is detected, is_detected is False"
        assert adapter.detect(self._version) is self.is_detected, wrong
        (tmp_path / "empty").mkdir()
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "readme.md").write_text("no model")
        for name in ("missing", "empty", "other"):
            assert adapter.detect(tmp_path / name) is False, f"a path is detected that is {name}"

    def test_detecting_reads_no_more_than_a_little(self, tmp_path: Path) -> None:
        """Of files of 64 MiB at most one; where the system does not count what a thread reads, nothing is checked.

        No more is read to say whether a process of its own is wanted, and the damaged files here are no error then.
        """
        adapter = self._adapter(tmp_path)
        for file in [self._version] if self._version.is_file() else self._version.rglob("*"):
            if file.is_file():
                os.truncate(file, 64 * _MIB)
        before_bytes = bytes_read()
        adapter.detect(self._version)
        assert bytes_read() - before_bytes < _MIB, "detect has read more than 1 MiB"
        before_bytes = bytes_read()
        assert wants_process(adapter, self._version) in (True, False), "wants_process is neither True nor False"
        assert bytes_read() - before_bytes < _MIB, "wants_process has read more than 1 MiB"

    def test_nothing_is_done_before_the_load(self, tmp_path: Path) -> None:
        """A loader is made from a path, whether it is there or not, and imports no framework and starts no thread."""
        self._adapter(tmp_path).loader(ServableId("m", 1), tmp_path / "missing", self.options)
        command = [sys.executable, "-c", _BEFORE_LOAD, self.entry_point, str(self._version), json.dumps(self.options)]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(  # noqa: S603  # this Python, with arguments of the suite's own
            [*command, *self.frameworks], capture_output=True, text=True, env=environ, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        assert not done.stdout.split(), f"imported or started before the load: {done.stdout}"

    def test_wrong_options_are_refused_before_the_load(self, tmp_path: Path) -> None:
        """By InvalidSettings, so that the settings are blamed and not the version."""
        adapter = self._adapter(tmp_path)
        error = _raised(lambda: adapter.loader(ServableId("m", 1), self._version, self.wrong_options))
        assert isinstance(error, InvalidSettings), f"expected InvalidSettings, got {error!r}"

    def test_a_broken_version_fails_to_load_with_its_reason(self, tmp_path: Path) -> None:
        """By LoadFailed or a kind of it, each time that it is tried; the adapter loads others as before."""
        adapter = self._adapter(tmp_path)
        self.write_broken_version(tmp_path / "broken")
        loader = adapter.loader(ServableId("m", 2), tmp_path / "broken", self.options)
        for _ in range(2):
            error = _raised(loader.load)
            assert isinstance(error, LoadFailed), f"expected LoadFailed, got {error!r}"
            assert str(error), "the error says nothing"
        with self._loaded(self._version, adapter) as servable:
            self._ask(servable)

    def test_damaged_files_fail_their_version_and_never_the_worker(self, tmp_path: Path) -> None:
        """Bits flipped, ends cut off, ``damaged_versions`` times: LoadFailed, or a model; no crash, no other error."""
        self._adapter(tmp_path)
        (tmp_path / "copies").mkdir()
        seeds = range(self.damaged_versions)
        limit_s = 60.0 + self.damaged_versions
        wrong = damage.survey(self.entry_point, self._version, self.options, seeds, tmp_path / "copies", limit_s)
        assert not wrong, "\n".join(wrong)

    # -- what is promised while it is loaded --------------------------------------------------------------------------

    def test_it_answers_what_its_signatures_declare(self, tmp_path: Path) -> None:
        """Each output, in its datatype and shape, for any number of rows."""
        adapter = self._adapter(tmp_path)
        with self._loaded(self._version, adapter) as servable:
            assert servable.signatures, "there is no signature"
            assert describe(servable).signatures == dict(servable.signatures), "its signatures can not be published"
            for name, signature in servable.signatures.items():
                check_signature(signature)
                for rows in _ROWS if signature.batched else _ROWS[:1]:
                    outputs = servable.predict(name, self.make_inputs(signature, rows))
                    check_outputs(signature, outputs, rows)

    def test_rows_are_independent(self, tmp_path: Path) -> None:
        """A batch is answered as its rows are one by one; other people's rows stand beside yours."""
        adapter = self._adapter(tmp_path)
        with self._loaded(self._version, adapter) as servable:
            for name, signature in servable.signatures.items():
                if not signature.batched:
                    continue
                inputs = self.make_inputs(signature, _ROWS[-1])
                together = servable.predict(name, inputs)
                for row in range(_ROWS[-1]):
                    alone = servable.predict(name, {key: array[row : row + 1] for key, array in inputs.items()})
                    self._check_same(signature, {key: array[row : row + 1] for key, array in together.items()}, alone)

    def test_threads_do_not_mix_their_answers(self, tmp_path: Path) -> None:
        """Eight at once, each with a batch of another size, get what each gets alone."""
        adapter = self._adapter(tmp_path)
        with self._loaded(self._version, adapter) as servable, ThreadPoolExecutor(8) as pool:
            for name, signature in servable.signatures.items():
                sizes = [row % _ROWS[-1] + 1 if signature.batched else 1 for row in range(32)]
                inputs = [self.make_inputs(signature, size) for size in sizes]
                alone = [servable.predict(name, one) for one in inputs]
                at_once = pool.map(servable.predict, [name] * len(inputs), inputs)
                for expected, got in zip(alone, at_once, strict=True):
                    self._check_same(signature, expected, got)

    def test_inputs_are_read_only_and_are_let_go_of(self, tmp_path: Path) -> None:
        """They are views of what came over the wire: a servable neither writes to them nor keeps them."""
        adapter = self._adapter(tmp_path)
        with self._loaded(self._version, adapter) as servable:
            for name, signature in servable.signatures.items():
                inputs = {key: np.array(array) for key, array in self.make_inputs(signature, 1).items()}
                before = {key: array.copy() for key, array in inputs.items()}
                for array in inputs.values():
                    array.setflags(write=False)
                servable.predict(name, inputs)
                for key, array in inputs.items():
                    assert np.array_equal(array, before[key]), f"input {key} was changed"
                kept = [weakref.ref(array) for array in inputs.values()]
                del inputs, array
                gc.collect()
                assert not [ref for ref in kept if ref() is not None], "an input is kept after the call"

    def test_the_estimate_is_an_upper_bound_that_only_falls(self, tmp_path: Path) -> None:
        """None where nobody knows. What Python allocates is counted, less 1 MiB; a framework's own memory is not."""
        adapter = self._adapter(tmp_path)
        with self._loaded(self._version, adapter):
            pass  # so that what the first load of all imports is not counted
        loader = adapter.loader(ServableId("m", 1), self._version, self.options)
        before = loader.estimate_bytes()
        assert before is None or before >= 0, f"the estimate is {before}"
        assert loader.estimate_bytes() == before, "asked twice, it gives two estimates"
        with counting_allocations() as allocated_bytes, self._loaded(self._version, adapter, loader):
            needed, after = allocated_bytes(), loader.estimate_bytes()
        assert before is None or needed <= before + _MIB, f"the estimate is {before} bytes, the load took {needed}"
        assert before is None or (after is not None and after <= before), f"the estimate rose from {before} to {after}"

    # -- what is promised after it ------------------------------------------------------------------------------------

    def test_an_unloaded_version_is_freed_and_can_be_loaded_again(self, tmp_path: Path) -> None:
        """By a new loader. Neither the old loader nor the adapter keeps the servable."""
        adapter = self._adapter(tmp_path)
        loader = adapter.loader(ServableId("m", 1), self._version, self.options)
        servable = loader.load()
        self._ask(servable)
        remains = weakref.ref(servable)
        del servable
        loader.unload()
        gc.collect()
        assert remains() is None, "the servable is still there after its unload"
        with self._loaded(self._version, adapter) as again:
            self._ask(again)

    def test_versions_do_not_need_each_other(self, tmp_path: Path) -> None:
        """Two are loaded together, as in every switch; the one that stays answers after the other has gone."""
        adapter = self._adapter(tmp_path)
        self.write_version(tmp_path / "2")
        old, new = (adapter.loader(ServableId("m", n), tmp_path / str(n), self.options) for n in (1, 2))
        old.load()
        servable = new.load()
        old.unload()
        self._ask(servable)
        del servable
        new.unload()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _adapter(self, folder: Path) -> SourceAdapter:
        """Return a new adapter, made as a worker makes it, and write the version that the test is about."""
        self._version = folder / "1"
        self.write_version(self._version)
        return self._make_adapter()

    def _make_adapter(self) -> SourceAdapter:
        adapter: SourceAdapter = EntryPoint("under-test", self.entry_point, plugins.SERVABLES).load()()
        return adapter

    @contextmanager
    def _loaded(
        self, path: Path, adapter: SourceAdapter | None = None, loader: Loader | None = None
    ) -> Iterator[Servable]:
        adapter = adapter or self._make_adapter()
        loader = loader or adapter.loader(ServableId("m", 1), path, self.options)
        servable = loader.load()
        try:
            yield servable
        finally:
            del servable
            loader.unload()

    def _ask(self, servable: Servable) -> None:
        for name, signature in servable.signatures.items():
            check_outputs(signature, servable.predict(name, self.make_inputs(signature, 1)), 1)

    def _check_same(self, signature: Signature, expected: Mapping[str, Array], got: Mapping[str, Array]) -> None:
        for spec in signature.outputs:
            one, other = expected[spec.name], got[spec.name]
            if spec.datatype.startswith("FP"):
                np.testing.assert_allclose(one, other, rtol=self.relative_tolerance, atol=1e-6, err_msg=spec.name)
            else:
                assert np.array_equal(one, other), f"output {spec.name}: {one} in one call, {other} in another"


def _raised(call: Any) -> BaseException | None:
    try:
        call()
    except BaseException as error:  # noqa: BLE001  # whatever it is, the test looks at it
        return error
    return None
