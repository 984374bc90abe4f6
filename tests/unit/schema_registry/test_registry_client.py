"""A registry is asked through confluent-kafka's own client: over HTTP, with everything that can be wrong with it."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pipeline.codecs import confluent, schemas
from pipeline.codecs.avro_framing import AvroFraming
from pipeline.errors import ConnectorError
from pipeline.schema_registry.client import RegistryClient
from pipeline.schema_registry.naming import name_schema
from pipeline.settings import SchemaRegistrySettings
from tests.schema_registry.stand_in import Answer, StandIn

TEXT = schemas.text("PredictResult")
SUBJECT = "digits.results-value"


@pytest.fixture
def client(stand_in: StandIn) -> Iterator[RegistryClient]:
    it = RegistryClient(SchemaRegistrySettings(url=stand_in.url, timeout_s=0.5))
    yield it
    it.close()


def test_a_schema_is_found_by_its_id_by_its_guid_and_in_its_subject(client: RegistryClient, stand_in: StandIn) -> None:
    schema_id = stand_in.register(SUBJECT, TEXT)
    guid = stand_in.guid(schema_id)
    for name in (confluent.of_id(schema_id), confluent.of_guid(guid)):
        found = client.named(name)
        assert found is not None
        assert found.text == TEXT
    for registered in (client.version(SUBJECT), client.version(SUBJECT, 1), client.lookup(SUBJECT, TEXT)):
        assert registered is not None
        assert (registered.schema_id, registered.guid, registered.version) == (schema_id, guid, 1)
    assert client.versions(SUBJECT) == [1]


def test_what_a_registry_does_not_have_is_no_error(client: RegistryClient) -> None:
    assert client.named(confluent.of_id(7)) is None
    assert client.named(confluent.of_guid("00000000-0000-0000-0000-000000000007")) is None
    assert client.version("nobody") is None
    assert client.lookup("nobody", TEXT) is None
    assert client.versions("nobody") == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, {"error_code": 50001, "message": "store is down"}), "store is down"),
        ((503, "<html>busy</html>"), "503"),
        ((404, "<html>no such page</html>"), "404"),
        ((401, {"error_code": 401, "message": "Unauthorized"}), "user_info"),
        ((200, "<html>welcome</html>"), "Error"),
        ((200, "[]"), "Error"),
        ((200, {}), "no schema"),
        ((200, {"schema": 7}), "Error"),
    ],
)
def test_any_other_answer_is_one_that_a_later_try_may_better(
    client: RegistryClient, stand_in: StandIn, answer: Answer, reason: str
) -> None:
    stand_in.fault = lambda _method, _path: answer
    with pytest.raises(ConnectorError, match=reason):
        client.named(confluent.of_id(1))
    assert stand_in.asked.total() == 1  # when to try again is not the client's to say


def test_one_that_is_slow_and_one_that_is_gone_are_given_up(client: RegistryClient, stand_in: StandIn) -> None:
    stand_in.register(SUBJECT, TEXT)
    is_over = threading.Event()

    def hang(_method: str, _path: str) -> None:
        is_over.wait(20)

    stand_in.fault = hang
    with pytest.raises(ConnectorError, match="Timeout"):
        client.named(confluent.of_id(1))
    is_over.set()
    stand_in.stop()
    with pytest.raises(ConnectorError, match="ConnectError"):
        client.named(confluent.of_id(1))
    stand_in.fault = lambda _method, _path: None
    stand_in.start()
    assert client.named(confluent.of_id(1)) is not None


@pytest.mark.parametrize(
    ("settings", "sent"),
    [({"user_info": "me:hush-hush"}, "Basic bWU6aHVzaC1odXNo"), ({"bearer_token": "hush-hush"}, "Bearer hush-hush")],
)
def test_credentials_are_sent_and_stand_in_no_error(stand_in: StandIn, settings: dict[str, str], sent: str) -> None:
    client = RegistryClient(SchemaRegistrySettings(url=stand_in.url, **settings))
    client.versions(SUBJECT)
    assert stand_in.authorizations == {sent}
    stand_in.fault = lambda _method, _path: (403, {"error_code": 403, "message": f"not you, {settings}"})
    with pytest.raises(ConnectorError) as caught:
        client.versions(SUBJECT)
    assert "hush-hush" not in str(caught.value)
    client.close()


def framed(client: RegistryClient, kind: str, *, auto_register: bool = False) -> AvroFraming:
    framing = AvroFraming(kind)
    assert not framing.is_known
    name_schema(client, SUBJECT, "PredictResult", framing, auto_register=auto_register)
    assert framing.is_known
    return framing


def test_results_are_framed_by_the_name_that_their_subject_has(client: RegistryClient, stand_in: StandIn) -> None:
    schema_id = stand_in.register(SUBJECT, TEXT)
    it = framed(client, "confluent")
    assert (it.prefix, it.headers) == (confluent.of_id(schema_id), ())
    it = framed(client, "confluent-header")
    assert it.prefix == b""
    assert it.headers == ((confluent.HEADER, confluent.of_guid(stand_in.guid(schema_id))),)


def test_another_text_of_our_schema_will_do(client: RegistryClient, stand_in: StandIn) -> None:
    schema_id = stand_in.register(SUBJECT, TEXT.replace("The one answer", "An answer"))
    assert framed(client, "confluent").prefix == confluent.of_id(schema_id)


def test_a_schema_is_registered_only_where_that_is_set(client: RegistryClient, stand_in: StandIn) -> None:
    with pytest.raises(ConnectorError, match="auto_register"):
        framed(client, "confluent")
    assert not stand_in.subjects
    assert framed(client, "confluent", auto_register=True).prefix == confluent.of_id(1)
    assert framed(client, "confluent-header", auto_register=True).headers
    assert len(stand_in.subjects[SUBJECT]) == 1


def test_a_subject_that_refuses_our_schema_and_one_of_another_schema_say_so(
    client: RegistryClient, stand_in: StandIn
) -> None:
    stand_in.register(SUBJECT, '{"type": "record", "name": "Order", "fields": [{"name": "x", "type": "int"}]}')
    with pytest.raises(ConnectorError, match="incompatible"):
        framed(client, "confluent", auto_register=True)
    with pytest.raises(ConnectorError, match="no schema that writes a PredictResult"):
        framed(client, "confluent")


def test_a_registry_without_guids_says_which_framing_it_can(client: RegistryClient, stand_in: StandIn) -> None:
    stand_in.register(SUBJECT, TEXT)
    stand_in.tells_guids = False
    with pytest.raises(ConnectorError, match="frame as confluent"):
        framed(client, "confluent-header")
    assert framed(client, "confluent").is_known


def test_their_registry_in_the_process_is_one_too() -> None:
    client = RegistryClient(SchemaRegistrySettings(url="mock://tests"))
    it = framed(client, "confluent-header", auto_register=True)
    [(_, name)] = it.headers
    found = client.named(name)
    assert found is not None
    assert found.text == TEXT
    client.close()
