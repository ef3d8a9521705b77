"""A model that fails: what the turn says, and that the session goes on."""

import openai
import pytest
from openai.lib.beta.agents import AgentTurnResultError

from harness import talk


def failed_turn(client, text, code, model="m1"):
    """The turn fails with that code, in the documented order, and the session is usable afterwards."""
    events = talk.stream(client, text, model)
    assert talk.types(events)[-3:] == ["error", "turn.failed", "idle"]
    error, failed = events[-3], events[-2]
    assert failed.turn.status == "failed"
    assert (failed.turn.error.code, error.error.code) == (code, code)
    assert failed.turn.error.message
    assert events[-1].session.error is None
    session = events[0].session.id
    talk.turn(client, session, "say still here")
    assert talk.said(client, session)[-1] == "still here"
    return failed.turn


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_upstream_500(client, upstream, mark, model):
    failed_turn(client, f"fail 500 {mark}", "server_error", model)
    # It was tried more than once, and not for ever. The last call is the turn after it.
    assert 2 <= len(upstream.calls(mark)) - 1 <= 8
    session = talk.finished(client, f"recover 500 {mark}", model)
    assert talk.said(client, session.id) == ["Recovered."]


def test_upstream_refusals(client, upstream, mark):
    for text, code in (
        ("fail 401", "authentication_error"),
        ("fail 400", "invalid_request"),
        ("fail model", "resource_not_found"),
        ("fail quota", "credit_balance_exhausted"),
    ):
        turn = failed_turn(client, f"{text} {mark}", code)
        assert "upstream-test-key" not in turn.error.message
    # What cannot be mended by asking again is asked once.
    assert len(upstream.calls("fail 401 " + mark)) == 2


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_context_overflow(client, mark, model):
    failed_turn(client, f"fail context {mark}", "context_length_exceeded", model)


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_upstream_drop(client, upstream, mark, model):
    events = talk.stream(client, f"recover cut {mark}", model)
    session = events[0].session.id
    assert talk.types(events)[-2:] == ["turn.completed", "idle"]
    # What was half said is not kept: the item that is done holds the whole text once.
    assert talk.said(client, session) == ["Recovered from a cut."]
    assert len(upstream.calls(mark)) == 2
    failed_turn(client, f"cut {mark}", "connection_failed", model)


def test_failed_result_helper(client, mark):
    sessions = client.beta.agents.sessions
    with sessions.create(
        agent={"model": "m1"}, environment=talk.NONE, input=f"fail 400 {mark}", stream=True
    ) as stream:
        with pytest.raises(AgentTurnResultError) as failed:
            stream.get_final_result()
    assert failed.value.reason == "failed"
    assert failed.value.turn.error.code == "invalid_request"
    session = failed.value.session_id
    with sessions.stream(session, input=f"fail 401 {mark}") as stream:
        with pytest.raises(AgentTurnResultError) as failed:
            stream.get_final_result()
    assert failed.value.turn.error.code == "authentication_error"
    with sessions.stream(session, input=f"say fine {mark}") as stream:
        assert stream.get_final_result().output_text == f"fine {mark}"


def test_server_unreachable_upstream(client, mark, tmp_path):
    """An upstream nobody listens at is a broken connection, not an error of ours."""
    from harness.server import Server

    server = Server(tmp_path / "alone", "http://127.0.0.1:9/v1", configured=False)
    try:
        events = talk.stream(server.client, f"say {mark}")
        assert talk.only(events, "turn.failed").turn.error.code == "connection_failed"
        with pytest.raises(openai.NotFoundError):
            server.client.beta.agents.retrieve("agt_missing")
    finally:
        server.stop()
