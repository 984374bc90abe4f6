"""docker-compose.yml and the Dockerfile, checked without Docker: all that they name exists and fits together."""

from __future__ import annotations

import configparser
import json
import re
from pathlib import Path

import pytest
import yaml

from pipeline.commands import NAMES

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"].startswith("penstock:")}
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_there_are_a_kafka_a_redis_a_watcher_and_two_workers():
    assert {"kafka", "redis", "topics", "watcher", "worker-1", "worker-2"} <= set(SERVICES)


@pytest.mark.parametrize("name", sorted(OURS))
def test_each_command_is_one_that_penstock_has(name):
    assert OURS[name]["command"][0] in NAMES


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_whatever_is_waited_for_exists_and_can_be_waited_for(name):
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        assert wait["condition"] in {"service_healthy", "service_completed_successfully"}
        if wait["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other], f"{other} is never healthy"
        else:
            assert "restart" not in SERVICES[other], f"{other} never completes"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_each_path_and_volume_that_is_mounted_exists(name):
    for mount in SERVICES[name].get("volumes", []):
        source = mount.split(":")[0]
        if source.startswith("."):
            assert (ROOT / source).is_file(), f"{source} would be made a folder by Docker"
        else:
            assert source in COMPOSE["volumes"]


def test_no_two_services_want_the_same_port_of_the_host():
    ports = [port.split(":")[0] for service in SERVICES.values() for port in service.get("ports", [])]
    assert len(ports) == len(set(ports))


def test_kafka_advertises_each_listener_at_an_address_that_reaches_it():
    settings = SERVICES["kafka"]["environment"]
    listening = dict(re.findall(r"(\w+)://[\w.]*:(\d+)", settings["KAFKA_LISTENERS"]))
    advertised = {
        name: (host, port)
        for name, host, port in re.findall(r"(\w+)://([\w.]+):(\d+)", settings["KAFKA_ADVERTISED_LISTENERS"])
    }
    assert set(listening) - set(advertised) == {settings["KAFKA_CONTROLLER_LISTENER_NAMES"]}
    for name, (host, port) in advertised.items():
        assert listening[name] == port
        assert host in SERVICES or f"{port}:{port}" in SERVICES["kafka"]["ports"]
    mapped = dict(pair.split(":") for pair in settings["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(","))
    assert set(mapped) == set(listening)


def test_the_settings_file_is_mounted_where_the_variable_says():
    for service in OURS.values():
        targets = [mount.split(":")[1] for mount in service["volumes"]]
        assert service["environment"]["PENSTOCK_CONFIG"] in targets


def test_the_workers_pages_are_published_from_the_port_that_the_image_exposes():
    exposed = re.search(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)[1]
    for name in ("worker-1", "worker-2"):
        assert [port.split(":")[1] for port in SERVICES[name]["ports"]] == [exposed]
        assert exposed in " ".join(SERVICES[name]["healthcheck"]["test"])


def test_others_see_the_pages_of_a_container_and_its_health_is_what_they_say():
    command = ["worker", "--web-host", "0.0.0.0"]
    assert f"CMD {json.dumps(command)}" in DOCKERFILE
    for worker in ("worker-1", "worker-2"):
        assert SERVICES[worker]["command"] == command
        assert "/live" in " ".join(SERVICES[worker]["healthcheck"]["test"])


def test_the_image_has_what_its_services_need():
    extras = COMPOSE["x-penstock"]["build"]["args"]["EXTRAS"].split(",")
    known = configparser.ConfigParser()
    known.read(ROOT / "setup.cfg")
    assert {"openvino", "redis"} <= set(extras) <= set(known["options.extras_require"])


def test_the_image_copies_what_exists_and_all_that_a_package_is_made_of():
    copied = [source for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()]
    assert {"setup.cfg", "pyproject.toml", "constraints.txt", "pipeline", "connectors", "schemas"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source


def test_the_image_does_not_run_as_root_and_owns_the_model_volume():
    user = re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert user != "root"
    target = next(mount.split(":")[1] for mount in SERVICES["watcher"]["volumes"] if mount.startswith("models:"))
    assert f"--owner {user} --group {user} {target}" in DOCKERFILE
