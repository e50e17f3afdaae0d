"""Why no manifest was written."""

from supervisor.errors import Code

BAD_SETTING = Code(
    "deploy.bad-setting",
    "A setting of the manifest has a form that Kubernetes or podman would refuse or misread.",
    "Correct the setting that the cause names.",
)
CONFLICT = Code(
    "deploy.conflict",
    "Two settings of the manifest exclude each other.",
    "Leave one of the two out.",
)
SECRET_IN_REACH = Code(
    "deploy.secret-in-reach",
    "In the combined topology a secret would be mounted into the workload's own container.",
    "Use --topology sidecar: secrets then are in the sidecar only.",
)
BAD_POLICY = Code(
    "deploy.bad-policy",
    "The policy has findings: the pod would refuse to start with it.",
    "Mend what the cause lists, then write the manifest again.",
)
