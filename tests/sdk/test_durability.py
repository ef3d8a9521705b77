"""The server dies and comes back."""

from harness import talk

TOOLS = {"tools": [talk.function()]}


def test_restart_durability(own_server, upstream, mark):
    client = own_server.client
    agent = client.beta.agents.create(model="m1", name=mark)
    done = client.beta.agents.sessions.create(
        agent_id=agent.id, environment=talk.NONE, input=f"say done {mark}", metadata={"a": "b"}
    )
    talk.settled(client, done.id)
    done = client.beta.agents.sessions.retrieve(done.id)
    before = talk.items(client, done.id), talk.ended(client, done.id)
    waits = talk.create(client, f"weather in Paris {mark}", agent=TOOLS)
    [action] = talk.waiting(client, waits.id)
    with upstream.hold(f"caught {mark}") as gate:
        caught = talk.create(client, f"say caught {mark}")
        gate.wait_arrival()
        talk.send(client, caught.id, talk.message(f"say queued {mark}"))
        own_server.kill()
    own_server.start()
    client = own_server.client

    assert client.beta.agents.retrieve(agent.id) == agent
    assert client.beta.agents.sessions.retrieve(done.id) == done
    assert (talk.items(client, done.id), talk.ended(client, done.id)) == before
    # What waited still waits, for the same call, and goes on from there.
    assert talk.waiting(client, waits.id) == [action]
    talk.send(client, waits.id, talk.result(action, "sunny"))
    assert talk.ended(client, waits.id)[0].status == "completed"
    assert talk.said(client, waits.id) == ["Weather: sunny"]
    # What was caught in a model call asked again; what was admitted behind it had its turn.
    turns = talk.ended(client, caught.id, 2)
    assert [turn.status for turn in turns] == ["completed", "completed"]
    assert talk.said(client, caught.id) == [f"caught {mark}", f"queued {mark}"]
    assert len(upstream.calls(f"caught {mark}")) >= 2
    talk.turn(client, done.id, f"recall {mark}")
    assert talk.said(client, done.id)[-1] == f"You said done {mark}"


def test_restart_idempotency(own_server, mark):
    client = own_server.client
    session = talk.finished(client, f"say {mark}")
    talk.send(client, session.id, talk.message(f"say once {mark}"), idempotency_key=mark)
    talk.ended(client, session.id, 2)
    own_server.restart()
    # A client that never saw the answer repeats the request to the new process.
    talk.send(own_server.client, session.id, talk.message(f"say once {mark}"), idempotency_key=mark)
    assert len(talk.ended(own_server.client, session.id, 2)) == 2
    assert len(talk.items(own_server.client, session.id)) == 4


def test_restart_often(own_server, mark):
    session = talk.finished(own_server.client, f"say first {mark}").id
    for number in range(3):
        talk.send(own_server.client, session, talk.message(f"say {number} {mark}"))
        own_server.restart()
        # A message that came while the turn before it is taken up again would steer that one.
        turns = talk.ended(own_server.client, session, number + 2)
    client = own_server.client
    assert [turn.status for turn in turns] == ["completed"] * 4
    assert talk.said(client, session) == [f"{word} {mark}" for word in ("first", 0, 1, 2)]
