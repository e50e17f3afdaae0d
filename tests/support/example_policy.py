"""The reference's example policy (network.md 1.10), as a user of it may have it on disk."""

EXAMPLE = """\
version: 1
filesystem_policy:
  include_workdir: true
  read_only: [/usr, /lib, /etc, /proc, /dev/urandom, /opt/tools]
  read_write: [/tmp, /dev/null, /home/agent/.cache]
landlock: {compatibility: hard_requirement}
process: {run_as_user: "1001", run_as_group: "1001"}

network_policies:
  forge_api:
    endpoints:
      - host: api.forge.example.com
        port: 443
        path: /v3/**
        protocol: rest
        enforcement: enforce
        rules:
          - allow: {method: GET, path: /v3/**}
          - allow:
              method: POST
              path: /v3/repos/acme/*/issues
              query: {draft: {any: ["true", "false"]}}
        deny_rules:
          - {method: "*", path: /v3/repos/*/*/hooks/**}
      - host: api.forge.example.com
        port: 443
        path: /graphql
        protocol: graphql
        enforcement: enforce
        persisted_queries: allow_registered
        graphql_persisted_queries:
          9f1c…: {operation_type: query, operation_name: RepoList, fields: [repositories]}
        rules:
          - allow: {operation_type: query, fields: [viewer, repository]}
          - allow: {operation_type: mutation, operation_name: Add*, fields: [addComment]}
    binaries: [{path: /usr/bin/git}, {path: /opt/tools/**}]

  package_index:
    endpoints:
      - {host: "*.pkgs.example.org", ports: [443, 8443], protocol: rest, access: read-only,
         enforcement: enforce, allow_encoded_slash: true}
    binaries: [{path: /usr/bin/python3.12}]

  tools_mcp:
    endpoints:
      - host: mcp.internal.example
        port: 8080
        path: /mcp
        protocol: mcp
        enforcement: enforce
        allowed_ips: [10.40.0.0/16]
        mcp: {max_body_bytes: 131072, strict_tool_names: true}
        rules:
          - allow: {method: initialize}
          - allow: {method: notifications/initialized}
          - allow: {method: tools/list}
          - allow: {method: tools/call, tool: {any: ["search_*", "read_file"]}}
        deny_rules:
          - {method: tools/call, tool: search_secrets}
    binaries: [{path: /usr/bin/node}]

  database:
    endpoints: [{host: db.prod.example, port: 5432, protocol: tcp}]
    binaries: [{path: /usr/bin/psql}]

  object_store:
    endpoints:
      - {host: "*.s3.*.amazonaws.com", port: 443, protocol: rest, access: read-write,
         enforcement: enforce, credential_signing: sigv4, signing_service: s3}
    binaries: [{path: /usr/local/bin/aws}]

network_middlewares:
  redact:
    middleware: openshell/regex
    order: 10
    on_error: fail_closed
    endpoints: {include: ["*.example.com"], exclude: ["status.example.com"]}
    config: {patterns: ["(?i)password=\\\\S+"]}
"""
