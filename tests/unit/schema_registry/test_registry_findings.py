"""What `penstock check` says of a registry: is it there, are the subjects, and can what they hold be read."""

from __future__ import annotations

import json

from pipeline.codecs import schemas
from pipeline.schema_registry.client import RegistryClient
from pipeline.schema_registry.findings import Finding, look
from pipeline.settings import RouteSettings, SchemaRegistrySettings, Settings
from tests.schema_registry.stand_in import StandIn

REQUEST, RESULT = schemas.text("PredictRequest"), schemas.text("PredictResult")
ORDER = '{"type": "record", "name": "Order", "fields": [{"name": "x", "type": "int"}]}'
REQUESTS, RESULTS = "subject a.requests-value", "subject a.results-value"


def found(stand_in: StandIn, *, framing_out: str = "confluent", auto_register: bool = False) -> dict[str, Finding]:
    registry = SchemaRegistrySettings(url=stand_in.url, timeout_s=1.0, auto_register=auto_register)
    route = RouteSettings(servable="a", request_topic="a.requests", result_topic="a.results", framing_out=framing_out)
    client = RegistryClient(registry)
    before = json.dumps(stand_in.subjects)
    findings = list(look(client, Settings(schema_registry=registry, routes={"a": route, "b": route})))
    assert json.dumps(stand_in.subjects) == before
    client.close()
    by_what = {finding.what: finding for finding in findings}
    assert len(by_what) == len(findings)  # two routes of one subject are one finding
    assert all(finding.next_step for finding in findings if finding.status == "problem")
    return by_what


def test_all_is_well_where_both_schemas_are_registered(stand_in: StandIn) -> None:
    stand_in.register("a.requests-value", REQUEST)
    stand_in.register("a.results-value", RESULT)
    assert {what: finding.status for what, finding in found(stand_in).items()} == {
        "schema registry": "ok", REQUESTS: "ok", RESULTS: "ok",
    }  # fmt: skip
    assert RESULTS not in found(stand_in, framing_out="single-object")


def test_a_registry_that_is_away_is_the_one_problem(stand_in: StandIn) -> None:
    stand_in.stop()
    [(what, finding)] = found(stand_in).items()
    assert (what, finding.status) == ("schema registry", "problem")
    assert "ConnectError" in finding.detail


def test_a_subject_that_is_missing_matters_where_results_are_framed_by_it(stand_in: StandIn) -> None:
    findings = found(stand_in)
    assert (findings[REQUESTS].status, findings[RESULTS].status) == ("note", "problem")
    assert "schemas/PredictResult.avsc" in findings[RESULTS].next_step
    findings = found(stand_in, auto_register=True)
    assert (findings[REQUESTS].status, findings[RESULTS].status) == ("note", "note")


def test_requests_of_another_schema_are_read_or_not_and_it_says_which(stand_in: StandIn) -> None:
    tree = json.loads(REQUEST)
    tree["fields"].append({"name": "tenant", "type": "string", "default": ""})
    stand_in.register("a.requests-value", json.dumps(tree))
    assert found(stand_in)[REQUESTS].status == "ok"
    stand_in.register("a.requests-value", ORDER)
    finding = found(stand_in)[REQUESTS]
    assert finding.status == "problem"
    assert "inputs" in finding.detail
    stand_in.register("a.requests-value", "{}", schemaType="JSON")
    assert "JSON" in found(stand_in)[REQUESTS].detail


def test_results_that_the_subject_would_refuse_are_a_problem(stand_in: StandIn) -> None:
    stand_in.register("a.results-value", ORDER)
    for auto_register in (False, True):
        finding = found(stand_in, auto_register=auto_register)[RESULTS]
        assert finding.status == "problem"
        assert "refuse" in finding.detail


def test_results_that_the_subject_would_take_are_still_to_be_registered(stand_in: StandIn) -> None:
    tree = json.loads(RESULT)
    tree["fields"] = [field for field in tree["fields"] if field["name"] != "digest"]
    stand_in.register("a.results-value", json.dumps(tree))
    assert found(stand_in)[RESULTS].status == "problem"
    assert found(stand_in, auto_register=True)[RESULTS].status == "note"
    stand_in.register("a.results-value", RESULT)
    stand_in.register("a.results-value", json.dumps({**tree, "doc": "newer"}))
    assert found(stand_in)[RESULTS].status == "ok"  # ours is one of its versions


def test_a_header_framing_needs_guids(stand_in: StandIn) -> None:
    stand_in.register("a.results-value", RESULT)
    assert found(stand_in, framing_out="confluent-header")[RESULTS].status == "ok"
    stand_in.tells_guids = False
    assert found(stand_in, framing_out="confluent-header")[RESULTS].status == "problem"
    assert found(stand_in)[RESULTS].status == "ok"
