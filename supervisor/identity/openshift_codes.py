"""Reason codes of a Kubernetes namespace's annotations."""

from supervisor.errors import Code

BAD_ANNOTATIONS = Code(
    "identity.bad-annotations",
    "The text is neither a namespace as JSON nor a JSON object of annotations.",
    "Give what 'kubectl get namespace NAME -o json' prints, for one namespace.",
)
BAD_RANGE = Code(
    "identity.bad-range",
    "An annotation of the namespace is not a list of id ranges, so that no id can be chosen from it.",
    "Write START/SIZE or START-END, several separated by commas (1000650000/10000), or remove the "
    "annotation; nothing is guessed in its place.",
)
OUTSIDE_RANGE = Code(
    "identity.outside-range",
    "The id lies outside of the range that the namespace prescribes: admission would refuse the pod.",
    "Choose an id of the range; where the pod's security context constraints do not look at the "
    "range (RunAsAny), leave the namespace's annotations out.",
)
