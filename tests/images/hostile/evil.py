"""Stands under every name that an interpreter might import from the image."""

import os

os.write(2, b"EVIL module " + __name__.encode() + b" " + __file__.encode() + b"\n")
