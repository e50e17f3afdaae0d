"""The vocabularies that other rooms share with the policy: controls and features, each explained.

A *control* is something the supervisor does around the workload that a container may be unable to
give. ``supervisor: require: controls`` makes the start refuse without it; ``supervisor: accept``
allows the start to go on, reported. A *feature* is something the policy language can say that this
version does not enforce; a policy that relies on one is refused by ``run`` unless it accepts it.
"""

CONTROLS: dict[str, str] = {
    "binary-identity": "connections are told apart by the executable that made them",
    "blocked-attempts": "attempts at closed doors of the network are seen and counted (NFLOG)",
    "drift-detection": "a change of the fence after the start is noticed at once",
    "landlock-scopes": "abstract unix sockets and signals stay inside the sandbox (Landlock ABI 6)",
    "memory-limit": "the container has a memory limit",
    "pid-namespace": "the workload has its own process ids, all ended with it",
    "private-proc": "a fresh /proc that hides foreign processes",
    "private-shm": "an own /dev/shm",
    "process-limit": "the container limits the number of processes (pids.max)",
    "trust-store": "a copy of the image's certificates that the workload can read and nobody change",
}

FEATURES: dict[str, str] = {
    "request-rules": "requests inside TLS are not read yet: the connection alone is decided",
    "websocket": "WebSocket messages are not read yet: the connection alone is decided",
    "graphql": "GraphQL operations are not read yet: the connection alone is decided",
    "json-rpc": "JSON-RPC calls are not read yet: the connection alone is decided",
    "mcp": "MCP calls are not read yet: the connection alone is decided",
    "sql": "SQL is never read: the connection alone is decided",
    "credentials": "no credential provider exists: nothing is signed, rewritten or bound",
    "middlewares": "no middleware is run",
}
