"""What a supervisor printed, as records that tests can ask."""

import json


def events_of(stderr: str) -> list[dict]:
    """The event lines among what was printed. The programs' own output is on stdout, as JSON.

    Egress' OCSF records are shown flat, under the names that tests ask for.
    """
    return [line if "event" in line else _flat(line) for line in lines_of(stderr)]


def lines_of(stderr: str) -> list[dict]:
    """The same as they were printed."""
    return [json.loads(line) for line in stderr.splitlines() if line.startswith("{")]


def _flat(record: dict) -> dict:
    """``connection.refused`` of OCSF's network activity as ``egress.refused``, and so on."""
    code = record["metadata"]["event_code"]
    name = code.replace("connection.", "egress.")
    target = record.get("dst_endpoint", {})
    processes = [record.get("actor", {}).get("process", {})]
    processes += record.get("unmapped", {}).get("other_holders", [])
    return record | {
        "event": name,
        "host": target.get("hostname") or target.get("ip"),
        "port": target.get("port"),
        "binaries": [one["name"] for one in processes if "name" in one],
        "pids": [one["pid"] for one in processes if "pid" in one],
        "rule": record.get("firewall_rule", {}).get("name"),
        "code": record.get("status_code"),
        "cause": record.get("status_detail"),
        "remedy": record.get("unmapped", {}).get("remedy"),
        "level": record["severity"].lower(),
    }
