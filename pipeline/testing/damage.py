"""Versions with bits flipped and ends cut off, loaded in a process that may die of it.

``python -m pipeline.testing.damage`` is that process; ``survey`` starts it, and says what became of each version.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Final

from pipeline import plugins
from pipeline.errors import LoadFailed
from pipeline.registry.servable import ServableId
from pipeline.testing.signature_checks import small_numbers

_MOST_FLIPS: Final = 8


def damage(version: Path, seed: int) -> str:
    """Change one file of a version, or the version where it is a file, and return what was done: a seed, one damage.

    One in three is cut off somewhere; the others have one to eight bits flipped, half of them near the beginning, where
    formats keep what matters.
    """
    chance = random.Random(seed)  # noqa: S311  # reproducible on purpose
    files = [version] if version.is_file() else sorted(file for file in version.rglob("*") if file.is_file())
    file = chance.choice([file for file in files if file.stat().st_size] or files)
    content = bytearray(file.read_bytes())
    if not content or chance.randrange(3) == 0:
        size = chance.randrange(len(content)) if content else 0
        os.truncate(file, size)
        return f"seed {seed}: {file.name} cut off after {size} of {len(content)} bytes"
    reach = len(content) if chance.randrange(2) else min(len(content), 1024)
    places = [chance.randrange(reach) for _ in range(chance.randint(1, _MOST_FLIPS))]
    for place in places:
        content[place] ^= 1 << chance.randrange(8)
    file.write_bytes(content)
    return f"seed {seed}: {file.name} with bits flipped at {places} of {len(content)} bytes"


def survey(
    entry_point: str, version: Path, options: Mapping[str, Any], seeds: Sequence[int], folder: Path, timeout_s: float
) -> list[str]:
    """Load a damaged copy of ``version`` for each seed, in a child process, and return what went wrong.

    A version may load (a flipped bit of a weight is a weight) or raise LoadFailed; anything else is wrong: another
    exception, a child that dies, ``timeout_s`` without a word. The copies are made in ``folder``. Blocks.
    """
    command = [sys.executable, "-X", "faulthandler", "-m", "pipeline.testing.damage", entry_point, str(version)]
    wrong: list[str] = []
    left = list(seeds)
    while left:
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        arguments = [json.dumps(dict(options)), json.dumps(left), str(folder)]
        try:
            done = subprocess.run(  # noqa: S603  # this Python, with arguments of the suite's own
                [*command, *arguments],
                capture_output=True,
                text=True,
                errors="replace",  # native code may print what it has found in the file
                env=environ,
                timeout=timeout_s,
                check=False,
            )
            out, why = done.stdout, f"exit status {done.returncode}: {done.stderr[-2000:]}"
        except subprocess.TimeoutExpired as error:
            out, why = (error.stdout or b"").decode(), f"not done after {timeout_s} s"
        told = [json.loads(line) for line in out.splitlines() if line.startswith('{"seed"')]
        wrong += [one["wrong"] for one in told if one["wrong"]]
        left = left[len([one for one in told if one["done"]]) :]
        if left:
            what = next((one["what"] for one in reversed(told) if not one["done"]), f"seed {left[0]}: before the load")
            wrong.append(f"{what}: the process died of it ({why})")
            left = left[1:]
    return wrong


def _main(entry_point: str, version: str, options: str, seeds: str, folder: str) -> None:
    adapter = EntryPoint("under-test", entry_point, plugins.SERVABLES).load()()
    for seed in json.loads(seeds):
        copy = Path(folder) / str(seed)
        if Path(version).is_file():
            copy = copy.with_suffix(Path(version).suffix)
            shutil.copy(version, copy)
        else:
            shutil.copytree(version, copy)
        what = damage(copy, seed)
        _tell(seed, what, wrong="", done=False)
        wrong = ""
        try:
            loader = adapter.loader(ServableId("damaged", seed), copy, json.loads(options))
            loader.estimate_bytes()
            servable = loader.load()
        except LoadFailed:
            pass
        except BaseException as error:  # noqa: BLE001  # whatever it is, the report names it
            wrong = f"{what}: expected LoadFailed, got {type(error).__name__}: {error}"
        else:
            _ask(servable)
            del servable
            loader.unload()
        _tell(seed, what, wrong=wrong, done=True)
        shutil.rmtree(copy) if copy.is_dir() else copy.unlink()


def _ask(servable: Any) -> None:
    """Use what could be loaded: some damage shows only then. It may raise, and must not die."""
    for name, signature in servable.signatures.items():
        try:
            servable.predict(name, {spec.name: small_numbers(spec, 2) for spec in signature.inputs})
        except Exception as error:  # noqa: BLE001  # a damaged model may say no
            print(type(error).__name__, file=sys.stderr)  # noqa: T201  # the child's own log


def _tell(seed: int, what: str, *, wrong: str, done: bool) -> None:
    print(json.dumps({"seed": seed, "what": what, "wrong": wrong, "done": done}), flush=True)  # noqa: T201  # its report


if __name__ == "__main__":
    _main(*sys.argv[1:])
