"""Where things stand in the pod: the same paths in every manifest."""

RUNTIME = "/opt/sandbox-supervisor"
LAUNCHER = f"{RUNTIME}/sandbox-supervisor"
# An image volume brings the whole root of the image, in which the runtime stands at its own place.
# No subPath: podman mounts the whole volume all the same.
LAUNCHER_IN_IMAGE_VOLUME = f"{RUNTIME}{LAUNCHER}"

# Below /run, which the built-in baseline does not open to the workload.
POLICY_DIRECTORY = "/run/sandbox-policy"
POLICY_FILE = "policy.yaml"
POLICY = f"{POLICY_DIRECTORY}/{POLICY_FILE}"
SHARED = "/run/sandbox-supervisor"
SECRETS = "/run/sandbox-secrets"

WORKDIR = "/sandbox"
# Where the seeding container sees the workspace: at WORKDIR it has the image's own.
SEED_INTO = "/run/sandbox-workspace"
TMP = "/tmp"  # noqa: S108 - the workload's own, a volume
SHM = "/dev/shm"  # noqa: S108

OUR_MOUNTS = (RUNTIME, POLICY_DIRECTORY, SHARED, SECRETS, WORKDIR, TMP, SHM)
