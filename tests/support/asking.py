"""Short forms of the two questions to the decision core, for tests."""

from policy.decide import decide_connection, decide_request
from policy.index import compile_policy
from policy.intent import ConnectionIntent, RequestIntent
from support.built_policies import CURL, endpoint, entry, policy

HOST = "api.example.com"


def connect(index, host=HOST, port=443, binary=CURL, ancestors=(), **more):
    intent = ConnectionIntent(host=host, port=port, binary=binary, ancestors=ancestors, **more)
    return decide_connection(index, intent)


def request(index, method, path, query="", host=HOST, port=443, **caller):
    caller.setdefault("binary", CURL)
    connection = ConnectionIntent(host=host, port=port, **caller)
    intent = RequestIntent(connection=connection, method=method, path=path, query=query)
    return decide_request(index, intent)


def plain(*entries, **options):
    return compile_policy(policy(*entries), **options)


def rules_of(*rules, **fields):
    return plain(entry("api", endpoint(HOST, rules=rules, **fields)))
