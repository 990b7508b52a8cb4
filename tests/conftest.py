"""What all tests stand on."""

from __future__ import annotations

import signal

# A shell that starts a test run in the background has it, and what it starts, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
