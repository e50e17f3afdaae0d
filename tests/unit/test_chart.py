"""The Helm chart renders the very pods that ``manifest`` writes."""

from pathlib import Path

import pytest
import yaml
from helm_python import Chart
from helm_python.chart import lint
from helm_python.errors import HelmError
from support.manifests import every_kind, settings

from supervisor.cli.manifest import CLOSED
from supervisor.deploy.pod import pod_documents
from supervisor.deploy.settings import EmptyWorkspace, ExistingClaim, NewClaim

CHART = Path(__file__).resolve().parents[2] / "images/chart"
LINT_INFO = 1  # Helm's own numbers: 2 warning, 3 error
ORDER = ("ConfigMap", "PersistentVolumeClaim", "Pod")


@pytest.fixture(scope="module")
def chart():
    with Chart.load(CHART) as loaded:
        yield loaded


def rendered(chart, values, name="demo"):
    text = "\n---\n".join(chart.render(values=values, name=name, namespace="default").values())
    documents = [document for document in yaml.safe_load_all(text) if document]
    return sorted(documents, key=lambda document: ORDER.index(document["kind"]))


def values_for(made):
    """The chart's values that say what the settings say."""
    workspace = {}
    match made.workspace:
        case NewClaim(size=size, storage_class=storage_class):
            workspace = {"size": size, "storageClass": storage_class or ""}
        case ExistingClaim(name=name):
            workspace = {"existingClaim": name}
        case EmptyWorkspace():
            pass
    resources = made.resources
    return {
        "agent": {
            "image": made.image,
            "command": list(made.command),
            "env": [{"name": name, "value": value} for name, value in made.environment],
            "writable": list(made.writable),
            "runtimeClassName": made.runtime_class or "",
        },
        "supervisor": {
            "image": made.supervisor_image,
            "topology": made.topology.value,
            "sideload": made.sideload.value,
            "nativeSidecar": made.native_sidecar,
            "binaryIdentity": made.binary_aware,
            "secrets": list(made.secrets),
            "upstream": {
                "resolver": made.upstream.resolver or "",
                "proxy": made.upstream.proxy or "",
                "noProxy": made.upstream.no_proxy or "",
                "byName": made.upstream.by_name,
                "secret": "" if made.proxy_secret is None else made.proxy_secret.secret,
                "secretKey": "credentials" if made.proxy_secret is None else made.proxy_secret.key,
            },
        },
        "identity": {
            "uid": made.ids.uid,
            "gid": made.ids.gid,
            "groups": list(reversed(made.ids.groups)),
        },
        "resources": {
            "cpuRequest": resources.cpu_request,
            "memoryRequest": resources.memory_request,
            "cpu": resources.cpu,
            "memory": resources.memory,
        },
        "workspace": {**workspace, "seed": made.seed},
        "pullPolicy": made.pull_policy.value,
        "restartPolicy": made.restart.value,
        "userNamespace": made.user_namespace,
        "policy": made.policy,
    }


@pytest.mark.parametrize("made", list(every_kind()))
def test_the_chart_renders_what_the_command_writes(chart, made):
    assert rendered(chart, values_for(made)) == pod_documents(made)


@pytest.mark.parametrize(
    "made",
    [
        settings(uid="1000650000", gid="4294967294", groups="9,10,4294967293"),
        settings(command=("/bin/sh", "-c", "echo $$ 'a\"b' {{ x }} <&>\n\té \U0001f600")),
        settings(environment=(("A", "yes"), ("B", "$(A)$$"), ("C", "1e3"))),
        settings(policy="# é\nversion: 1\n\n\n"),
        settings(name="a" * 40),
    ],
)
def test_ids_and_texts_survive_the_template_language(chart, made):
    assert rendered(chart, values_for(made), made.name) == pod_documents(made)


def test_the_defaults_of_the_chart_are_those_of_the_command(chart):
    made = settings(
        image="localhost/sandbox-agent",
        supervisor_image="localhost/sandbox-supervisor",
        command=("/bin/sh",),
        policy=CLOSED,
        uid=None,
        gid=None,
    )

    assert rendered(chart, {}) == pod_documents(made)


def test_the_chart_lints():
    found = [message for message in lint(CHART)["messages"] if message["severity"] > LINT_INFO]

    assert found == []


@pytest.mark.parametrize(
    "values",
    [
        {"identity": {"uid": 0}},
        {"identity": {"uid": 64998}},
        {"identity": {"uid": 1000, "groups": [0]}},
        {"identity": {"uid": "1000"}},
        {"supervisor": {"topology": "proxy-pod"}},
        {"supervisor": {"secrets": ["a"]}},
        {"supervisor": {"nativeSidecar": True}},
        {"supervisor": {"upstream": {"noProxy": ".corp"}}},
        {"supervisor": {"topology": "sidecar", "upstream": {"secret": "a"}}},
        {"supervisor": {"upstream": {"proxy": "http://proxy.corp:3128", "secret": "a"}}},
        {"supervisor": {"upstream": {"proxy": "https://proxy.corp:3128"}}},
        {"agent": {"env": [{"name": "SANDBOX_UID", "value": "0"}]}},
        {"agent": {"writable": ["/etc"]}},
        {"agent": {"command": []}},
        {"restartPolicy": "Always"},
        {"workspace": {"existingClaim": "a", "size": "1Gi"}},
        {"workspace": {"storageClass": "fast"}},
        {"unknown": 1},
    ],
)
def test_what_the_command_refuses_the_chart_refuses(chart, values):
    with pytest.raises(HelmError):
        rendered(chart, values)


def test_a_release_name_that_is_too_long_for_its_volumes_is_refused(chart):
    with pytest.raises(HelmError):
        rendered(chart, {}, "a" * 41)
