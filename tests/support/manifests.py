"""Pod settings for tests, and ways through what is made of them."""

import itertools

from supervisor.deploy.pod import pod_documents, pod_spec
from supervisor.deploy.settings import (
    EmptyWorkspace,
    ExistingClaim,
    NewClaim,
    PodSettings,
    SecretKey,
    Sideload,
    Topology,
)
from supervisor.identity.openshift import resolve
from supervisor.settings import UpstreamSettings

POLICY = "version: 1\n"
WORKSPACES = (EmptyWorkspace(), NewClaim(size="3Gi", storage_class="fast"), ExistingClaim(name="c"))


UPSTREAM = UpstreamSettings(
    proxy="http://proxy.corp:3128", no_proxy=".corp,10.0.0.0/8", by_name=True, resolver="10.0.0.2"
)


def settings(*, uid="4242", gid="4343", groups="", **changes):
    """A combined pod unless said otherwise."""
    given = {
        "name": "demo",
        "image": "localhost/agent",
        "command": ("/bin/agent", "--flag"),
        "policy": POLICY,
        "ids": resolve(uid=uid, gid=gid, groups=groups, annotations=None),
        "supervisor_image": "localhost/supervisor",
    }
    return PodSettings(**{**given, **changes})


def sidecar(**changes):
    return settings(topology=Topology.SIDECAR, **changes)


def every_kind():
    """Every combination of the settings that change the shape of the pod."""
    for sideload, workspace, binary_aware in itertools.product(Sideload, WORKSPACES, (True, False)):
        common = {"sideload": sideload, "workspace": workspace, "binary_aware": binary_aware}
        more = {
            "groups": "7,8",
            "writable": ("/home/agent", "/var/cache"),
            "environment": (("FOO", "a $(FOO) b"), ("YES", "on")),
            "runtime_class": "kata-qemu",
            "seed": True,
            "upstream": UPSTREAM,
        }
        yield settings(**common)
        yield settings(**common, **more, user_namespace=True)
        for native in (False, True):
            yield sidecar(**common, native_sidecar=native)
            secret = SecretKey(secret="proxy-auth" if native else "corp", key="login")
            yield sidecar(
                **common, **more,
                native_sidecar=native, secrets=("proxy-auth",), proxy_secret=secret,
            )  # fmt: skip


def spec_of(made):
    return pod_spec(made)


def containers_of(spec):
    """By name."""
    return {item["name"]: item for item in spec["initContainers"] + spec["containers"]}


def of_kind(made, kind):
    (found,) = [document for document in pod_documents(made) if document["kind"] == kind]
    return found
