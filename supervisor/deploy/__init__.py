"""Pod manifests from settings: pure data, no cluster is asked."""
