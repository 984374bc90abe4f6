"""A ``config.yaml`` of Cluster Serving as settings of ours: what each key becomes, or why it can not be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from pipeline.errors import InvalidSettings
from pipeline.settings.cluster_serving import FORMAT, GROUP, POST_PROCESSING

JOB: Final = "serving_stream"
_ADDRESS: Final = re.compile(r"(?P<host>[^\s:/@]+|\[[0-9a-fA-F:]+\])(?::(?P<port>[0-9]{1,5}))?")
_SIZE: Final = re.compile(r"\s*(\d{1,5})\s*,\s*(\d{1,5})\s*")
# Names of 0.9, which had sections, and of 0.10 and 0.11, by those of later releases; all without capitals and dashes.
_RENAMED: Final[Mapping[str, str]] = {
    "model.path": "modelpath",
    "model.name": "jobname",
    "data.src": "redisurl",
    "data.filter": "postprocessing",
    "params.corenumber": "corenumberpermachine",
    "params.modelnumber": "modelparallelism",
    "params.performancemode": "performancemode",
    "flink.rest": "flinkresturl",
    "redis.maxmem": "redismaxmemory",
    "redis.timeout": "redistimeout",
    "secure.secureenabled": "redissecureenabled",
    "secure.securetruststorepath": "redissecuretruststorepath",
    "secure.securestructstorepassword": "redissecuretruststorepassword",
    "secure.modelencrypted": "modelencrypted",
    "secureenabled": "redissecureenabled",
    "securetruststorepath": "redissecuretruststorepath",
    "securestructstorepassword": "redissecuretruststorepassword",
    "redistrustpath": "redissecuretruststorepath",
}
# What only 0.8 and older had: their clients write to another stream, and look for results elsewhere.
_TOO_OLD: Final = ("spark.", "data.imageshape", "params.batchsize", "params.topn", "model.inputs", "model.outputs")
_WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "inputalreadybatched": "the rank of each tensor says whether it has a batch axis",
    "performancemode": "it had no effect there either",
    "flinkresturl": "there is no Flink",
    "redismaxmemory": "it is a setting of the Redis server: maxmemory",
    "modelparallelism": "one copy of the model answers whole batches; for more cores start more workers",
    "redissecuretruststorepassword": "certificates in PEM have none",
}


class Translation(NamedTuple):
    """``tree`` is nested as in penstock.yaml, and has no servable's ``base_path``: that follows from ``model_path``.

    ``threads`` is how many one prediction may use, 0 where that is left to its framework. ``notes`` name the keys that
    have no effect, with the reason.
    """

    job: str
    model_path: str
    threads: int
    tree: dict[str, Any]
    notes: tuple[str, ...]


def read(file: Path) -> Translation:
    """Return the settings that a file stands for; raises InvalidSettings."""
    import yaml

    try:
        config = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSettings(str(file), f"can not be read: {error}") from error
    if not isinstance(config, dict):
        raise InvalidSettings(str(file), "has no keys; see docs/cluster-serving.md")
    return translate(config, str(file))


def translate(config: Mapping[str, Any], place: str) -> Translation:
    """Return the settings that a config.yaml stands for; raises InvalidSettings, which names the key. Pure."""
    said = _said(config)
    for key in said:
        if key.startswith(_TOO_OLD):
            reason = "is of release 0.8 or older, whose clients use other streams and keys; use those of 0.9 or later"
            raise InvalidSettings(f"{place}: {key}", reason)
    reader = _Reader(said, place)
    job = reader.text("jobname") or JOB
    queue = (reader.text("queueused") or "redis").lower()
    model_path = reader.text("modelpath")
    if not model_path:
        raise InvalidSettings(f"{place}: modelPath", "is missing: the directory of the model")
    reader.refuse_if_true("modelencrypted", "encrypted models are not read; decrypt the files, and encrypt their disk")
    reader.refuse_if_true("recordencrypted", "encrypted images are not read; use TLS to Redis or Kafka")
    route: dict[str, Any] = {"format": FORMAT, "connector": queue, "group": GROUP}
    options = _route_options(reader)
    if options:
        route["cluster_serving"] = options
    tree: dict[str, Any] = {"servables": {job: {}}, "routes": {job: route}}
    if queue == "redis":
        tree["redis"] = _redis(reader)
    elif queue == "kafka":
        tree["kafka"] = {"bootstrap.servers": _address(reader, "kafkaurl", "localhost", 9092)}
    else:
        raise InvalidSettings(f"{place}: queueUsed", f"{queue!r} is not redis or kafka")
    cores = reader.number("corenumberpermachine")
    threads = cores if cores > 0 else max(0, reader.number("threadpermodel"))
    notes = [f"{key} has no effect: {reason}" for key, reason in _WITHOUT_EFFECT.items() if key in said]
    unknown = sorted(set(said) - reader.known - set(_WITHOUT_EFFECT))
    notes += [f"{key} is no key of config.yaml, and has no effect, as it had none" for key in unknown]
    return Translation(job, model_path, threads, tree, tuple(notes))


def _said(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is set, by the newest name of each key."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= {f"{_plain(name)}.{_plain(inner)}": item for inner, item in value.items()}
        else:
            flat[_plain(name)] = value
    return {_RENAMED.get(key, key): value for key, value in flat.items() if value is not None}


def _plain(name: object) -> str:
    return str(name).lower().replace("_", "").replace("-", "")


class _Reader:
    """Reads values as the types that they have, and notes which keys are known."""

    def __init__(self, said: Mapping[str, Any], place: str) -> None:
        self._said, self._place = said, place
        self.known: set[str] = {"redisurl", "kafkaurl"}  # of the queue that is not used, too

    def text(self, key: str) -> str:
        """Return a text, "" where there is none."""
        self.known.add(key)
        value = self._said.get(key, "")
        if isinstance(value, list | dict):
            raise self.wrong(key, f"expected text, got {type(value).__name__}")
        return str(value).strip()

    def number(self, key: str) -> int:
        """Return a whole number, 0 where there is none."""
        text = self.text(key)
        try:
            return int(text or 0)
        except ValueError:
            raise self.wrong(key, f"{text!r} is no whole number") from None

    def is_true(self, key: str) -> bool:
        """Return a switch, off where there is none."""
        text = self.text(key).lower()
        if text not in ("true", "false", ""):
            raise self.wrong(key, f"{text!r} is not true or false")
        return text == "true"

    def refuse_if_true(self, key: str, reason: str) -> None:
        """Raise InvalidSettings for a switch that is on."""
        if self.is_true(key):
            raise self.wrong(key, reason)

    def wrong(self, key: str, reason: str) -> InvalidSettings:
        """Return the error that names a key."""
        return InvalidSettings(f"{self._place}: {key}", reason)


def _route_options(reader: _Reader) -> dict[str, Any]:
    options: dict[str, Any] = {}
    post_processing = reader.text("postprocessing")
    if post_processing:
        if not POST_PROCESSING.fullmatch(post_processing):
            raise reader.wrong("postprocessing", f"{post_processing!r} is not topN(n) or pickTopN(n)")
        options["post_processing"] = post_processing
    size = reader.text("imageresize")
    if size:
        found = _SIZE.fullmatch(size)
        if found is None:
            raise reader.wrong("imageresize", f"{size!r} is not two numbers of pixels, such as 224,224")
        # Its comment says "height, width"; what it did is this.
        options["image_width"], options["image_height"] = int(found[1]), int(found[2])
    return options


def _redis(reader: _Reader) -> dict[str, Any]:
    is_secure = reader.is_true("redissecureenabled")
    scheme = "rediss" if is_secure else "redis"
    redis: dict[str, Any] = {"url": f"{scheme}://{_address(reader, 'redisurl', 'localhost', 6379)}"}
    timeout_ms = reader.number("redistimeout")
    if timeout_ms > 0:
        redis["timeout_s"] = timeout_ms / 1000
    store = reader.text("redissecuretruststorepath")
    if is_secure and store:
        if not store.endswith((".pem", ".crt")):
            step = "keytool -exportcert -rfc -keystore STORE -alias ALIAS > ca.pem, and name that file"
            raise reader.wrong("redissecuretruststorepath", f"{store}: certificates are read as PEM; {step}")
        redis["ca"] = store
    return redis


def _address(reader: _Reader, key: str, host: str, port: int) -> str:
    text = reader.text(key)
    if not text:
        return f"{host}:{port}"
    if key == "kafkaurl" and "," in text:
        return text
    found = _ADDRESS.fullmatch(text.partition("://")[2] or text)
    if found is None or not 0 < int(found["port"] or port) < 2**16:
        raise reader.wrong(key, f"{text!r} is no address, such as {host}:{port}")
    return f"{found['host']}:{found['port'] or port}"
