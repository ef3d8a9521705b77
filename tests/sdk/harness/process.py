"""Processes of the binary: started, asked where they listen, ended by their own handle."""

import json
import os
import queue
import subprocess
import threading

BINARY = os.environ.get("TENURE_BIN", "tenure")
START_SECONDS = 20
STOP_SECONDS = 20


class Process:
    """One child. It announces itself with a line of JSON that holds `listening`."""

    def __init__(self, args, *, log, env=None, cwd=None):
        self.log = log
        clean = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
        with open(log, "ab") as stderr:
            self.child = subprocess.Popen(
                [os.path.abspath(BINARY) if os.sep in BINARY else BINARY, *map(str, args)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env={**clean, **(env or {})},
                cwd=cwd,
            )
        self.hello = self._hello()
        self.url = self.hello["listening"]

    def _hello(self):
        lines = queue.Queue()

        def read():
            for line in self.child.stdout:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=read, daemon=True).start()
        try:
            while (line := lines.get(timeout=START_SECONDS)) is not None:
                if line.lstrip().startswith(b"{") and "listening" in (hello := json.loads(line)):
                    return hello
        except queue.Empty:
            self.kill()
        code = self.child.wait(STOP_SECONDS)
        raise AssertionError(f"did not listen, exit code {code}\n{self.tail()}")

    def tail(self, lines=40):
        with open(self.log, "rb") as log:
            return b"".join(log.readlines()[-lines:]).decode(errors="replace")

    def kill(self):
        """As a power cut would: nothing is flushed, nobody is told."""
        self.child.kill()
        self.child.wait(STOP_SECONDS)

    def stop(self):
        self.child.terminate()
        try:
            return self.child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


def mock(kind, *args, log):
    """One of the services that ship with the binary, on a port of its own."""
    return Process(["mock", kind, *args, "--port", "0"], log=log)
