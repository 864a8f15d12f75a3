"""Who runs the tests, as the audit log names them."""

from __future__ import annotations

import os
import pwd

ME = pwd.getpwuid(os.getuid()).pw_name

STRANGE = ("FSROUTE_", "PG", "SSH_", "SUDO_")
"""Beginnings of the environment variables that would change what `fsroute` does in a test."""
