"""Automations: schedules that open sessions or wake one."""

import time

from openai.types.beta.agents import Automation
from openai.types.beta.agents.automations import AutomationInvocation

from harness import talk, wait
from harness.shape import raw, refused, valid_as


def shaped(value, kind=Automation):
    """A response against the SDK's own type, as JSON."""
    return valid_as(kind, value.to_dict(mode="json", exclude_unset=True, use_api_names=True))


def message(text):
    return {"role": "user", "content": [{"type": "input_text", "text": text}]}


def new_session(text, **changes):
    target = {"type": "new_session", "agent": {"model": "m1"}, "environment": talk.NONE, "input": [message(text)]}
    return {**target, **changes}


def existing(session, text):
    return {"type": "existing_session", "session_id": session.id, "instructions": text}


def periodic(client, target, **changes):
    fields = {"type": "periodic", "name": "daily", "expression": "30 9 * * MON-FRI", "timezone": "Europe/Berlin"}
    return client.beta.agents.automations.create(**{**fields, "target": target, **changes})


def delivered(client, automation, invocation_id=None):
    """An invocation of the automation once it is no longer queued."""
    invocations = client.beta.agents.automations.invocations

    def look():
        found = list(invocations.list(automation.id))
        found = [one for one in found if invocation_id in (None, one.id)]
        return next((one for one in found if one.status != "queued"), None)

    return wait.until(look, "a delivery")


def test_automation_crud(client, mark):
    automations = client.beta.agents.automations
    made = periodic(client, new_session(f"say {mark}", metadata={"mark": mark}), metadata={"a": "1"})
    shown = shaped(made)
    assert shown["id"] == made.id and shown["object"] == "agent.automation" and shown["type"] == "periodic"
    assert shown["created_by"] == {"type": "developer"} and shown["pause_reason"] is None
    assert shown["status"] == "active" and shown["metadata"] == {"a": "1"}
    assert shown["target"]["agent_id"] is None and "id" not in shown["target"]["agent"]
    assert shown["target"]["input"] == [{**message(f"say {mark}"), "type": "message"}]
    assert shaped(automations.retrieve(made.id)) == shown

    changed = automations.update(made.id, name="hourly", expression="0 * * * *", metadata={"b": "2"})
    assert (changed.name, changed.expression, changed.timezone) == ("hourly", "0 * * * *", "Europe/Berlin")
    assert changed.metadata == {"b": "2"} and changed.target == made.target
    agent = client.beta.agents.create(model="m1", name=mark)
    target = new_session("say other", agent_id=agent.id)
    del target["agent"]
    replaced = automations.update(made.id, target=target)
    assert (replaced.target.agent_id, replaced.target.agent, replaced.target.metadata) == (agent.id, None, {})

    session = talk.finished(client, f"say {mark}")
    other = automations.create(type="once", name="o", run_at=32503680000, target=existing(session, "say x"))
    assert shaped(other)["run_at"] == 32503680000
    assert [one.id for one in automations.list(session_id=session.id)] == [other.id]
    ours = [one.id for one in automations.list(order="asc", limit=1) if one.id in (made.id, other.id)]
    assert ours == [made.id, other.id]
    deleted = automations.delete(made.id)
    assert (deleted.id, deleted.object, deleted.deleted) == (made.id, "agent.automation.deleted", True)
    with refused(404, kind="not_found_error"):
        automations.retrieve(made.id)
    automations.delete(other.id)
    assert client.beta.agents.sessions.retrieve(session.id).status == "idle"


def test_automation_pause_resume(client, mark):
    automations = client.beta.agents.automations
    made = periodic(client, new_session(f"say {mark}"))
    assert automations.pause(made.id).status == "paused"
    assert automations.pause(made.id).status == "paused"
    assert shaped(automations.resume(made.id)) == shaped(made)
    # The SDK declares JSON and sends nothing.
    answer = raw(client, "POST", f"/agents/automations/{made.id}/pause", b"")
    assert (answer.status_code, answer.json()["status"]) == (200, "paused")
    once = automations.create(type="once", name="o", run_at=int(time.time()) + 3, target=new_session(f"say {mark}"))
    automations.pause(once.id)
    wait.until(lambda: time.time() > once.run_at, "its time to pass")
    with refused(400, param="run_at"):
        automations.resume(once.id)
    automations.update(once.id, run_at=int(time.time()) + 1000)
    assert automations.resume(once.id).status == "active"
    assert not list(automations.invocations.list(once.id))
    automations.delete(once.id)
    automations.delete(made.id)


def test_automation_bad_cron(client, mark):
    target = new_session(f"say {mark}")
    for expression, says in [
        ("61 * * * *", "at character 1 (minute): `61` is not within 0 to 59"),
        ("0 9 * *", "expected five fields"),
        ("0 0 30 2 *", "no date ever matches"),
        ("@hourly", "nicknames are not supported"),
    ]:
        with refused(400, param="expression", code="invalid_cron", says=says):
            periodic(client, target, expression=expression)
    with refused(400, param="timezone", code="invalid_timezone"):
        periodic(client, target, timezone="Mars/Olympus")
    with refused(400, param="run_at", code="bad_time"):
        client.beta.agents.automations.create(type="once", name="o", run_at=1, target=target)
    with refused(400, param="target.agent.model"):
        periodic(client, {**target, "agent": {}})
    with refused(404, param="target.session_id"):
        periodic(client, {"type": "existing_session", "session_id": "sess_x", "instructions": "x"})
    made = periodic(client, target)
    with refused(400, param="expression"):
        client.beta.agents.automations.update(made.id, expression="x")
    with refused(400, param="run_at"):
        client.beta.agents.automations.update(made.id, run_at=32503680000)
    client.beta.agents.automations.delete(made.id)


def test_automation_manual_new_session(client, mark):
    automations = client.beta.agents.automations
    made = periodic(client, new_session(f"say {mark}", metadata={"mark": mark}))
    queued = automations.invocations.create(made.id)
    shown = shaped(queued, AutomationInvocation)
    assert shown["scheduled_at"] is None and shown["source"] == {"type": "manual"}
    assert shown["automation_id"] == made.id and shown["error"] is None and shown["skip_reason"] is None
    done = delivered(client, made, queued.id)
    assert done.status == "completed"
    assert shaped(automations.invocations.retrieve(queued.id, automation_id=made.id), AutomationInvocation) == shaped(
        done, AutomationInvocation
    )
    talk.ended(client, done.session_id)
    assert talk.heard(client, done.session_id) == [f"say {mark}"]
    sessions = client.beta.agents.sessions.list(extra_query={"metadata[mark]": mark})
    assert [session.id for session in sessions] == [done.session_id]
    assert shaped(automations.retrieve(made.id)) == shaped(made), "the schedule is left alone"
    automations.delete(made.id)
    assert client.beta.agents.sessions.retrieve(done.session_id).id == done.session_id
    with refused(404):
        list(automations.invocations.list(made.id))


def test_automation_existing_session(client, mark):
    automations = client.beta.agents.automations
    session = talk.finished(client, f"say {mark}")
    made = periodic(client, existing(session, f"say again {mark}"))
    done = delivered(client, made, automations.invocations.create(made.id).id)
    assert (done.status, done.session_id) == ("completed", session.id)
    talk.ended(client, session.id, 2)
    assert talk.heard(client, session.id) == [f"say {mark}", f"say again {mark}"]
    # A session that is gone pauses the schedule.
    client.beta.agents.sessions.delete(session.id)
    lost = delivered(client, made, automations.invocations.create(made.id).id)
    assert (lost.status, lost.error.code) == ("failed", "resource_not_found")
    paused = automations.retrieve(made.id)
    assert (paused.status, paused.pause_reason) == ("paused", "target_session_failed")
    automations.delete(made.id)


def test_automation_once_fires(client, mark):
    automations = client.beta.agents.automations
    session = talk.finished(client, f"say {mark}")
    run_at = int(time.time()) + 4
    made = automations.create(type="once", name="o", run_at=run_at, target=existing(session, f"say woken {mark}"))
    done = delivered(client, made)
    assert (done.status, done.scheduled_at, done.source.type) == ("completed", run_at, "automation")
    assert done.source.automation.id == made.id and done.source.automation.status == "active"
    shaped(done, AutomationInvocation)
    talk.ended(client, session.id, 2)
    assert talk.heard(client, session.id) == [f"say {mark}", f"say woken {mark}"]
    finished = wait.until(
        lambda: (now := automations.retrieve(made.id)).status == "completed" and now, "it to be completed"
    )
    assert finished.run_at == run_at
    with refused(409):
        automations.resume(made.id)
    with refused(400, param="run_at", code="immutable"):
        automations.update(made.id, run_at=run_at + 10000)
    assert len(list(automations.invocations.list(made.id))) == 1


def test_automation_survives_a_kill(own_server, mark):
    """What fell due while no server was up is delivered once by the next one."""
    automations = own_server.client.beta.agents.automations
    run_at = int(time.time()) + 4
    made = automations.create(type="once", name="o", run_at=run_at, target=new_session(f"say {mark}"))
    own_server.kill()
    wait.until(lambda: time.time() > run_at + 1, "its time to pass")
    own_server.start()
    done = delivered(own_server.client, made)
    assert (done.status, done.scheduled_at) == ("completed", run_at)
    own_server.restart()
    assert len(list(own_server.client.beta.agents.automations.invocations.list(made.id))) == 1
    talk.ended(own_server.client, done.session_id)
    assert talk.heard(own_server.client, done.session_id) == [f"say {mark}"]


def test_automation_by_agent(client, mark):
    """The agent schedules a wake-up of its own session."""
    session = talk.finished(client, f"remind me {mark}", agent={"tools": [{"type": "automations"}]})
    (made,) = client.beta.agents.automations.list(session_id=session.id)
    (call,) = talk.items(client, session.id, "mcp_call")
    assert (call.server_label, call.name, call.status) == ("tenure", "create_automation", "completed")
    assert shaped(made)["created_by"] == {"type": "agent", "session_id": session.id, "tool_call_id": call.id}
    assert (made.type, made.status, made.target.session_id) == ("once", "active", session.id)
    other = talk.finished(client, f"say other {mark}")
    with refused(400, param="target.session_id", code="immutable"):
        client.beta.agents.automations.update(made.id, target=existing(other, "x"))
    client.beta.agents.automations.delete(made.id)
