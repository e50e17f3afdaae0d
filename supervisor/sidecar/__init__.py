"""The control channel between the agent's container and the sidecar of one pod."""
