"""Each key of a config.yaml is honoured, has no effect and says so, or is refused with a reason and a next step."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from pipeline.commands import main
from pipeline.commands.cluster_serving_config import Translation, translate
from pipeline.commands.cluster_serving_model import stream_of
from pipeline.errors import InvalidSettings
from pipeline.settings import Settings, load


def read(text: str) -> Translation:
    return translate(yaml.safe_load(text), "config.yaml")


def settings(text: str, folder: Path) -> Settings:
    """The settings as a worker has them."""
    found = read(text)
    found.tree["servables"][found.job]["base_path"] = "models"
    return load(folder / "config.yaml", {}, found.tree) if (folder / "config.yaml").exists() else _loaded(found, folder)


def _loaded(found: Translation, folder: Path) -> Settings:
    (folder / "penstock.yaml").write_text("{}")
    return load(folder / "penstock.yaml", {}, found.tree)


def test_a_model_path_alone_is_a_job_on_the_redis_of_this_machine(tmp_path: Path) -> None:
    it = settings("modelPath: /m", tmp_path)
    route = it.routes["serving_stream"]
    assert it.redis.url == "redis://localhost:6379"
    assert (route.connector, route.format, route.group) == ("redis", "cluster-serving", "serving")
    assert (route.request_topic, route.result_topic) == ("serving_stream", "cluster-serving_serving_stream")
    assert route.servable == "serving_stream"


def test_keys_of_every_release_since_0_10_are_honoured(tmp_path: Path) -> None:
    text = """
    modelPath: /m
    jobName: faces
    postProcessing: topN(5)
    imageResize: 320, 240
    queueUsed: redis
    redisUrl: cache:6380
    redisTimeout: 2500
    threadPerModel: 3
    """
    it, found = settings(text, tmp_path), read(text)
    options = it.routes["faces"].cluster_serving
    assert (options.post_processing, options.image_width, options.image_height) == ("topN(5)", 320, 240)
    assert (it.redis.url, it.redis.timeout_s) == ("redis://cache:6380", 2.5)
    assert (found.threads, found.notes) == (3, ())
    assert read("{modelPath: /m, threadPerModel: 3, coreNumberPerMachine: 8}").threads == 8
    assert read("{modelPath: /m, coreNumberPerMachine: -1}").threads == 0


def test_a_job_on_kafka_has_the_group_of_the_server_before_it(tmp_path: Path) -> None:
    it = settings("{modelPath: /m, queueUsed: kafka, kafkaUrl: 'b:9093', jobName: j}", tmp_path)
    assert it.bootstrap == "b:9093"
    assert (it.routes["j"].connector, it.routes["j"].group) == ("kafka", "serving")
    assert it.routes["j"].result_topic == "cluster-serving_j"
    assert read("{modelPath: /m, queueUsed: kafka}").tree["kafka"] == {"bootstrap.servers": "localhost:9092"}
    several = read("{modelPath: /m, queueUsed: kafka, kafkaUrl: 'a:1,b:2'}")
    assert several.tree["kafka"] == {"bootstrap.servers": "a:1,b:2"}


def test_the_sections_of_0_9_are_the_same_keys() -> None:
    old = """
    model: {path: /m, name: j}
    data: {src: 'cache:6380', filter: topN(1)}
    params: {core_number: 4, performance_mode: ON}
    redis: {maxmem: 4g, timeout: 1000}
    flink: {rest: 'localhost:8081'}
    secure: {secure_enabled: false, model_encrypted: false}
    """
    new = """
    {modelPath: /m, jobName: j, redisUrl: 'cache:6380', postProcessing: topN(1), coreNumberPerMachine: 4,
     redisTimeout: 1000}
    """
    assert read(old).tree == read(new).tree
    assert read(old).threads == 4


def test_names_have_any_capitals_and_empty_keys_say_nothing() -> None:
    assert read("{MODELPATH: /m, jobname: , redisMaxmemory: , performance_mode: }").notes == ()


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("inputAlreadyBatched: true", "the rank of each tensor"),
        ("performance_mode: ON", "no effect there either"),
        ("flinkRestUrl: localhost:8081", "there is no Flink"),
        ("redisMaxMemory: 8g", "maxmemory"),
        ("modelParallelism: 4", "start more workers"),
        ("redisSecureTrustStorePassword: 123456", "PEM"),
        ("wrong_config: 123", "is no key of config.yaml"),
    ],
)
def test_what_has_no_effect_says_why(line: str, why: str) -> None:
    [note] = read(f"modelPath: /m\n{line}").notes
    assert why in note


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("jobName: j", "modelPath", "is missing"),
        ("{modelPath: /m, queueUsed: rabbit}", "queueUsed", "not redis or kafka"),
        ("{modelPath: /m, modelEncrypted: true}", "modelencrypted", "decrypt the files"),
        ("{modelPath: /m, recordEncrypted: true}", "recordencrypted", "use TLS"),
        ("{modelPath: /m, modelEncrypted: maybe}", "modelencrypted", "not true or false"),
        ("{modelPath: /m, postProcessing: softmax}", "postprocessing", "not topN(n) or pickTopN(n)"),
        ("{modelPath: /m, imageResize: large}", "imageresize", "such as 224,224"),
        ("{modelPath: /m, redisUrl: 'a b'}", "redisurl", "no address"),
        ("{modelPath: /m, redisUrl: 'a:99999'}", "redisurl", "no address"),
        ("{modelPath: /m, redisTimeout: soon}", "redistimeout", "no whole number"),
        ("{modelPath: /m, threadPerModel: [1]}", "threadpermodel", "expected text"),
        ("{modelPath: /m, redisSecureEnabled: true, redisSecureTrustStorePath: /k.jks}", "path", "keytool"),
        ("{model: {path: /m}, spark: {master: local}}", "spark.master", "0.8 or older"),
        ("{model: {path: /m}, params: {batch_size: 4}}", "params.batchsize", "0.8 or older"),
    ],
)
def test_what_can_not_be_honoured_is_refused_with_what_to_do(text: str, place: str, why: str) -> None:
    with pytest.raises(InvalidSettings) as refused:
        read(text)
    assert place.lower() in str(refused.value).lower()
    assert why in str(refused.value)


@pytest.mark.parametrize("prefix", ["redisSecure", "secure"])
def test_tls_to_redis_is_with_a_certificate_in_pem(prefix: str, tmp_path: Path) -> None:
    it = settings(f"{{modelPath: /m, {prefix}Enabled: true, {prefix}TrustStorePath: /ca.pem}}", tmp_path)
    assert (it.redis.url, it.redis.ca) == ("rediss://localhost:6379", "/ca.pem")
    off = read(f"{{modelPath: /m, {prefix}Enabled: false, {prefix}TrustStorePath: /k.jks}}")
    assert off.tree["redis"] == {"url": "redis://localhost:6379"}


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A directory with a config.yaml and its model."""
    model = tmp_path / "model"
    model.mkdir()
    (model / "model.xml").write_text("<net/>")
    (model / "model.bin").write_bytes(b"weights")
    (tmp_path / "config.yaml").write_text("modelPath: model\njobName: j\nthreadPerModel: 2\nflinkRestUrl: x\n")
    return tmp_path


def test_a_model_without_versions_is_copied_to_one_for_each_change(job: Path) -> None:
    config, file = job / "config.yaml", job / "model" / "model.xml"
    for at in (1000, 1000, 2000):
        for each in file.parent.iterdir():
            os.utime(each, (at, at))
        section = stream_of("j", "model", config, threads=2)
    base = Path(section["base_path"])
    assert base == job / "penstock-models" / "j"
    assert sorted(child.name for child in base.iterdir()) == ["1000", "2000"]
    assert (base / "2000" / "model.bin").read_bytes() == b"weights"
    assert (section["kind"], section["options"]) == ("openvino", {"threads": 2})


def test_a_model_with_versions_is_served_where_it_is(job: Path) -> None:
    version = job / "model" / "7"
    version.mkdir()
    (version / "saved_model.pb").write_bytes(b"")
    section = stream_of("j", str(job / "model"), job / "config.yaml", threads=3)
    options = {"intra_op_threads": 3}
    assert section == {"base_path": str(job / "model"), "kind": "tensorflow", "options": options}
    assert not (job / "penstock-models").exists()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("s3://bucket/model", "servables.j.base_path"),
        ("nowhere", "no directory"),
        ("empty", "no files"),
        ("caffe", "ONNX"),
    ],
)
def test_a_model_that_can_not_be_served_is_refused_with_what_to_do(job: Path, path: str, why: str) -> None:
    (job / "empty").mkdir()
    (job / "caffe").mkdir()
    (job / "caffe" / "net.prototxt").write_text("")
    with pytest.raises(InvalidSettings, match=why):
        stream_of("j", path, job / "config.yaml", threads=0)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["worker", *arguments])


def test_a_dry_run_prints_a_settings_file_and_copies_nothing(job: Path) -> None:
    result = run("--cluster-serving", str(job / "config.yaml"), "--dry-run")
    assert result.exit_code == 0, result.output
    assert "flinkresturl has no effect" in result.stderr
    assert not (job / "penstock-models").exists()
    (job / "penstock.yaml").write_text(result.stdout)
    it = load(job / "penstock.yaml", {})
    assert it.routes["j"].format == "cluster-serving"
    assert it.servables["j"].options == {"threads": 2}
    assert it.watch.in_worker


def test_mistakes_are_one_line(job: Path) -> None:
    (job / "config.yaml").write_text("modelPath: model\nrecordEncrypted: true\n")
    result = run("--cluster-serving", str(job / "config.yaml"), "--dry-run")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "recordencrypted: encrypted images are not read" in result.stderr
    (job / "config.yaml").write_text("- a list\n")
    assert "has no keys" in run("--cluster-serving", str(job / "config.yaml")).stderr
    assert run("--dry-run").exit_code == 2


def test_the_worker_starts_with_the_settings_of_the_job_beside_its_own_file(job: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(job)
    (job / "penstock.yaml").write_text("worker: {load_threads: 5}\n")
    seen: dict[str, Any] = {}

    def run_worker(file: Any, **options: Any) -> int:
        seen.update(settings=file.current, **options)
        return 0

    monkeypatch.setattr("pipeline.app.run_worker", run_worker)
    result = run("--cluster-serving", "config.yaml", "--id", "w")
    assert result.exit_code == 0, result.output
    it = seen["settings"]
    assert (it.worker.load_threads, it.worker.id, list(it.routes), seen["is_watching"]) == (5, "w", ["j"], True)
    assert Path(it.servables["j"].base_path).name == "j"
