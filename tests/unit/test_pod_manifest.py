"""What stands in the pod: who runs as whom, with what, and what is in whose reach."""

import json

import pytest
from support.manifests import containers_of, every_kind, of_kind, settings, sidecar, spec_of
from support.pod_security import complaints

from supervisor.deploy.pod import pod_documents, sandbox_documents
from supervisor.deploy.settings import ExistingClaim, NewClaim, Resources, SecretKey, Sideload
from supervisor.errors import Refusal
from supervisor.settings import UpstreamSettings

OURS = {"install", "volumes-init", "net-init", "sidecar"}
INSIDE = "/opt/sandbox-supervisor/sandbox-supervisor"


def capabilities(container):
    held = container["securityContext"]["capabilities"]
    assert held["drop"] == ["ALL"]
    return set(held.get("add", []))


def mounts(container):
    return {mount["mountPath"]: mount for mount in container["volumeMounts"]}


def words_after(container, option):
    command = container["command"]
    return command[command.index(option) + 1]


@pytest.mark.parametrize("made", [sidecar(), sidecar(binary_aware=False), sidecar(groups="7")])
def test_the_agent_container_of_the_sidecar_topology_is_restricted(made):
    spec = spec_of(made)
    agent = containers_of(spec)["agent"]

    assert complaints(spec, agent) == []
    assert agent["securityContext"]["runAsUser"] == 4242
    assert agent["securityContext"]["runAsGroup"] == 4343
    assert agent["securityContext"]["readOnlyRootFilesystem"] is True
    assert capabilities(agent) == set()


def test_the_check_itself_finds_what_the_other_containers_need():
    spec = spec_of(sidecar())
    found = {name: set(complaints(spec, item)) for name, item in containers_of(spec).items()}

    assert found["net-init"] == {"non-root", "uid 0", "added capabilities"}
    assert found["sidecar"] == {"non-root", "uid 0", "added capabilities"}
    assert complaints({}, {}) == ["escalation", "non-root", "seccomp", "drop ALL"]


def test_each_container_has_exactly_the_capabilities_of_its_job():
    every = containers_of(spec_of(sidecar()))

    assert capabilities(every["install"]) == set()
    assert capabilities(every["volumes-init"]) == {"CHOWN", "DAC_READ_SEARCH", "FOWNER"}
    assert capabilities(every["net-init"]) == {"CHOWN", "FOWNER", "NET_ADMIN"}
    assert capabilities(every["sidecar"]) == {
        *("KILL", "NET_ADMIN", "SETGID", "SETPCAP", "SETUID", "SYS_PTRACE")
    }


def test_without_binary_identity_the_sidecar_is_egress_own_uid_without_privilege():
    spec = spec_of(sidecar(binary_aware=False))
    container = containers_of(spec)["sidecar"]

    assert complaints(spec, container) == []
    assert container["securityContext"]["runAsUser"] == 64998
    assert "shareProcessNamespace" not in spec
    assert spec_of(sidecar())["shareProcessNamespace"] is True


def test_a_combined_pod_looks_into_processes_only_for_binary_identity():
    with_it, without = (
        capabilities(containers_of(spec_of(settings(binary_aware=aware)))["agent"])
        for aware in (True, False)
    )

    assert with_it - without == {"SYS_PTRACE"}
    assert "DAC_OVERRIDE" not in with_it


@pytest.mark.parametrize("made", list(every_kind()))
def test_what_holds_for_every_pod(made):
    spec = spec_of(made)
    names = [volume["name"] for volume in spec["volumes"]]

    assert spec["automountServiceAccountToken"] is spec["enableServiceLinks"] is False
    assert spec["restartPolicy"] in ("Never", "OnFailure")
    assert len(set(names)) == len(names)
    assert all(name.startswith("demo-") and len(name) <= 63 for name in names)
    for name, container in containers_of(spec).items():
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert set(container["resources"]) == {"requests", "limits"}
        assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
        assert "privileged" not in security
        assert (container["image"] == "localhost/supervisor") == (name in OURS)
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(names)


@pytest.mark.parametrize("made", list(every_kind()))
def test_the_identity_stands_on_every_command_line_that_needs_it(made):
    for name, container in containers_of(spec_of(made)).items():
        if name not in ("install", "seed"):
            assert words_after(container, "--uid") == "4242"
            assert words_after(container, "--gid") == "4343"


def test_the_roles_get_what_they_are_told_on_their_command_line():
    every = containers_of(spec_of(sidecar()))

    assert every["agent"]["command"] == [
        *(INSIDE, "run", "--mode", "network-only", "--shared", "/run/sandbox-supervisor"),
        *("--workdir", "/sandbox", "--uid", "4242", "--gid", "4343", "--groups", ""),
        *("--", "/bin/agent", "--flag"),
    ]
    assert every["net-init"]["command"] == [
        *(INSIDE, "net-init", "--policy", "/run/sandbox-policy/policy.yaml"),
        *("--egress-uid", "64998", "--uid", "4242", "--gid", "4343"),
        *("--shared", "/run/sandbox-supervisor"),
    ]
    assert every["sidecar"]["command"] == [
        *(INSIDE, "sidecar", "--policy", "/run/sandbox-policy/policy.yaml"),
        *("--shared", "/run/sandbox-supervisor", "--egress-uid", "64998"),
        *("--uid", "4242", "--gid", "4343"),
    ]


def test_the_combined_pod_names_mode_policy_and_identity_on_the_command_line():
    made = settings(groups="8,7", environment=(("FOO", "bar"),))
    agent = containers_of(spec_of(made))["agent"]

    assert agent["command"] == [
        *(INSIDE, "run", "--mode", "full", "--policy", "/run/sandbox-policy/policy.yaml"),
        *("--workdir", "/sandbox", "--uid", "4242", "--gid", "4343", "--groups", "7,8"),
        *("--env", "FOO", "--", "/bin/agent", "--flag"),
    ]
    assert spec_of(made)["securityContext"]["supplementalGroups"] == [7, 8]


def test_no_process_of_the_pod_learns_a_secret_but_the_sidecar():
    spec = spec_of(sidecar(secrets=("proxy-auth",)))
    volume = next(item["name"] for item in spec["volumes"] if "secret" in item)
    holders = [
        name
        for name, item in containers_of(spec).items()
        if volume in {mount["name"] for mount in item["volumeMounts"]}
    ]

    assert holders == ["sidecar"]
    assert mounts(containers_of(spec)["sidecar"])["/run/sandbox-secrets/proxy-auth"]["readOnly"]
    assert "proxy-auth" not in json.dumps(
        [item["command"] for item in containers_of(spec).values()]
    )


def test_the_proxys_credentials_are_a_file_of_the_sidecar_that_only_its_root_reads():
    secret = SecretKey(secret="corp", key="login")
    upstream = UpstreamSettings(proxy="http://proxy.corp:3128")
    spec = spec_of(sidecar(proxy_secret=secret, upstream=upstream))
    (volume,) = (item for item in spec["volumes"] if "secret" in item)
    containers = containers_of(spec)
    holders = [
        name
        for name, item in containers.items()
        if volume["name"] in {mount["name"] for mount in item["volumeMounts"]}
    ]

    assert volume["secret"] == {"secretName": "corp", "optional": False, "defaultMode": 0o400}
    assert holders == ["sidecar"]
    command = containers["sidecar"]["command"]
    path = command[command.index("--upstream-proxy-credentials") + 1]
    assert path == "/run/sandbox-secrets/corp/login"


@pytest.mark.parametrize(
    ("secret", "key"), [("Corp", "login"), ("corp", ".."), ("corp", "a/b"), ("", "login")]
)
def test_what_names_no_entry_of_a_secret_is_refused(secret, key):
    with pytest.raises(Refusal) as refused:
        sidecar(proxy_secret=SecretKey(secret=secret, key=key))

    assert refused.value.code.name == "deploy.bad-setting"


def test_the_proxys_credentials_in_the_combined_pod_are_refused_like_any_secret():
    with pytest.raises(Refusal) as refused:
        settings(proxy_secret=SecretKey(secret="corp", key="login"))

    assert refused.value.code.name == "deploy.secret-in-reach"


def test_a_secret_in_the_combined_pod_would_be_the_workloads_and_is_refused():
    with pytest.raises(Refusal) as refused:
        settings(secrets=("proxy-auth",))

    assert refused.value.code.name == "deploy.secret-in-reach"


def test_podman_gets_no_optional_volume_which_makes_it_crash():
    spec = spec_of(sidecar(secrets=("proxy-auth",)))
    sources = [volume.get("secret") or volume.get("configMap") for volume in spec["volumes"]]

    assert [source["optional"] for source in sources if source] == [False, False]


def test_the_workload_can_neither_change_our_program_nor_its_policy_nor_the_shared_sockets():
    agent = mounts(containers_of(spec_of(sidecar()))["agent"])
    combined = mounts(containers_of(spec_of(settings()))["agent"])

    assert agent["/run/sandbox-supervisor"]["readOnly"] is True
    assert agent["/opt/sandbox-supervisor"]["readOnly"] is True
    assert "/run/sandbox-policy" not in agent
    assert combined["/run/sandbox-policy"]["readOnly"] is True
    assert "subPath" not in json.dumps(spec_of(sidecar()))


def test_every_writable_directory_is_a_named_volume_that_volumes_init_prepares():
    every = containers_of(spec_of(settings(writable=("/home/agent",))))
    prepared = mounts(every["volumes-init"])

    assert list(prepared) == ["/sandbox", "/tmp", "/dev/shm", "/home/agent"]
    assert every["volumes-init"]["command"][-5:] == [
        *("--workdir", "/sandbox", "/tmp", "/dev/shm", "/home/agent")
    ]
    writable = [path for path, mount in mounts(every["agent"]).items() if "readOnly" not in mount]
    assert writable == list(prepared)


def test_the_workspace_is_seeded_from_the_image_by_a_restricted_container_of_the_workload():
    spec = spec_of(sidecar(seed=True, secrets=("proxy-auth",)))
    container = containers_of(spec)["seed"]

    assert [item["name"] for item in spec["initContainers"]].index("seed") == 2
    assert complaints(spec, container) == []
    assert container["image"] == "localhost/agent"
    assert container["securityContext"]["runAsUser"] == 4242
    assert container["command"] == [INSIDE, "seed", "/sandbox", "/run/sandbox-workspace"]
    assert list(mounts(container)) == ["/opt/sandbox-supervisor", "/run/sandbox-workspace"]


@pytest.mark.parametrize("native", [False, True])
def test_init_containers_come_in_their_order_and_the_native_sidecar_last(native):
    spec = spec_of(sidecar(native_sidecar=native))
    order = [container["name"] for container in spec["initContainers"]]

    assert order == ["install", "volumes-init", "net-init", *(["sidecar"] if native else [])]
    assert [item["name"] for item in spec["containers"]] == (
        ["agent"] if native else ["agent", "sidecar"]
    )
    restarted = [item["name"] for item in spec["initContainers"] if "restartPolicy" in item]
    assert restarted == (["sidecar"] if native else [])


def test_the_sidecar_is_probed_by_our_own_binary_and_by_no_shell():
    container = containers_of(spec_of(sidecar(native_sidecar=True)))["sidecar"]

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["exec"]["command"][:2] == [INSIDE, "status"]


@pytest.mark.parametrize(
    ("sideload", "launcher", "volume"),
    [
        (Sideload.INIT, INSIDE, "emptyDir"),
        (Sideload.IMAGE_VOLUME, f"/opt/sandbox-supervisor{INSIDE}", "image"),
        (Sideload.BAKED, INSIDE, None),
    ],
)
def test_the_runtime_gets_into_the_container_in_three_ways(sideload, launcher, volume):
    spec = spec_of(settings(sideload=sideload))
    found = [item for item in spec["volumes"] if item["name"] == "demo-runtime"]

    assert containers_of(spec)["agent"]["command"][0] == launcher
    assert [volume in item for item in found] == ([True] if volume else [])
    assert ("install" in containers_of(spec)) == (sideload is Sideload.INIT)


def test_a_new_claim_is_a_document_of_a_pod_and_a_template_of_a_sandbox():
    made = settings(workspace=NewClaim(size="3Gi", storage_class="fast"))
    claim = of_kind(made, "PersistentVolumeClaim")
    (box,) = [item for item in sandbox_documents(made, version="v1beta1") if "spec" in item]

    assert claim["metadata"]["name"] == "demo-workspace"
    assert claim["spec"]["storageClassName"] == "fast"
    (template,) = box["spec"]["volumeClaimTemplates"]
    assert template == {"metadata": {"name": "demo-workspace"}, "spec": claim["spec"]}
    volumes = [item["name"] for item in box["spec"]["podTemplate"]["spec"]["volumes"]]
    assert "demo-workspace" not in volumes


def test_a_sandbox_holds_the_very_same_pod():
    made = sidecar(workspace=ExistingClaim(name="mine"))
    box = sandbox_documents(made, version="v1alpha1")[-1]

    assert (box["apiVersion"], box["kind"]) == ("agents.x-k8s.io/v1alpha1", "Sandbox")
    assert box["spec"]["podTemplate"]["spec"] == spec_of(made)
    assert "volumeClaimTemplates" not in box["spec"]


@pytest.mark.parametrize(
    ("command", "environment", "expected"),
    [
        ("a $HOME $(id) b", (), "a $HOME $(id) b"),
        ("$(FOO)", (), "$(FOO)"),
        ("$(FOO) $BAR", (("FOO", "x"),), "$$(FOO) $$BAR"),
        ("kill $$", (), "kill $$$$"),
        ("$(KUBERNETES_PORT)", (), "$$(KUBERNETES_PORT)"),
    ],
)
def test_a_reference_is_escaped_only_where_kubernetes_would_replace_it(
    command, environment, expected
):
    agent = containers_of(spec_of(settings(command=(command,), environment=environment)))["agent"]

    assert agent["command"][-1] == expected


@pytest.mark.parametrize(
    "wrong",
    [
        *({"name": name} for name in ("", "Demo", "-a", "a_b", "a" * 41, "a.b", "a\n")),
        *({"image": image} for image in ("", "a b", "-a", "a\n", "a;b")),
        *({"command": command} for command in ((), ("",), ("a\0b",), ("\udc80",))),
        *({"writable": (path,)} for path in ("tmp", "/tmp", "/sandbox/a", "/opt", "/a/../b", "/")),
        *({"writable": (path,)} for path in ("/usr/local", "/etc/x", "/a b", "/run", "/a//b")),
        {"writable": ("/a", "/a")},
        *({"environment": ((name, "x"),)} for name in ("", "1A", "A B", "SANDBOX_UID")),
        {"environment": (("OPENSHELL_SANDBOX_UID", "0"),)},
        {"environment": (("A", "x\0"),)},
        *({"resources": Resources(cpu=text)} for text in ("", "two", "-1", "1 ", "1Gb")),
        {"workspace": NewClaim(size="big")},
        {"workspace": ExistingClaim(name="A")},
        {"native_sidecar": True},
        {"runtime_class": "Kata"},
        {"policy": "#" * ((1 << 20) + 1)},
    ],
)
def test_a_setting_that_kubernetes_would_refuse_or_misread_is_refused_first(wrong):
    with pytest.raises(Refusal) as refused:
        settings(**wrong)

    assert refused.value.code.name.split(".")[0] in ("deploy", "workspace")


def test_the_same_settings_always_give_the_same_documents():
    assert json.dumps(pod_documents(sidecar())) == json.dumps(pod_documents(sidecar()))
