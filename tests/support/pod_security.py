"""Pod Security "restricted" for one container, as a pure function.

https://kubernetes.io/docs/concepts/security/pod-security-standards/ (baseline and restricted).
Written from the standard and from nothing of ours, so that it can judge what we write.
"""

RESTRICTED_VOLUMES = frozenset(
    "configMap csi downwardAPI emptyDir ephemeral image persistentVolumeClaim projected secret".split()
)
HOST_FIELDS = ("hostNetwork", "hostPID", "hostIPC")
SAFE_SELINUX = frozenset(("", "container_t", "container_init_t", "container_kvm_t"))


def complaints(pod_spec: dict, container: dict) -> list[str]:
    """Why the container of this pod is not "restricted"; empty: it is."""
    pod = pod_spec.get("securityContext", {})
    own = container.get("securityContext", {})

    def effective(field):
        return own.get(field, pod.get(field))

    capabilities = own.get("capabilities", {})
    seccomp = (effective("seccompProfile") or {}).get("type")
    apparmor = (effective("appArmorProfile") or {}).get("type", "RuntimeDefault")
    selinux = effective("seLinuxOptions") or {}
    mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
    volumes = [volume for volume in pod_spec.get("volumes", []) if volume["name"] in mounted]
    kinds = {kind for volume in volumes for kind in volume if kind != "name"}
    checks = {
        "privileged": not own.get("privileged", False),
        "host namespaces": not any(pod_spec.get(field) for field in HOST_FIELDS),
        "host ports": not any(port.get("hostPort") for port in container.get("ports", [])),
        "procMount": own.get("procMount", "Default") == "Default",
        "sysctls": not pod.get("sysctls"),
        "volume kinds": kinds <= RESTRICTED_VOLUMES,
        "escalation": own.get("allowPrivilegeEscalation") is False,
        "non-root": effective("runAsNonRoot") is True,
        "uid 0": effective("runAsUser") != 0,
        "seccomp": seccomp in ("RuntimeDefault", "Localhost"),
        "AppArmor": apparmor in ("RuntimeDefault", "Localhost"),
        "SELinux": selinux.get("type", "") in SAFE_SELINUX
        and not selinux.keys() & {"user", "role"},
        "drop ALL": "ALL" in capabilities.get("drop", []),
        "added capabilities": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
        "host process": not (own.get("windowsOptions") or {}).get("hostProcess", False),
    }
    return [name for name, holds in checks.items() if not holds]
