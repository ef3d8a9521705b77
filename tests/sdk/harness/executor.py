"""`tenure exec-server`, or the official executor, on a directory of a test's own."""

import os
import subprocess

from .process import BINARY, STOP_SECONDS


class Executor:
    """One child that serves an environment until it is stopped."""

    def __init__(self, environment, directory, key, *, args=(), env=None, log=None, command=None):
        command = command or [os.path.abspath(BINARY) if os.sep in BINARY else BINARY, "exec-server"]
        self.log = log or directory.parent / f"{directory.name}.log"
        clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
        keys = {"TENURE_EXECUTOR_KEY": key} if key else {}
        with open(self.log, "ab") as stderr:
            self.child = subprocess.Popen(
                [*command, "--remote", environment.remote_url, "--environment-id", environment.id, *args],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env={**clean, **keys, **(env or {})},
                cwd=directory,
            )

    def tail(self, lines=40):
        with open(self.log, "rb") as log:
            return b"".join(log.readlines()[-lines:]).decode(errors="replace")

    def ended(self):
        """Its exit code, once it has ended by itself."""
        return self.child.wait(STOP_SECONDS)

    def kill(self):
        self.child.kill()
        self.child.wait(STOP_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
