"""A change of the master key while everything runs."""

import os
import subprocess

from harness import process, talk
from harness.server import KEY, Server
from test_mcp import mcp
from test_vaults import bearer


def rotate(url, data, *args):
    env = {"PATH": os.environ["PATH"], "TENURE_API_KEY": KEY}
    command = [process.BINARY, "--url", url.removesuffix("/v1"), "--data-dir", data, "keys", "rotate-master", *args]
    return subprocess.run(list(map(str, command)), env=env, capture_output=True, text=True, timeout=120)


def uses(client, orders, vault, mark, token):
    """A session sends the token that was sealed before."""
    tools = [mcp("orders", orders.url, request_metadata={"mark": mark})]
    session = talk.finished(client, f"order ord_1042 {mark}", agent={"tools": tools}, vault_ids=[vault.id])
    [call] = talk.items(client, session.id, "mcp_call")
    sent = {seen.headers.get("authorization") for seen in orders.calls(mark)}
    return call.status == "completed" and sent == {f"Bearer {token}"}


def keep(client, orders, token):
    vault = client.beta.agents.vaults.create()
    client.beta.agents.vaults.credentials.create(vault.id, name="orders", auth=bearer(token, orders.url))
    return vault


def test_master_key_changes_while_a_server_runs(tmp_path, upstream, orders, mark):
    server = Server(tmp_path, upstream.url)
    try:
        key = server.data / "sealing.key"
        before = key.read_bytes()
        vault = keep(server.client, orders, mark)
        assert uses(server.client, orders, vault, f"{mark}a", mark)
        done = rotate(server.url, server.data)
        assert done.returncode == 0, done.stderr
        after = key.read_bytes()
        assert (len(before), len(after)) == (32, 32) and after != before
        assert key.stat().st_mode & 0o777 == 0o600
        assert uses(server.client, orders, vault, f"{mark}b", mark)
        server.restart()
        assert uses(server.client, orders, vault, f"{mark}c", mark)
        # Step by step, and each step twice.
        for stage, keys in (("add", 2), ("use", 2), ("use", 2), ("retire", 1), ("retire", 1)):
            done = rotate(server.url, server.data, "--stage", stage)
            assert done.returncode == 0, done.stderr
            assert len(key.read_bytes()) == 32 * keys, stage
        assert key.read_bytes() not in (before, after)
        assert uses(server.client, orders, vault, f"{mark}d", mark)
        # The file of another server changes nothing.
        elsewhere = tmp_path / "other.key"
        elsewhere.write_bytes(before)
        elsewhere.chmod(0o600)
        done = rotate(server.url, server.data, "--sealing-key", elsewhere)
        assert done.returncode != 0 and elsewhere.read_bytes() == before
    finally:
        server.stop()


def test_a_server_without_its_master_key_does_without_secrets(tmp_path, upstream, orders, mark):
    server = Server(tmp_path, upstream.url)
    try:
        vault = keep(server.client, orders, mark)
        key = server.data / "sealing.key"
        right = key.read_bytes()
        server.kill()
        key.write_bytes(bytes(range(32)))
        server.start()
        # What needs no secret goes on.
        assert talk.said(server.client, talk.finished(server.client, f"say {mark}").id) == [mark]
        assert "sealed secrets stay closed" in server.process.tail(1_000)
        server.kill()
        key.write_bytes(right)
        server.start()
        assert uses(server.client, orders, vault, f"{mark}e", mark)
    finally:
        server.stop()
