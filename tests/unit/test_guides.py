"""What the guides of docs/extend show is the code of the examples, or runs here. Their commands: test_plugins.py."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import settings
from pipeline.clock import SystemClock
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.connector import Record
from pipeline.registry.manager import Manager
from pipeline.registry.policy import availability_preserving
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired, connect
from pipeline.registry.source_adapter import UnaryAdapter
from pipeline.registry.states import EventBus
from pipeline.serving.dispatcher import Dispatcher
from pipeline.testing.codec_contract import CodecContract
from pipeline.testing.fakes import manager_with
from pipeline.testing.servable_contract import ServableContract
from tests.pages import blocks

ROOT = Path(__file__).parents[2]
GUIDES = ("servable", "source_adapter", "source", "connector", "codec", "token_provider")
EXAMPLES = [path.read_text() for path in sorted((ROOT / "examples").glob("custom_*/*")) if path.is_file()]


def shown(guide: str, language: str) -> list[str]:
    return blocks(f"docs/extend/{guide}.md", language)


def own_code(guide: str) -> list[str]:
    """Return the blocks that stand in no example."""
    return [block for block in shown(guide, "python") if not any(block in text for text in EXAMPLES)]


@pytest.mark.parametrize(
    ("guide", "count"), [("servable", 2), ("source", 3), ("connector", 9), ("codec", 4), ("token_provider", 2)]
)
def test_a_guide_shows_the_code_of_its_example(guide: str, count: int) -> None:
    """Letter by letter; whatever is no example's is run by a test below."""
    assert len(shown(guide, "python")) - len(own_code(guide)) == count
    assert all(any(block in text for text in EXAMPLES) for block in shown(guide, "toml"))


@pytest.mark.parametrize("guide", GUIDES)
def test_the_settings_of_a_guide_are_settings(guide: str, tmp_path: Path) -> None:
    for text in shown(guide, "yaml"):
        (tmp_path / "penstock.yaml").write_text(text)
        assert settings.load(tmp_path / "penstock.yaml").servables


@pytest.mark.parametrize("guide", GUIDES)
def test_the_files_that_a_guide_names_exist(guide: str) -> None:
    text = (ROOT / f"docs/extend/{guide}.md").read_text()
    for path in re.findall(r"`((?:examples|pipeline|connectors)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of a reader: models of each kind that the guides speak of."""
    monkeypatch.chdir(tmp_path)
    for path, text in {
        "default/1/hashmap.txt": "sky,blue\n",
        "names/2/hashmap.txt": "a,b\n",
        "prices/3/prices.csv": "apple,2\n",
        "names/LIVE": "2\n",
    }.items():
        (tmp_path / "models" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "models" / path).write_text(text)
    return tmp_path / "models"


def ask(manager: Manager, stream: str, key: bytes) -> tuple[str, bytes]:
    assert manager.wait_settled([stream], timeout_s=20) == {}
    with manager.acquire(stream) as handle:
        outputs = handle.servable.predict("serving_default", {"key": np.array([key], object)})
        return str(handle.id), outputs["value"][0]


def test_wiring_by_hand_works_as_the_guide_shows(storage: Path, capsys: pytest.CaptureFixture[str]) -> None:
    connecting, use, adapting, routing, waiting, caching, ending, _ = own_code("source_adapter")
    names: dict[str, Any] = {}
    for block in (connecting, use):
        exec(block, names)
    assert capsys.readouterr().out == "default/1 {'value': array([b'blue'], dtype=object)}\n"
    exec(adapting, names)
    aspired = Aspired(ServableId("default", 1), "default/1")
    assert names["mounted"].adapt(aspired).data == "models/default/1"
    exec(routing, names)
    assert ask(names["manager"], "prices", b"apple") == ("prices/3", b"2")
    assert ask(names["manager"], "names", b"a") == ("names/2", b"b")
    exec(waiting, names)
    assert names["reached"] == {ServableId("fruit", 3): True}
    exec(caching, names)
    assert capsys.readouterr().out == "prices/3\n"
    assert names["tenants"].streams() == ("prices",)
    exec(ending, names)
    assert names["manager"].available() == ()


@pytest.fixture
def wired() -> Iterator[dict[str, Any]]:
    """A manager, and ``loaders``: the hashmap's adapter, connected to it."""
    from hashmap_servable import adapter

    hashmaps = adapter()
    loaders: UnaryAdapter[str, Any] = UnaryAdapter(lambda item: hashmaps.loader(item.id, Path(item.data or ""), {}))
    with ThreadPoolExecutor(2) as load_pool, ThreadPoolExecutor(2) as unload_pool:
        manager = Manager(availability_preserving, load_pool, unload_pool, EventBus(), SystemClock())
        connect(loaders, manager)
        yield {"manager": manager, "loaders": loaders}
        manager.close(20)


def test_a_source_feeds_a_manager_by_hand_as_the_guide_shows(storage: Path, wired: dict[str, Any]) -> None:
    without_kafka, smallest = own_code("source")
    exec(without_kafka, wired)
    assert ask(wired["manager"], "names", b"a") == ("names/2", b"b")
    wired["tree"].stop()
    exec(smallest, wired)
    assert ask(wired["manager"], "default", b"sky") == ("default/1", b"blue")


def test_the_python_class_of_the_guide_works(tmp_path: Path) -> None:
    (tmp_path / "factor").write_text("3")
    names: dict[str, Any] = {}
    exec(own_code("servable")[0], names)
    model = names["Scale"]()
    model.load(tmp_path)
    assert model.predict({"x": np.ones((2, 1), np.float32)})["y"].tolist() == [[3.0], [3.0]]


class SumsContract(ServableContract):
    """Not collected: the test below runs all of it."""

    entry_point = "guide_kind:SumsAdapter"

    def write_version(self, path: Path) -> None:
        path.mkdir()
        (path / "sums.txt").write_text("10")

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "sums.txt").write_text("ten")


PROMISES = [name for name in dir(ServableContract) if name.startswith("test_")]


@pytest.fixture
def as_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Put a guide's code where an entry point finds it."""
    folder = tmp_path / "module"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(*code: str) -> None:
        (folder / "guide_kind.py").write_text("\n".join(code))

    yield write
    sys.modules.pop("guide_kind", None)


@pytest.mark.parametrize("promise", PROMISES)
def test_the_long_way_of_the_guide_keeps_the_contract(promise: str, as_module: Any, tmp_path: Path) -> None:
    as_module(*own_code("servable"))
    getattr(SumsContract(), promise)(tmp_path)


class EmbeddingContract(ServableContract):
    entry_point = "guide_kind:EmbeddingAdapter"

    def write_version(self, path: Path) -> None:
        np.save("vectors.npy", np.arange(20, dtype=np.float32).reshape(10, 2))
        path.mkdir()
        (path / "words.txt").write_text(" ".join(map(str, range(10))))

    def write_broken_version(self, path: Path) -> None:
        path.write_text("a file")


@pytest.mark.parametrize("promise", [it for it in PROMISES if "broken_version" not in it])
def test_servables_that_share_state_keep_the_contract(
    promise: str, as_module: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No list of words is broken, so there is no broken version."""
    monkeypatch.chdir(tmp_path)
    as_module(own_code("source_adapter")[-1])
    getattr(EmbeddingContract(), promise)(tmp_path)


def test_shared_state_is_made_by_the_first_load_and_gone_with_the_last_unload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(own_code("source_adapter")[-1], names)
    (tmp_path / "words.txt").write_text("a b")
    adapter = names["EmbeddingAdapter"]()
    first, second = (adapter.loader(ServableId("m", version), tmp_path, {}) for version in (1, 2))
    with pytest.raises(FileNotFoundError):
        first.load()
    np.save("vectors.npy", np.ones((2, 3), np.float32))
    old = first.load()
    Path("vectors.npy").unlink()
    new = second.load()
    assert old._vectors is new._vectors
    first.unload()
    assert new.predict("serving_default", {"word": np.array([b"b"], object)})["vector"].shape == (1, 3)
    second.unload()
    with pytest.raises(FileNotFoundError):
        adapter.loader(ServableId("m", 3), tmp_path, {}).load()


def test_a_map_of_any_library_is_a_request_as_the_guide_shows(tmp_path: Path) -> None:
    from hashmap_servable import Hashmap
    from msgpack_codec import MsgpackCodec

    [block] = own_code("codec")
    names: dict[str, Any] = {}
    exec(block, names)
    (tmp_path / "penstock.yaml").write_text(shown("codec", "yaml")[-1])
    route = settings.load(tmp_path / "penstock.yaml").routes["colours"]
    servables = manager_with({ServableId("colours", 1): Hashmap({b"sky": b"blue"})})
    dispatcher = Dispatcher(route, servables, [AvroCodec(), V2JsonCodec(), MsgpackCodec()], SystemClock())
    for headers in ((), (("content-type", b"application/vnd.msgpack"),)):
        records = [Record(names["value"], b"one", headers, "colours.requests", 0, 0, 0)]
        [answer] = dispatcher.answer(dispatcher.decode(records))
        result = MsgpackCodec().decode_result(answer.value)
        assert (result.id, result.outputs[0].array().tolist()) == ("one", [b"blue"])
        assert dict(answer.headers)["content-type"] == b"application/vnd.msgpack"


def test_every_knob_of_the_suite_of_codecs_is_on_its_page() -> None:
    text = (ROOT / "docs/extend/codec.md").read_text()
    for knob in (*vars(CodecContract)["__annotations__"], "make_request"):
        assert f"`{knob}" in text or f"{knob} =" in text, knob


def test_an_sql_prompt_is_a_client_of_the_connector_as_the_guide_shows(tmp_path: Path) -> None:
    """Asked, answered, read, and a dead letter sent again."""
    from hashmap_servable import Hashmap
    from sqlite_connector import SqliteConnector, SqliteOptions
    from sqlite_tables import connect, create

    asking, reading, again = shown("connector", "sql")
    (tmp_path / "penstock.yaml").write_text(shown("connector", "yaml")[-1])
    route = settings.load(tmp_path / "penstock.yaml").routes["colours"]
    file = str(tmp_path / "requests.db")
    connector = SqliteConnector(route, SqliteOptions(path=file), "guide")
    servables = manager_with({ServableId("colours", 1): Hashmap({b"sky": b"blue"})})
    dispatcher = Dispatcher(route, servables, [AvroCodec(), V2JsonCodec()], SystemClock())
    with contextlib.closing(connect(file)) as db:
        create(db)
        db.executescript(asking)
        db.execute("INSERT INTO requests (topic, value) VALUES ('colours.requests', 'garbage')")
        connector.open()
        records = connector.poll(10, 0.0)
        answers = dispatcher.answer(dispatcher.decode(records))
        connector.answer(records, answers, dispatcher.refuse).result(10)
        connector.close(5.0)
        [(text,)] = db.execute(reading).fetchall()
        assert json.loads(text)["outputs"][0]["data"] == ["blue"]
        db.executescript(again)
        assert db.execute("SELECT value FROM requests").fetchall() == [(b"garbage",)]
        assert db.execute("SELECT * FROM dead_letters").fetchall() == []
