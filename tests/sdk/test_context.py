"""A session that outgrows its model's window goes on, and remembers."""

import json

import pytest

from harness import talk
from harness.process import mock
from harness.server import Server

WINDOW = 8192
SCRIPT = {
    # By its own count it refuses what is longer.
    "context_tokens": WINDOW,
    "rules": [
        {
            "name": "summary",
            "when": {"instructions": "^You keep the memory", "user": r"ord_(?P<number>\d+)"},
            "reply": [{"text": "The user asked to remember ord_{{ number }}."}],
        },
        {
            "name": "recall",
            "when": {"user": "^which order", "any_user": r"ord_(?P<number>\d+)"},
            "reply": [{"text": "ord_{{ number }}"}],
        },
        {"name": "else", "reply": [{"text": "Noted."}]},
    ],
}
TURNS = 60


@pytest.fixture
def small(tmp_path):
    """A server whose model has a small window, and says so."""
    script = tmp_path / "script.yaml"
    script.write_text(json.dumps(SCRIPT))
    model = mock("openai", "--script", script, log=tmp_path / "model.log")
    (tmp_path / "project").mkdir()
    provider = {"type": "openai", "base_url": model.url, "api_key": "${OPENAI_API_KEY}"}
    settings = {
        "providers": {"only": provider},
        "models": {"m1": {"provider": "only", "model": "m1", "context_tokens": WINDOW}},
        "default_model": "m1",
    }
    (tmp_path / "project" / "tenure.yaml").write_text(json.dumps(settings))
    server = Server(tmp_path, model.url, configured=False)
    yield server
    server.stop()
    model.kill()


def context(client, session_id, **query):
    return client.get(f"/tenure/sessions/{session_id}/context", cast_to=object, options={"params": query})


@pytest.mark.parametrize("ahead", [False, True])
def test_a_long_session_keeps_answering_and_remembers(small, ahead):
    client = small.client
    session = talk.finished(client, "Please remember order ord_4711.", agent={"compaction": {"async": ahead}})
    for number in range(TURNS):
        talk.turn(client, session.id, f"{number}: " + "and then some more of it happened, " * 40)
    turns = talk.ended(client, session.id, TURNS + 1)
    assert {turn.status for turn in turns} == {"completed"}
    talk.turn(client, session.id, "which order was it?")
    assert talk.said(client, session.id)[-1] == "ord_4711"
    # Nothing of it is seen by clients, and nothing is gone.
    assert len(talk.items(client, session.id)) == 2 * (TURNS + 2)

    shown = context(client, session.id)
    sections = {section["section"]: section for section in shown["sections"]}
    assert "ord_4711" in json.dumps(sections["past"]["entries"])
    assert {entry["why"] for entry in sections["past"]["entries"]} == {"compacted"}
    assert shown["window"] == {"tokens": WINDOW, "reserved": WINDOW // 4}
    assert shown["tokens"]["expected"] <= WINDOW - WINDOW // 4
    assert shown["step"] == shown["steps"] == TURNS + 2
    first = context(client, session.id, step=1)
    assert "past" not in [section["section"] for section in first["sections"]]
    assert first["tokens"]["measured"] > 0
