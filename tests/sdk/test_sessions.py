"""Sessions: creation, snapshots, lists, updates, deletion."""

import openai
import pytest

from harness import talk
from harness.server import UPSTREAM_KEY
from harness.shape import raw, refused, valid


def test_session_none_requires_input(client):
    sessions = client.beta.agents.sessions
    for options in ({}, {"stream": True}):
        with refused(400, param="input"):
            sessions.create(agent={"model": "m1"}, environment=talk.NONE, **options)
    for empty in ("", [], [{"role": "user", "content": []}]):
        with refused(400):
            sessions.create(agent={"model": "m1"}, environment=talk.NONE, input=empty)
    # What is wrong with the configuration comes first.
    with refused(400, param="agent.service_tier"):
        sessions.create(agent={"model": "m1", "service_tier": "golden"}, environment=talk.NONE)


def test_session_model_required(client):
    wanted = "agent.model is required when agent_id is omitted"
    for agent in ({}, {"instructions": "x"}):
        with refused(400, param="agent.model", says=wanted):
            client.beta.agents.sessions.create(agent=agent, environment=talk.NONE, input="say x")
    with refused(400, says=wanted):
        client.beta.agents.sessions.create(environment=talk.NONE, input="say x")


def test_session_shape(client, mark):
    opened = valid(talk.create(client, f"say {mark}", agent={"instructions": "Be brief."}))
    agent = opened.pop("agent")
    assert opened.pop("id").startswith("sess_")
    assert isinstance(opened.pop("created_at"), int) and isinstance(opened.pop("last_active_at"), int)
    assert opened == {
        "object": "agent.session",
        "status": "in_progress",
        "error": None,
        "usage": None,
        "required_actions": [],
        "vault_ids": [],
        "metadata": {},
        "environment": {"type": "none"},
    }
    assert agent.pop("id").startswith("agt_")
    assert agent == {
        "name": None,
        "model": "m1",
        "instructions": "Be brief.",
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "auto",
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tools": [],
        "multi_agent": {"enabled": False, "max_concurrent_subagents": None},
        "compaction": {"async": False},
        "experimental": {"time_awareness": False},
    }
    searching = talk.create(client, f"say {mark}", agent={"tools": [{"type": "tool_search"}]})
    assert searching.agent.tools == []


def test_session_override_snapshot(client, upstream, mark):
    agents = client.beta.agents
    agent = agents.create(model="m1", name="saved", instructions=f"saved {mark}", tools=[talk.function()])
    session = client.beta.agents.sessions.create(
        agent_id=agent.id,
        agent={"instructions": f"mine {mark}", "tools": None},
        environment=talk.NONE,
        input=f"say {mark}",
    )
    assert (session.agent.id, session.agent.name) == (agent.id, "saved")
    assert (session.agent.instructions, session.agent.tools) == (f"mine {mark}", [])
    agents.update(agent.id, name="changed", instructions="changed", model="m2")
    talk.ended(client, session.id)
    talk.turn(client, session.id, f"say more {mark}")
    later = client.beta.agents.sessions.retrieve(session.id)
    assert (later.agent.name, later.agent.instructions, later.agent.model) == ("saved", f"mine {mark}", "m1")
    for call in upstream.calls(mark):
        assert (call.json["model"], call.json["instructions"]) == ("m1", f"mine {mark}")
        assert call.headers["authorization"] == f"Bearer {UPSTREAM_KEY}"


def test_session_list_filters(client, mark):
    sessions = client.beta.agents.sessions
    agent = client.beta.agents.create(model="m1")
    saved = sessions.create(
        agent_id=agent.id, environment=talk.NONE, input=f"say {mark}", metadata={"mark": mark, "n": "1"}
    )
    inline = talk.create(client, f"say {mark}", metadata={"mark": mark, "n": "2"})
    ids = lambda **options: [session.id for session in sessions.list(**options)]
    assert ids(agent_id=agent.id) == [saved.id]
    # An agent defined by one session is found by its id too.
    assert ids(agent_id=inline.agent.id) == [inline.id]
    assert ids(metadata={"mark": mark}) == [inline.id, saved.id]
    assert ids(metadata={"mark": mark}, order="asc", limit=1) == [saved.id, inline.id]
    assert ids(metadata={"mark": mark, "n": "2"}) == [inline.id]
    assert ids(metadata={"mark": mark[:-1]}) == []
    assert ids(agent_id=agent.id, metadata={"n": "2"}) == []
    assert ids(agent_id="agt_missing") == []
    assert ids(metadata={"mark": mark}, after=inline.id) == [saved.id]
    assert inline.id in ids(limit=100)


def test_session_update_metadata(client, mark):
    sessions = client.beta.agents.sessions
    session = talk.finished(client, f"say {mark}", metadata={"a": "1", "b": "2"})
    assert valid(sessions.update(session.id, metadata={"b": mark}))["metadata"] == {"b": mark}
    assert [found.id for found in sessions.list(metadata={"b": mark})] == [session.id]
    assert sessions.update(session.id, review="none").metadata == {"b": mark}
    assert sessions.update(session.id, metadata=None).metadata == {}
    assert list(sessions.list(metadata={"b": mark})) == []


def test_session_update_empty_400(client, mark):
    session = talk.finished(client, f"say {mark}")
    with refused(400):
        client.beta.agents.sessions.update(session.id)
    assert raw(client, "POST", f"/agents/sessions/{session.id}").status_code == 400
    with refused(400, param="environment", says="Unknown parameter: 'environment'."):
        client.beta.agents.sessions.update(session.id, extra_body={"environment": talk.NONE})


def test_session_update_model(client, upstream, mark):
    session = talk.finished(client, f"say {mark}", agent={"reasoning": {"effort": "low"}})
    update = {"model": "m2", "reasoning": {"effort": "high"}, "service_tier": "priority"}
    changed = client.beta.agents.sessions.update(session.id, agent=update)
    assert (changed.agent.model, changed.agent.reasoning.effort) == ("m2", "high")
    assert changed.agent.service_tier == "priority"
    talk.turn(client, session.id, f"say more {mark}")
    before, after = [call.json for call in upstream.calls(mark)]
    assert (before["model"], before["reasoning"]["effort"], before.get("service_tier")) == ("m1", "low", None)
    assert (after["model"], after["reasoning"]["effort"], after["service_tier"]) == ("m2", "high", "priority")


def test_session_update_tools(client, upstream, mark):
    sessions = client.beta.agents.sessions
    session = talk.finished(client, f"say {mark}")
    sessions.update(session.id, agent={"tools": [talk.function()]})
    talk.turn(client, session.id, f"say two {mark}")
    sessions.update(session.id, agent={"tools": None})
    talk.turn(client, session.id, f"say three {mark}")
    offered = [[tool["name"] for tool in call.json.get("tools", [])] for call in upstream.calls(mark)]
    assert offered == [[], ["get_weather"], []]


def test_max_output_tokens(client, mark):
    session = talk.finished(client, f"truncate {mark}")
    [turn] = talk.ended(client, session.id)
    assert (turn.status, turn.error.code) == ("failed", "max_output_tokens")
    # The session is as usable as after any other turn, and knows what was said.
    talk.turn(client, session.id, f"say on {mark}")
    assert talk.said(client, session.id)[-1] == f"on {mark}"


def test_session_delete(client, mark):
    sessions = client.beta.agents.sessions
    session = talk.finished(client, f"say {mark}", metadata={"mark": mark})
    with talk.subscribed(client, session.id) as events:
        gone = {"id": session.id, "object": "agent.session.deleted", "deleted": True}
        assert sessions.delete(session.id).to_dict() == gone
        # A stream that was open ends cleanly and without an event.
        assert list(events) == []
    for look in (
        lambda: sessions.retrieve(session.id),
        lambda: sessions.items.list(session.id),
        lambda: talk.send(client, session.id, talk.message("say x")),
    ):
        with refused(404, kind="not_found_error"):
            look()
    assert list(sessions.list(metadata={"mark": mark})) == []
    assert sessions.delete(session.id).to_dict() == gone


def test_session_delete_busy(client, upstream, mark):
    sessions = client.beta.agents.sessions
    with upstream.hold(mark) as gate:
        session = talk.create(client, f"say {mark}")
        gate.wait_arrival()
        with pytest.raises(openai.ConflictError) as running:
            sessions.delete(session.id)
        assert running.value.response.headers["x-should-retry"] == "false"
        assert running.value.response.json()["error"]["type"] == "conflict_error"
    talk.settled(client, session.id)
    assert sessions.delete(session.id).deleted
    waits = talk.create(client, f"weather in Paris {mark}", agent={"tools": [talk.function()]})
    talk.waiting(client, waits.id)
    with refused(409):
        sessions.delete(waits.id)
    talk.send(client, waits.id, talk.CANCEL)
    talk.settled(client, waits.id)
    assert sessions.delete(waits.id).deleted


def test_spend_control_shape(client, mark):
    sessions = client.beta.agents.sessions
    plain = talk.finished(client, f"say {mark}")
    assert "spend_control" not in valid(plain)
    session = talk.finished(client, f"say {mark}", "priced", spend_control={"limit": 500})
    assert valid(session)["spend_control"]["limit"] == 500
    # What an unpriced model costs is not known, so no limit would hold it.
    unpriced = sessions.create(
        environment={"type": "none"}, agent={"model": "m1"}, input=f"say {mark}", spend_control={"limit": 500}
    )
    talk.settled(client, unpriced.id)
    turn = next(iter(sessions.turns.list(unpriced.id)))
    assert (turn.status, turn.error.code) == ("failed", "price_unknown") and "`m1`" in turn.error.message
    assert sessions.update(session.id, spend_control={"limit": 700}).spend_control.limit == 700
    assert sessions.update(session.id, metadata={"a": "b"}).spend_control.limit == 700
    assert "spend_control" not in valid(sessions.update(session.id, spend_control=None))
    sessions.update(session.id, spend_control={"limit": 1})
    assert "spend_control" not in valid(sessions.update(session.id, spend_control={"limit": None}))
    for wrong in (0, -1, 1.5, "10"):
        with refused(400):
            sessions.update(session.id, spend_control={"limit": wrong})


def test_spend_control_exhausted(client, mark):
    sessions = client.beta.agents.sessions
    session = talk.finished(client, f"count {mark}", "priced", spend_control={"limit": 100})
    # One answer costs 1.8 cents; what is shown is rounded down.
    assert valid(session)["spend_control"] == {"limit": 100, "consumed": 1}
    sessions.update(session.id, spend_control={"limit": 3})
    turns = talk.ended(client, session.id)
    while turns[-1].status == "completed" and len(turns) < 5:
        talk.turn(client, session.id, f"count again {mark}")
        turns = talk.ended(client, session.id, len(turns) + 1)
    assert (turns[-1].status, turns[-1].error.code) == ("failed", "session_budget_exceeded")
    assert len(turns) <= 3
    assert talk.said(client, session.id)[0] == "Counted."
    with talk.subscribed(client, session.id) as events:
        talk.send(client, session.id, talk.message(f"count once more {mark}"))
        failed = talk.until(events, "idle")
    assert talk.only(failed, "turn.failed").turn.error.code == "session_budget_exceeded"
    sessions.update(session.id, spend_control=None)
    talk.turn(client, session.id, f"count freely {mark}")
    assert talk.ended(client, session.id)[-1].status == "completed"


def test_prompt_cache_shape(client, upstream, mark):
    sessions = client.beta.agents.sessions
    session = talk.finished(client, f"say {mark}")
    assert "prompt_cache_options" not in valid(session)
    assert valid(talk.ended(client, session.id)[0])["prompt_cache_options"] is None
    assert sessions.update(session.id, prompt_cache_options={"ttl": "12h"}).prompt_cache_options.ttl == "12h"
    talk.turn(client, session.id, f"say more {mark}")
    assert talk.ended(client, session.id)[1].prompt_cache_options.ttl == "12h"
    assert upstream.calls(mark)[1].json["prompt_cache_options"] == {"ttl": "12h"}
    assert "prompt_cache_options" not in valid(sessions.update(session.id, prompt_cache_options=None))
    opened = talk.create(client, f"say {mark}", prompt_cache_options={"ttl": "30m"})
    assert opened.prompt_cache_options.ttl == "30m"
    with refused(400, param="prompt_cache_options.ttl"):
        sessions.update(session.id, prompt_cache_options={"ttl": "1h"})


def test_review_shape(client, mark):
    sessions = client.beta.agents.sessions
    session = talk.finished(client, f"say {mark}")
    assert "review" not in valid(session)
    assert valid(sessions.update(session.id, review="auto_review"))["review"] == "auto_review"
    assert sessions.update(session.id, metadata={"a": "b"}).review == "auto_review"
    assert sessions.update(session.id, review="none").review in (None, "none")
    assert talk.create(client, f"say {mark}", review="auto_review").review == "auto_review"
    with refused(400, param="review"):
        sessions.update(session.id, review="some")


def test_artifacts_empty(client, mark):
    session = talk.finished(client, f"say {mark}")
    artifacts = client.beta.agents.sessions.artifacts
    assert list(artifacts.list(session.id)) == []
    with refused(404):
        artifacts.retrieve("artifact_missing", session_id=session.id)


def test_computer_use_refused_or_run(client, mark):
    agent = client.beta.agents.create(model="m1", tools=[{"type": "computer_use"}])
    with refused(400, param="agent.tools[0]", says="computer_use"):
        client.beta.agents.sessions.create(agent_id=agent.id, environment=talk.NONE, input=f"say {mark}")
    with refused(400, param="agent.tools[1]"):
        talk.create(client, f"say {mark}", agent={"tools": [talk.function(), {"type": "computer_use"}]})


def test_web_search_disabled_ok(client, mark):
    off = {"type": "web_search", "mode": "disabled"}
    session = talk.finished(client, f"say {mark}", agent={"tools": [off]})
    assert session.agent.tools[0].mode == "disabled"
    assert talk.said(client, session.id) == [mark]
    with refused(400, param="agent.tools[0]", says="web_search"):
        talk.create(client, f"say {mark}", agent={"tools": [{"type": "web_search"}]})
