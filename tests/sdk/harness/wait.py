"""The one place that waits."""

import threading
import time

DEADLINE_SECONDS = 15.0
INTERVAL_SECONDS = 0.02


def until(look, what="it", deadline=DEADLINE_SECONDS):
    """Looks until `look` returns something true, and returns that."""
    end = time.monotonic() + deadline
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"waited {deadline} s for {what}"
        threading.Event().wait(INTERVAL_SECONDS)


def event(flag, what="it", deadline=DEADLINE_SECONDS):
    """Waits for a `threading.Event`."""
    assert flag.wait(deadline), f"waited {deadline} s for {what}"
