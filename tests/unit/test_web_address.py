"""Where a worker's pages are: what is said before the start when they can not be there."""

from __future__ import annotations

import socket

import pytest

from pipeline.errors import InvalidSettings
from pipeline.local.ports import free_ports
from pipeline.settings.worker import WorkerSettings
from pipeline.web.address import check_address


def test_a_port_that_another_listens_on_is_an_error_that_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InvalidSettings, match=rf"worker.web_port: 127.0.0.1:{port} is in use .*--web-port"):
            check_address(WorkerSettings(web_port=port))
    check_address(WorkerSettings(web_port=port))  # the other has ended, and the check holds nothing itself
    check_address(WorkerSettings(web_port=port))


def test_a_host_that_is_not_this_machine_is_an_error_that_names_it():
    with pytest.raises(InvalidSettings, match=r"worker.web_port: nobody can listen on 192.0.2.1:6066"):
        check_address(WorkerSettings(web_host="192.0.2.1"))  # of the block that is kept for documentation
    with pytest.raises(InvalidSettings, match=r"worker.web_host: 'no.such.host.invalid' is no address"):
        check_address(WorkerSettings(web_host="no.such.host.invalid"))


def test_a_port_is_given_away_once():
    ports = [port for _ in range(500) for port in free_ports(1)]
    assert len(set(ports)) == len(ports)
