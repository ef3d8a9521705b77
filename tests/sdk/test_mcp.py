"""MCP servers and the approvals their calls may need."""

import json
import socket

import pytest

from harness import talk, wait
from harness.shape import raw, refused, valid


def mcp(label, url, **changes):
    transport = {"type": "http", "server_url": url, **changes.pop("transport", {})}
    return {"type": "mcp", "server_label": label, "transport": transport, **changes}


def offered(call):
    # One wire format has the function in the tool, the other the tool itself.
    return {tool.get("function", tool)["name"] for tool in call.json.get("tools", [])}


def closed_port():
    """An address where nobody listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}/mcp"


@pytest.mark.parametrize("model", ["m1", "m1-chat"])
def test_mcp_call(client, upstream, orders, mark, model):
    tool = mcp("orders", orders.url, request_metadata={"mark": mark})
    events = talk.stream(client, f"order ord_1042 {mark}", model, agent={"tools": [tool]})
    session = events[0].session.id
    [call] = talk.items(client, session, "mcp_call")
    shape = valid(call)
    output = shape.pop("output")
    assert shape == {
        "id": call.id,
        "type": "mcp_call",
        "turn_id": call.turn_id,
        "server_label": "orders",
        "name": "get_order",
        "arguments": {"id": "ord_1042"},
        "error": None,
        "status": "completed",
    }
    assert "ord_1042" in json.dumps(output)
    assert talk.said(client, session)[0].startswith("The total is ")
    added = [event.item.type for event in events if event.type.endswith("item.added")]
    assert added == ["message", "mcp_call", "message"]
    # A call of the session's own tools is none of the client's business to answer.
    assert "requires_action" not in talk.types(events)
    assert offered(upstream.calls(mark)[0]) == {"orders__get_order", "orders__search_orders"}
    [made] = [seen for seen in orders.calls(mark) if b"tools/call" in seen.body]
    meta = made.json["params"]["_meta"]
    assert meta["mark"] == mark and meta["tenure/idempotency-key"]
    [turn] = talk.ended(client, session)
    assert turn.status == "completed"


def test_mcp_call_error(client, orders, mark):
    tools = [mcp("orders", orders.url)]
    session = talk.create(client, f"order ord_0 {mark}", agent={"tools": tools})
    [turn] = talk.ended(client, session.id)
    [call] = talk.items(client, session.id, "mcp_call")
    # The tool said no: that is a failed call and not a failed turn.
    assert (call.status, turn.status) == ("failed", "completed")
    assert "ord_0" in talk.said(client, session.id)[0]
    assert "ord_0" in json.dumps(valid(call)["error"])


def test_mcp_allowed_tools(client, upstream, orders, mark):
    session = talk.finished(
        client, f"say {mark}", agent={"tools": [mcp("orders", orders.url, allowed_tools=["search_orders"])]}
    )
    assert session.agent.tools[0].allowed_tools == ["search_orders"]
    assert offered(upstream.calls(mark)[0]) == {"orders__search_orders"}
    # A model that calls what it was not offered is told so, and nothing is called.
    talk.turn(client, session.id, f"order ord_1042 x{mark}")
    assert not [seen for seen in orders.calls("tools/call") if mark.encode() in seen.body]
    assert not [item for item in talk.items(client, session.id, "mcp_call") if item.status == "completed"]


def test_mcp_authorization_hidden(client, upstream, orders, server, mark):
    secret, header = f"secret-{mark}", f"hidden-{mark}"
    transport = {"authorization": f"Bearer {secret}", "headers": {"X-Team-Key": header}}
    tool = mcp("orders", orders.url, transport=transport)
    events = talk.stream(client, f"order ord_1042 {mark}", agent={"tools": [tool]})
    session = events[0].session
    assert valid(session)["agent"]["tools"][0]["transport"] == {"type": "http", "server_url": orders.url}
    sent = [seen.headers for seen in orders.seen if seen.headers.get("x-team-key") == header]
    assert sent and all(headers["authorization"] == f"Bearer {secret}" for headers in sent)
    shown = [event.to_json() for event in events]
    for path in ("", "/items", "/turns", "/traces"):
        shown.append(raw(client, "GET", f"/agents/sessions/{session.id}{path}").text)
    shown += [call.body.decode() for call in upstream.calls(mark)]
    shown.append(server.process.tail(100_000))
    assert not [text for text in shown if secret in text or header in text]
    kept = [path for path in server.data.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]
    assert kept == []
    # A saved agent holds no secrets at all.
    with refused(400):
        client.beta.agents.create(model="m1", tools=[tool])


def test_mcp_required_failure(client, mark):
    url = closed_port()
    needed = talk.stream(client, f"say {mark}", agent={"tools": [mcp("gone", url, required=True)]})
    failed = talk.only(needed, "turn.failed").turn
    assert failed.error.code in ("connection_failed", "resource_not_found", "sandbox_error", "server_error")
    assert "gone" in failed.error.message
    assert talk.types(needed)[-1] == "idle"
    # One that is not required is done without.
    spare = talk.finished(client, f"say {mark}", agent={"tools": [mcp("gone", url)]})
    assert talk.said(client, spare.id) == [mark]


def refunds(payments):
    return len(payments.ledger.read_text().splitlines()) if payments.ledger.exists() else 0


def asking(client, payments, mark, **options):
    """A session that waits for an approval of a refund, and the request."""
    tools = [mcp("payments", payments.url)]
    session = talk.create(client, f"refund ord_1042 {mark}", agent={"tools": tools}, **options)
    [action] = talk.waiting(client, session.id)
    return session, action


def decide(client, session, action, decision):
    event = {
        "type": "agent.session.input.mcp_approval_request_result",
        "request_id": action.request_id,
        "response": {"type": "mcp_tool_call", "decision": decision},
    }
    talk.send(client, session.id, event)


def test_mcp_approval_approve(client, payments, mark):
    session, action = asking(client, payments, mark)
    request = valid(client.beta.agents.sessions.retrieve(session.id))["required_actions"][0]
    assert request["request"].pop("message")
    assert request == {
        "type": "mcp_approval_request",
        "request_id": action.request_id,
        "turn_id": action.turn_id,
        "request": {
            "type": "mcp_tool_call",
            "server_label": "payments",
            "name": "refund",
            "arguments": {"order_id": "ord_1042", "amount_cents": 500, "reason": "test"},
        },
    }
    assert refunds(payments) == 0
    decide(client, session, action, "approve")
    [turn] = talk.ended(client, session.id)
    assert turn.status == "completed"
    assert refunds(payments) == 1
    [call] = talk.items(client, session.id, "mcp_call")
    assert call.status == "completed"
    # An approval counts once: the same answer again changes nothing, another is refused.
    with refused(409):
        decide(client, session, action, "deny")
    assert refunds(payments) == 1


def test_mcp_approval_deny(client, payments, mark):
    session, action = asking(client, payments, mark)
    decide(client, session, action, "deny")
    [turn] = talk.ended(client, session.id)
    assert turn.status == "completed"
    [call] = talk.items(client, session.id, "mcp_call")
    assert (call.status, bool(call.error)) == ("failed", True)
    assert talk.said(client, session.id)[0].startswith("Refund: ")
    assert refunds(payments) == 0


def test_mcp_approval_cancel(client, payments, mark):
    session, action = asking(client, payments, mark)
    decide(client, session, action, "cancel")
    # Only the request is dismissed; the turn goes on without the call.
    [turn] = talk.ended(client, session.id)
    assert turn.status == "completed"
    assert client.beta.agents.sessions.retrieve(session.id).required_actions == []
    assert refunds(payments) == 0
    other, waiting = asking(client, payments, f"{mark}x")
    talk.send(client, other.id, talk.CANCEL)
    assert talk.ended(client, other.id)[0].status == "cancelled"
    with refused(409):
        decide(client, other, waiting, "approve")
    with refused(400):
        decide(client, other, waiting.model_copy(update={"request_id": "unknown"}), "approve")
    assert refunds(payments) == 0


def test_mcp_approval_modes(client, payments, orders, mark):
    # Reading needs nobody's approval unless the session asks for it.
    tools = [mcp("orders", orders.url)]
    always = talk.create(
        client, f"order ord_1042 {mark}", agent={"tools": tools}, metadata={"tenure.approval": "always"}
    )
    [action] = talk.waiting(client, always.id)
    assert action.request.name == "get_order"
    decide(client, always, action, "approve")
    assert talk.ended(client, always.id)[0].status == "completed"
    never = talk.finished(
        client,
        f"refund ord_1042 {mark}",
        agent={"tools": [mcp("payments", payments.url)]},
        metadata={"tenure.approval": "never"},
    )
    assert talk.ended(client, never.id)[0].status == "completed"
    assert refunds(payments) == 1
    with refused(400, param="metadata.tenure.approval"):
        talk.create(client, f"say {mark}", metadata={"tenure.approval": "sometimes"})


def test_mcp_approval_review(client, payments, mark):
    # With automatic review nobody is asked: what needs a person is denied.
    session = talk.finished(
        client, f"refund ord_1042 {mark}", agent={"tools": [mcp("payments", payments.url)]}, review="auto_review"
    )
    assert talk.ended(client, session.id)[0].status == "completed"
    [call] = talk.items(client, session.id, "mcp_call")
    assert call.status == "failed"
    assert refunds(payments) == 0


def test_mcp_approval_restart(own_server, payments, mark):
    session, action = asking(own_server.client, payments, mark)
    own_server.restart()
    client = own_server.client
    [still] = talk.waiting(client, session.id)
    assert still == action
    decide(client, session, still, "approve")
    [turn] = talk.ended(client, session.id)
    assert turn.status == "completed"
    wait.until(lambda: refunds(payments) == 1, "the refund")
    assert refunds(payments) == 1
