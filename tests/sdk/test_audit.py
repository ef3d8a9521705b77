"""The audit log: who allowed what, and that nobody can change it unnoticed."""

import json
import sqlite3
import subprocess

import pytest

from harness import talk
from harness.process import BINARY
from harness.server import KEY


def audit(server, *args, check=True):
    """`tenure audit` against the server; gives what it printed."""
    url = server.url.removesuffix("/v1")
    command = [BINARY, "--url", url, "audit", *args]
    run = subprocess.run(command, env={"TENURE_API_KEY": KEY, "PATH": ""}, capture_output=True, text=True, timeout=60)
    assert not check or run.returncode == 0, run.stderr
    return run


def records(server):
    listed = json.loads(audit(server, "list", "-o", "json").stdout)
    return [entry["record"] for entry in listed]


def test_audit_tells_who_allowed_what(own_server):
    session = talk.finished(own_server.client, "say audit")
    found = [record for record in records(own_server) if record["session"] == session.id]
    kinds = [record["fact"]["type"] for record in found]
    assert kinds == ["session_opened", "allowed", "attempt_started", "attempt_ended"]
    allowed = found[1]["fact"]
    assert (allowed["action"], allowed["resource"]) == ("model.call", "m1")
    assert allowed["policies"] == ["default.model-call"] and allowed["policy_set"].startswith("b3:")
    assert found[3]["fact"]["outcome"] == "done"
    assert "say audit" not in json.dumps(found), "no content"


def test_audit_stands_alone(own_server, tmp_path):
    """Exported, checked without the server; a changed byte is found; one record is proven by itself."""
    talk.finished(own_server.client, "say audit")
    key = audit(own_server, "key").stdout.strip()
    kept = tmp_path / "kept"
    kept.write_text(audit(own_server, "checkpoint").stdout)
    audit(own_server, "prove", "1", "--out", tmp_path)
    for turn in range(3):
        talk.finished(own_server.client, f"say audit {turn}")
    export = tmp_path / "log"
    audit(own_server, "export", export)
    own_server.stop()

    sound = audit(own_server, "verify", export, "--key", key, "--known", kept)
    assert sound.stdout.startswith("sound: 16 records"), sound.stdout
    shown = audit(own_server, "check", tmp_path / "record-1.json", tmp_path / "record-1.tlog-proof", "--key", key)
    assert shown.stdout.startswith("record 1 is in the log"), shown.stdout

    bundle = export / "tile" / "entries" / "000.p" / "16"
    content = bundle.read_bytes()
    bundle.write_bytes(content.replace(b"default.model-call", b"default.model-fall", 1))
    changed = audit(own_server, "verify", export, "--key", key, check=False)
    assert changed.returncode == 1 and "record 1 was changed" in changed.stderr, changed.stderr
    forged = tmp_path / "record-1.json"
    forged.write_text(forged.read_text().replace("default.model-call", "default.model-fall"))
    refused = audit(own_server, "check", forged, tmp_path / "record-1.tlog-proof", "--key", key, check=False)
    assert refused.returncode == 1 and "does not show" in refused.stderr, refused.stderr


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_records SET record = replace(record, 'model.call', 'model.fall') WHERE number = 1",
        "DELETE FROM audit_records WHERE number = 2",
        "UPDATE audit_checkpoints SET checkpoint = replace(checkpoint, 'tenure/', 'tenure-')",
        "DELETE FROM audit_checkpoints",
        "UPDATE audit_tiles SET hashes = zeroblob(length(hashes))",
    ],
)
def test_audit_finds_a_changed_database(own_server, tmp_path, change):
    """Who can write the database, and has no key, is found out by the next export or the next record."""
    talk.finished(own_server.client, "say audit")
    assert len(records(own_server)) == 4
    own_server.kill()
    database = sqlite3.connect(own_server.data / "tenure.db")
    with database:
        assert database.execute(change).rowcount > 0
    database.close()
    own_server.start()
    # The sessions are not held up by it.
    talk.finished(own_server.client, "say on")
    export = audit(own_server, "export", tmp_path / "log", check=False)
    assert export.returncode == 1, export.stdout


def test_audit_survives_kills(own_server, tmp_path):
    """What was answered is in the log, whenever the server died."""
    sessions = set()
    for turn in range(4):
        sessions.add(talk.finished(own_server.client, f"say audit {turn}").id)
        own_server.restart()
    found = records(own_server)
    assert {record["session"] for record in found} == sessions
    versions = [(record["session"], record["version"]) for record in found]
    assert len(versions) == len(set(versions)) == 16, "each once"
    key = audit(own_server, "key").stdout.strip()
    audit(own_server, "export", tmp_path / "log")
    audit(own_server, "verify", tmp_path / "log", "--key", key)


def test_audit_needs_the_right_key(server):
    client = server.new_client(api_key=KEY)
    made = client.post("/tenure/keys", cast_to=object, body={"name": "reader", "scopes": ["read"]})
    reader = server.new_client(api_key=made["key"])
    for path in ("/tenure/audit", "/tenure/audit/records", "/tenure/audit/records/0/evidence"):
        with pytest.raises(Exception) as refused:
            reader.get(path, cast_to=object)
        assert refused.value.status_code == 403
    for path in ("/tenure/audit/records?from=x", "/tenure/audit/records?limit=1001"):
        with pytest.raises(Exception) as refused:
            client.get(path, cast_to=object)
        assert refused.value.status_code == 400
    with pytest.raises(Exception) as refused:
        client.get("/tenure/audit/records/999999/evidence", cast_to=object)
    assert refused.value.status_code == 404
