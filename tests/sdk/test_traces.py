"""Traces: one for each finished root turn, in OTLP's form."""

from harness import shape, talk


def spans(trace):
    return trace.otlp["resourceSpans"][0]["scopeSpans"][0]["spans"]


def attributes(span):
    return {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}


def test_traces_list(client, mark):
    session = talk.create(client, f"weather in Paris {mark}", agent={"tools": [talk.function()]})
    [action] = talk.waiting(client, session.id)
    traces = client.beta.agents.sessions.traces
    assert list(traces.list(session.id)) == [], "a turn that waits is not published"
    talk.send(client, session.id, talk.result(action, "sunny"))
    talk.ended(client, session.id)
    talk.turn(client, session.id, f"say {mark}")

    turns = list(client.beta.agents.sessions.turns.list(session.id, order="asc"))
    found = list(traces.list(session.id, order="asc", limit=1))
    assert [trace.id for trace in found] == [turn.id for turn in turns]
    assert [trace.id for trace in traces.list(session.id)] == [turn.id for turn in reversed(turns)]
    for trace, turn in zip(found, turns):
        shape.valid(trace)
        assert (trace.session_id, trace.created_at) == (session.id, turn.created_at)
        root, *rest = spans(trace)
        assert "parentSpanId" not in root
        assert root["traceId"] == turn.id.removeprefix("turn_")
        assert {span["parentSpanId"] for span in rest} == {root["spanId"]}
        found_tokens = attributes(root)["gen_ai.usage.input_tokens"]
        assert int(found_tokens) == turn.usage.input_tokens
        assert attributes(root)["gen_ai.conversation.id"] == session.id
    names = [span["name"] for span in spans(found[0])]
    assert names == ["invoke_agent", "chat m1", "execute_tool get_weather", "chat m1"]
    assert attributes(spans(found[0])[2])["gen_ai.tool.call.id"] == action.call_id
    # What was said stays out unless the server is told otherwise.
    assert mark not in str([trace.otlp for trace in found])


def test_traces_of_a_failed_turn(client, mark):
    session = talk.create(client, f"fail 500 {mark}")
    [turn] = talk.ended(client, session.id)
    [trace] = client.beta.agents.sessions.traces.list(session.id)
    root, *calls = spans(trace)
    assert root["status"] == {"code": 2, "message": turn.error.message}
    assert attributes(root)["error.type"] == turn.error.code
    assert attributes(calls[0])["error.type"] == "server_error"
    assert [span["name"] for span in calls[1:]] == [f"attempt {number}" for number in range(1, len(calls))]


def test_traces_paging(client, mark):
    session = talk.finished(client, f"say {mark}")
    with shape.refused(404):
        client.beta.agents.sessions.traces.list("sess_00000000000000000000000000000000")
    page = client.beta.agents.sessions.traces.list(session.id, limit=1)
    assert (page.first_id, page.last_id, page.has_more) == (page.data[0].id, page.data[0].id, False)
