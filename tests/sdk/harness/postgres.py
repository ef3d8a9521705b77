"""A PostgreSQL of the tests' own: no port, no rights, gone with the tests. As `crates/testkit/src/postgres.rs`."""

import glob
import os
import subprocess
from urllib.parse import quote

STOP_SECONDS = 20
DEBIAN = "/usr/lib/postgresql"
# PostgreSQL refuses to run as root.
USER = "postgres"
# Serves until standard input ends, and removes everything, however the tests end.
SCRIPT = r"""
trap '' INT TERM
directory=$(mktemp -d /tmp/tenure-postgres.XXXXXX) || exit 1
{
    initdb -D "$directory/data" -U postgres -A trust -E UTF8 --locale=C --no-sync &&
    pg_ctl -D "$directory/data" -w -l "$directory/log" -o "-k $directory -c listen_addresses='' -c fsync=$FSYNC" start
} >"$directory/out" 2>&1
status=$?
if [ $status = 0 ]; then echo "$directory"; read -r _; pg_ctl -D "$directory/data" -w -m immediate stop >/dev/null 2>&1
else cat "$directory/out" "$directory/log" >&2; fi
rm -rf "$directory"
exit $status
"""


class Postgres:
    """A server, and the URL of an empty database in it. What looks whether it loses nothing wants `fsync`."""

    def __init__(self, fsync=False):
        path = os.pathsep.join([*sorted(glob.glob(f"{DEBIAN}/*/bin"), reverse=True), os.environ["PATH"]])
        command = ["sh", "-c", SCRIPT]
        if os.geteuid() == 0:
            command = ["runuser", "-u", USER, "--", *command]
        self.shell = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PATH": path, "FSYNC": "on" if fsync else "off"},
            cwd="/",
            text=True,
        )
        directory = self.shell.stdout.readline().strip()
        assert directory, "PostgreSQL did not start; is the package `postgresql` installed?"
        self.url = f"postgres://postgres@{quote(directory, safe='')}/postgres"

    def stop(self):
        self.shell.stdin.close()
        self.shell.wait(STOP_SECONDS)
