"""The entrypoint of containers that run code nobody trusts.

Kept empty of code on purpose: whatever stands here is paid by every process we start.
"""
