import json
from ipaddress import ip_address

import pytest
from support.built_policies import CURL, endpoint, entry, policy

from policy.decide import decide_connection
from policy.index import compile_policy
from policy.intent import Caller, CallerProblem
from supervisor.egress import codes
from supervisor.egress.admit import Opened, Refused, connection_intent
from supervisor.egress.authority import parse_authority
from supervisor.egress.caller import Callers
from supervisor.egress.event_records import event_of
from supervisor.egress.http1_commands import Record
from supervisor.egress.naming import Target
from supervisor.egress.origin import Origin
from supervisor.egress.relay import End
from supervisor.egress.service import NameRefused, RequestEnded, Shed, TunnelEnded
from supervisor.events.line import line_of
from supervisor.events.record import Stamp, record_of

CALLERS = Callers(
    callers=(
        Caller(binary="/usr/bin/curl", ancestors=("/bin/sh",)),
        Caller(binary="/usr/bin/python3"),
    ),
    pids=(812, 813),
)
ORIGIN = Origin("r-7", ip_address("10.0.0.7"), 40000)
CLIENT = {"ip": "10.0.0.7", "port": 40000}
UNKNOWN = Callers(callers=(Caller(problem=CallerProblem.VANISHED),))


def decided(host, port=443):
    index = compile_policy(policy(entry("lab", endpoint("api.example.com"), binaries=(CURL,))))
    target = Target(hosts=(host,), port=port)
    asking = Callers(callers=(Caller(binary=CURL, digests=("0" * 64,)),))
    return decide_connection(index, connection_intent(host, target, asking))


def record(report):
    return record_of(event_of(report), Stamp("egress", 1, 0, "pod-1"))


def test_an_opened_connection_has_caller_parents_destination_and_rule():
    decision = decided("api.example.com")
    assert decision.is_forwarded

    found = record(
        Opened(
            origin=ORIGIN,
            target=Target(hosts=("api.example.com",), port=443),
            callers=CALLERS,
            decision=decision,
        )
    )

    assert found["actor"]["process"] == {
        "name": "/usr/bin/curl",
        "pid": 812,
        "parent_process": {"name": "/bin/sh"},
    }
    assert found["dst_endpoint"] == {"hostname": "api.example.com", "port": 443}
    assert found["firewall_rule"] == {"name": "lab"}
    assert (found["src_endpoint"], found["unmapped"]["request_id"]) == (CLIENT, "r-7")
    assert found["unmapped"]["other_holders"] == [{"name": "/usr/bin/python3", "pid": 813}]


@pytest.mark.parametrize("target", [None, Target(hosts=("2001:db8::7",), port=22)])
def test_a_refused_connection_says_why_even_without_a_caller(target):
    found = record(
        Refused(
            origin=ORIGIN,
            target=target,
            callers=UNKNOWN,
            decision=None,
            code=codes.NAME_UNKNOWN,
            cause="the address stands for no name",
        )
    )

    assert found["status_code"] == codes.NAME_UNKNOWN.name
    assert found["unmapped"]["remedy"] == codes.NAME_UNKNOWN.remedy
    assert found["actor"]["process"] == {"name": "unknown"}
    assert (found["src_endpoint"], found["unmapped"]["request_id"]) == (CLIENT, "r-7")
    assert found.get("dst_endpoint") == (target and {"ip": "2001:db8::7", "port": 22})


def test_a_closed_connection_has_bytes_and_duration():
    found = record(
        TunnelEnded(
            origin=ORIGIN,
            target=Target(hosts=("api.example.com",), port=443),
            callers=CALLERS,
            how=End.POLICY,
            bytes_up=10,
            bytes_down=20,
            seconds=1.5,
        )
    )

    assert found["traffic"] == {"bytes": 30, "bytes_in": 20, "bytes_out": 10}
    assert (found["duration"], found["status_detail"]) == (1500, "policy")
    assert (found["src_endpoint"], found["unmapped"]["request_id"]) == (CLIENT, "r-7")


@pytest.mark.parametrize("code", [None, codes.POLICY_CHANGED])
def test_a_request_is_allowed_only_if_policy_said_so_and_it_was_answered(code):
    report = RequestEnded(
        client=(ORIGIN.address, ORIGIN.port),
        callers=CALLERS,
        decision=decided("api.example.com"),
        record=Record(
            request_id="r-1",
            authority=parse_authority("api.example.com:443", None),
            method="GET",
            path="/a?token=CANARY",
            status=200 if code is None else 403,
            code=code,
            bytes_up=1,
            bytes_down=2,
        ),
    )

    found = record(report)

    assert found["metadata"]["event_code"] == ("http.allow" if code is None else "http.deny")
    assert found["http_request"]["url"]["path"] == "/a?[redacted]"
    assert found["http_request"]["uid"] == "r-1"
    assert found["src_endpoint"] == CLIENT
    assert "CANARY" not in json.dumps(found) + line_of(found)


def test_a_request_that_was_none_is_no_allowed_one():
    report = RequestEnded(
        client=(ORIGIN.address, ORIGIN.port),
        callers=None,
        decision=None,
        record=Record(
            request_id="r-2",
            authority=None,
            method="",
            path="",
            status=400,
            code=codes.TOO_SLOW,
            bytes_up=0,
            bytes_down=0,
        ),
    )

    assert record(report)["metadata"]["event_code"] == "http.deny"


def test_a_limit_that_was_reached_is_an_event():
    assert record(Shed(limit="connections", value=7))["unmapped"] == {
        "limit": "connections",
        "value": 7,
    }


def test_case_87_a_denial_says_what_who_where_by_which_rule_and_why_in_both_forms():
    decision = decided("api.example.com", 8443)
    event = event_of(
        Refused(
            origin=ORIGIN,
            target=Target(hosts=("api.example.com",), port=8443),
            callers=CALLERS,
            decision=decision,
            code=decision.code,
            cause="x\nFORGED [policy:lab] ALLOWED",
        )
    )
    found = record_of(event, Stamp("egress", 1, 0, "pod-1"))
    line = line_of(found)

    assert (found["class_uid"], found["action_id"], found["disposition_id"]) == (4001, 2, 2)
    assert found["actor"]["process"]["name"] == "/usr/bin/curl"
    assert found["dst_endpoint"] == {"hostname": "api.example.com", "port": 8443}
    assert found["status_code"] == "policy.port-not-allowed"
    assert found["status_detail"].startswith("x\n")
    assert "/usr/bin/curl(812) -> api.example.com:8443 id=r-7 code=policy.port-not-allowed" in line
    assert 'cause="x\\nFORGED [policy:lab] ALLOWED"' in line  # one line, and quoted
    assert "\n" not in line


def test_a_refused_name_is_told_with_the_type_that_was_asked_for():
    query = record(NameRefused(name="no.example", kind="AAAA", why="no rule"))["query"]

    assert query == {"hostname": "no.example", "type": "AAAA"}
