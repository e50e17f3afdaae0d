"""What the init containers of a pod do: copy the runtime into a volume, prepare volumes."""
