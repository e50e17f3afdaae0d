"""The fence: rules as data, the namespace and pod forms, read-back. Empty of code on purpose."""
