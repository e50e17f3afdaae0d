"""What both halves of a pod compare before they trust each other's words."""

# The release that this tree is; a test compares it with pyproject.toml.
RELEASE = "0.1.0"
# Raised with every change of supervisor.sidecar.frames.
PROTOCOL = 1
