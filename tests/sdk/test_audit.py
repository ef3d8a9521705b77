"""The audit log: who allowed what, and that nobody can change it unnoticed."""

import json
import re
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


def listed(server):
    """Every record, with its number."""
    return json.loads(audit(server, "list", "-o", "json").stdout)


def records(server):
    """What sessions tell of themselves; requests are recorded beside it."""
    return [entry["record"] for entry in listed(server) if "session" in entry["record"]]


def model_call(server):
    """The number of the first model call."""
    return next(entry["index"] for entry in listed(server) if entry["record"]["fact"].get("action") == "model.call")


def test_audit_tells_who_allowed_what(own_server):
    session = talk.finished(own_server.client, "say audit")
    found = [record for record in records(own_server) if record["session"] == session.id]
    kinds = [record["fact"]["type"] for record in found]
    assert kinds == ["session_opened", "allowed", "attempt_started", "attempt_ended"]
    allowed = found[1]["fact"]
    assert (allowed["action"], allowed["resource"]) == ("model.call", "m1")
    assert allowed["policies"] == ["default.behalf", "default.model-call"] and allowed["policy_set"].startswith("b3:")
    assert found[3]["fact"]["outcome"] == "done"
    assert "say audit" not in json.dumps(found), "no content"


def test_audit_stands_alone(own_server, tmp_path):
    """Exported, checked without the server; a changed byte is found; one record is proven by itself."""
    talk.finished(own_server.client, "say audit")
    key = audit(own_server, "key").stdout.strip()
    kept = tmp_path / "kept"
    kept.write_text(audit(own_server, "checkpoint").stdout)
    number = model_call(own_server)
    audit(own_server, "prove", str(number), "--out", tmp_path)
    for turn in range(3):
        talk.finished(own_server.client, f"say audit {turn}")
    export = tmp_path / "log"
    audit(own_server, "export", export)
    own_server.stop()

    sound = audit(own_server, "verify", export, "--key", key, "--known", kept)
    size = int(re.match(r"sound: (\d+) records", sound.stdout).group(1))
    assert size >= 16, sound.stdout
    record, proof = tmp_path / f"record-{number}.json", tmp_path / f"record-{number}.tlog-proof"
    shown = audit(own_server, "check", record, proof, "--key", key)
    assert shown.stdout.startswith(f"record {number} is in the log"), shown.stdout

    bundle = export / "tile" / "entries" / "000.p" / str(size)
    content = bundle.read_bytes()
    bundle.write_bytes(content.replace(b"default.model-call", b"default.model-fall", 1))
    changed = audit(own_server, "verify", export, "--key", key, check=False)
    assert changed.returncode == 1 and f"record {number} was changed" in changed.stderr, changed.stderr
    forged = record
    forged.write_text(forged.read_text().replace("default.model-call", "default.model-fall"))
    refused = audit(own_server, "check", forged, proof, "--key", key, check=False)
    assert refused.returncode == 1 and "does not show" in refused.stderr, refused.stderr


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_records SET record = replace(record, 'model.call', 'model.fall') WHERE number = {number}",
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
    change = change.format(number=model_call(own_server))
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


def test_audit_answers_a_question(own_server, tmp_path):
    """Every record that fits, with proofs, in one file that is checked without the server."""
    session = talk.finished(own_server.client, "say audit")
    beta = {"headers": {"OpenAI-Beta": "agents=v1"}}
    own_server.client.get(f"/agents/sessions/{session.id}/items", cast_to=object, options=beta)
    key = audit(own_server, "key").stdout.strip()
    asked = ["prove", "--question", "Which models were called?", "--action", "model.call", "--out", tmp_path]
    assert audit(own_server, *asked).stdout.startswith("3 of "), "the call, and the attempt at it"
    ocsf = [json.loads(line) for line in audit(own_server, "export", "-", "--format", "ocsf").stdout.splitlines()]
    assert {event["class_uid"] for event in ocsf} == {6003}
    operations = {event["api"]["operation"] for event in ocsf}
    assert {"policy.publish", "POST /agents/sessions", "GET /agents/sessions/{session}/items", "model.call"} <= operations, operations
    witness = tmp_path / "witness"
    first = audit(own_server, "witness", witness, "--key", key).stdout
    talk.finished(own_server.client, "say audit more")
    again = audit(own_server, "witness", witness, "--key", key).stdout
    assert "for the first time" in first and " after " in again
    audit(own_server, "export", tmp_path / "log")
    own_server.stop()

    answer = tmp_path / "answer.txt"
    assert audit(own_server, "check", answer, "--key", key).stdout.startswith("3 records are in the log")
    for kept in sorted(witness.glob("*.checkpoint")):
        audit(own_server, "verify", tmp_path / "log", "--key", key, "--known", kept)
    answer.write_text(answer.read_text().replace('"m1"', '"m2"'))
    refused = audit(own_server, "check", answer, "--key", key, check=False)
    assert refused.returncode == 1 and "is not in the log" in refused.stderr, refused.stderr


def test_a_witness_signs_no_second_past(own_server, tmp_path):
    """A log that was cut back and went on otherwise is not the one that was signed."""
    talk.finished(own_server.client, "say audit")
    key = audit(own_server, "key").stdout.strip()
    own_server.stop()
    database = sqlite3.connect(own_server.data / "tenure.db")
    early = tmp_path / "early.db"
    with sqlite3.connect(early) as copy:
        database.backup(copy)
    database.close()
    own_server.start()
    talk.finished(own_server.client, "say one thing")
    audit(own_server, "witness", tmp_path / "witness", "--key", key)
    own_server.stop()
    for left in own_server.data.glob("tenure.db*"):
        left.unlink()
    (own_server.data / "tenure.db").write_bytes(early.read_bytes())
    own_server.start()
    for turn in range(3):
        talk.finished(own_server.client, f"say another thing {turn}")
    forked = audit(own_server, "witness", tmp_path / "witness", "--key", key, check=False)
    assert forked.returncode == 1 and "log_forked" in forked.stderr, forked.stderr


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
