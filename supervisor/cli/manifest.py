"""``manifest pod|sandbox``: write the pod for Kubernetes and ``podman kube play``.

Documents on standard output; on standard error who the workload is, which Kubernetes the manifest
needs and what podman leaves out.
"""

import argparse
import json
import sys

from policy.model import Policy
from supervisor.cli import upstream_arguments
from supervisor.deploy import codes
from supervisor.deploy.compatibility import Compatibility, judge
from supervisor.deploy.layout import TMP, WORKDIR
from supervisor.deploy.pod import pod_documents, sandbox_documents
from supervisor.deploy.settings import (
    EmptyWorkspace,
    ExistingClaim,
    NewClaim,
    PodSettings,
    PullPolicy,
    Resources,
    Restart,
    SecretKey,
    Sideload,
    Topology,
    Workspace,
)
from supervisor.deploy.yaml_text import dump
from supervisor.errors import Refusal
from supervisor.identity.openshift import MAX_TEXT, PodIds, read_annotations, resolve
from supervisor.settings import UpstreamSettings

API_VERSIONS = ("v1beta1", "v1alpha1")
SHOWN_FINDINGS = 5
PROXY_KEY = "credentials"
CLOSED = """\
# The built-in closed policy: no network, no files but the baseline, the work directory and /tmp.
version: 1
filesystem_policy:
  include_workdir: true
  read_write: [/tmp]
landlock:
  compatibility: hard_requirement
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    for kind, summary in (
        ("pod", "a Pod with its ConfigMap"),
        ("sandbox", "the same pod as a Sandbox of agents.x-k8s.io"),
    ):
        sub = kinds.add_parser(kind, help=summary, description=summary)
        _configure_pod(sub)
        if kind == "sandbox":
            sub.add_argument("--api-version", choices=API_VERSIONS, default=API_VERSIONS[0])


def _configure_pod(parser: argparse.ArgumentParser) -> None:
    default = Resources()
    option = parser.add_argument
    option("--name", default="sandbox", help="of the pod, and prefix of all that belongs to it")
    option("--image", required=True, help="the agent's image")
    option("--supervisor-image", required=True, metavar="IMAGE", help="the supervisor's image")
    option("--policy", metavar="FILE", help="the policy; without one, closed; '-' is stdin")
    option("--topology", choices=_values(Topology), default="combined")
    option("--sideload", choices=_values(Sideload), default="init", help="how the runtime gets in")
    option("--native-sidecar", action="store_true", help="a restartable init container")
    option(
        "--no-binary-identity",
        action="store_true",
        help="leave out SYS_PTRACE and, in a sidecar, uid 0: 'binaries' of the policy do not hold",
    )
    option("--uid", metavar="N", help="uid of the workload; default: the namespace's, else 1000")
    option("--gid", metavar="N", help="gid of the workload; default: the uid's")
    option("--groups", metavar="LIST", default="", help="supplementary groups, comma-separated")
    option(
        "--namespace-annotations",
        metavar="FILE",
        help="output of 'kubectl get namespace NAME -o json'; '-' is stdin",
    )
    option("--cpu-request", default=default.cpu_request)
    option("--memory-request", default=default.memory_request)
    option("--cpu", default=default.cpu, help="limit; default %(default)s")
    option("--memory", default=default.memory, help="limit; default %(default)s")
    option("--workspace-size", metavar="SIZE", help="a new claim of this size for /sandbox")
    option("--storage-class", metavar="CLASS", help="of the new claim")
    option("--workspace-claim", metavar="NAME", help="an existing claim for /sandbox")
    option("--seed", action="store_true", help="copy the image's /sandbox into an empty workspace")
    option("--writable", action="append", default=[], metavar="DIR", help="a volume at DIR")
    option("--env", action="append", default=[], metavar="NAME=VALUE", help="for the workload")
    option(
        "--secret",
        action="append",
        default=[],
        metavar="NAME",
        help="a Secret, into the sidecar only",
    )
    option("--runtime-class", metavar="NAME")
    option("--user-namespace", action="store_true", help="hostUsers: false")
    option("--restart", choices=_values(Restart), default="Never")
    option("--pull-policy", choices=_values(PullPolicy), default="IfNotPresent")
    upstream_arguments.configure(parser, with_credentials=False)
    option(
        "--upstream-proxy-secret",
        metavar="NAME[/KEY]",
        help="a Secret's key with user:password for the proxy, into the sidecar only; "
        f"default key: {PROXY_KEY}",
    )
    option("--explain", action="store_true", help="print only what is needed and what is ignored")
    option("--json", action="store_true", help="one List, or with --explain one object")
    option("command_words", nargs=argparse.REMAINDER, metavar="[--] COMMAND…")


def run(arguments: argparse.Namespace) -> int:
    """Print the documents."""
    settings = settings_from(arguments)
    policy = _loaded(settings.policy, arguments.policy)
    in_sandbox = arguments.kind == "sandbox"
    compatibility = judge(settings, in_sandbox=in_sandbox)
    warnings = [
        *settings.ids.warnings,
        *(
            f"the policy does not let the workload write to {path}"
            for path in _closed_directories(settings, policy)
        ),
    ]
    if arguments.explain:
        print(_explained(settings.ids, warnings, compatibility, as_json=arguments.json))
        return 0
    documents = (
        sandbox_documents(settings, version=arguments.api_version)
        if in_sandbox
        else pod_documents(settings)
    )
    if arguments.json:
        print(json.dumps({"apiVersion": "v1", "kind": "List", "items": documents}, indent=2))
    else:
        print(dump(documents), end="")
    print(_explained(settings.ids, warnings, compatibility, as_json=False), file=sys.stderr)
    return 0


def settings_from(arguments: argparse.Namespace) -> PodSettings:
    """Read the files that are named, and freeze what was said. Raises Refusal."""
    words = arguments.command_words
    return PodSettings(
        name=arguments.name,
        image=arguments.image,
        supervisor_image=arguments.supervisor_image,
        command=tuple(words[1:] if words[:1] == ["--"] else words),
        policy=_policy_text(arguments.policy),
        ids=_ids(arguments),
        topology=Topology(arguments.topology),
        sideload=Sideload(arguments.sideload),
        native_sidecar=arguments.native_sidecar,
        binary_aware=not arguments.no_binary_identity,
        restart=Restart(arguments.restart),
        pull_policy=PullPolicy(arguments.pull_policy),
        resources=Resources(
            cpu_request=arguments.cpu_request,
            memory_request=arguments.memory_request,
            cpu=arguments.cpu,
            memory=arguments.memory,
        ),
        workspace=_workspace(arguments),
        seed=arguments.seed,
        writable=tuple(arguments.writable),
        environment=tuple(_variable(text) for text in arguments.env),
        secrets=tuple(arguments.secret),
        upstream=_upstream(arguments),
        proxy_secret=_proxy_secret(arguments),
        runtime_class=arguments.runtime_class,
        user_namespace=arguments.user_namespace,
    )


def _ids(arguments: argparse.Namespace) -> PodIds:
    source = arguments.namespace_annotations
    if source == "-" == arguments.policy:
        raise Refusal(codes.CONFLICT, "policy and annotations both come from standard input")
    annotations = None if source is None else read_annotations(_read(source), source)
    return resolve(
        uid=arguments.uid, gid=arguments.gid, groups=arguments.groups, annotations=annotations
    )


def _upstream(arguments: argparse.Namespace) -> UpstreamSettings:
    """Checked as the pod will check it; raises Refusal ``upstream.*``."""
    from supervisor.startup.upstream import obtain_upstream

    settings = upstream_arguments.settings_from(arguments)
    obtain_upstream(settings)
    return settings


def _proxy_secret(arguments: argparse.Namespace) -> SecretKey | None:
    given = arguments.upstream_proxy_secret
    if given is None:
        return None
    if arguments.upstream_proxy is None:
        raise Refusal(codes.CONFLICT, "--upstream-proxy-secret needs --upstream-proxy")
    secret, slash, key = given.partition("/")
    return SecretKey(secret=secret, key=key if slash else PROXY_KEY)


def _policy_text(path: str | None) -> str:
    return CLOSED if path is None else _read(path)


def _loaded(text: str, path: str | None) -> Policy:
    """The policy, which the pod will accept as well; raises Refusal ``deploy.bad-policy``."""
    from policy.findings import PolicyError
    from policy.load import load

    try:
        return load(text.encode(errors="surrogateescape"), file=path or "the built-in policy")
    except PolicyError as error:
        listed = "; ".join(str(finding) for finding in error.findings[:SHOWN_FINDINGS])
        raise Refusal(codes.BAD_POLICY, listed) from error


def _closed_directories(settings: PodSettings, policy: Policy) -> list[str]:
    """Volumes that the policy does not let the workload write to."""
    open_paths = [entry.path for entry in policy.filesystem.read_write]
    if policy.filesystem.include_workdir:
        open_paths.append(WORKDIR)
    return [
        directory
        for directory in (WORKDIR, TMP, *settings.writable)
        if not any(f"{directory}/".startswith(f"{path}/") for path in open_paths)
    ]


def _workspace(arguments: argparse.Namespace) -> Workspace:
    size, claim = arguments.workspace_size, arguments.workspace_claim
    if claim is not None and (size is not None or arguments.storage_class is not None):
        raise Refusal(codes.CONFLICT, "--workspace-claim is there already: it has size and class")
    if claim is not None:
        return ExistingClaim(name=claim)
    if size is not None:
        return NewClaim(size=size, storage_class=arguments.storage_class)
    if arguments.storage_class is not None:
        raise Refusal(codes.CONFLICT, "--storage-class needs --workspace-size")
    return EmptyWorkspace()


def _variable(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise Refusal(codes.BAD_SETTING, f"--env {name} has no value: write NAME=VALUE")
    return name, value


def _read(path: str) -> str:
    """A text file or standard input, bounded; longer ones are refused by their parsers."""
    try:
        if path == "-":
            return sys.stdin.read(MAX_TEXT + 1)
        with open(path, encoding="utf-8") as file:
            return file.read(MAX_TEXT + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(codes.BAD_SETTING, f"{path}: {error}") from error


def _explained(
    ids: PodIds, warnings: list[str], compatibility: Compatibility, *, as_json: bool
) -> str:
    if as_json:
        who = {"uid": ids.uid, "gid": ids.gid, "groups": list(ids.groups)}
        identity = {**who, "sources": dict(ids.sources)}
        return json.dumps({"identity": identity, "warnings": warnings, **compatibility.as_dict()})
    user, group = (f"{what} from {ids.sources[what]}" for what in ("uid", "gid"))
    lines = [
        f"the workload is {ids.uid}:{ids.gid}: {user}, {group}",
        *(f"warning: {warning}" for warning in warnings),
        *compatibility.lines(),
    ]
    return "\n".join(f"# {line}" for line in lines)


def _values(kind: type[Topology | Sideload | Restart | PullPolicy]) -> list[str]:
    return [str(member.value) for member in kind]
