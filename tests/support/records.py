"""The records that a sandbox printed, and the same shown flat, under the names that tests ask for."""

import json


def records_in(stderr: str) -> list[dict]:
    """The records among what was printed, as they were printed."""
    whole = stderr[: stderr.rfind("\n") + 1]  # a line that is being written is not one yet
    return [json.loads(line) for line in whole.splitlines() if line.startswith('{"time":')]


def events_of(stderr: str) -> list[dict]:
    """The same, flat."""
    return [flat(record) for record in records_in(stderr)]


def flat(record: dict) -> dict:
    """What OCSF nests at the top; a connection's records are named after egress, which writes them."""
    target = record.get("dst_endpoint", {})
    process = record.get("process", {})
    processes = [record.get("actor", {}).get("process", {})]
    processes += record.get("unmapped", {}).get("other_holders", [])
    return (
        record
        | record.get("unmapped", {})
        | {
            "event": record["metadata"]["event_code"].replace("connection.", "egress."),
            "host": target.get("hostname") or target.get("ip"),
            "port": target.get("port"),
            "binaries": [one["name"] for one in processes if "name" in one],
            "pids": [one["pid"] for one in processes if "pid" in one],
            "rule": record.get("firewall_rule", {}).get("name"),
            "code": record.get("status_code"),
            "cause": record.get("status_detail"),
            "remedy": record.get("unmapped", {}).get("remedy"),
            "severity": record["severity"].lower(),
            "helper": process.get("name"),
            "pid": process.get("pid"),
            "status": record.get("exit_code", record["status"]),
        }
    )
