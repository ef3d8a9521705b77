"""Labels, origins and grants: what a session has read decides what it may still do."""

from harness import talk, wait
from harness.shape import raw
from test_mcp import decide, mcp, refunds

UNATTENDED = {"tenure.approval": "never"}
TARGET = {"order_id": "ord_1042", "amount_cents": 500}


def labels(client, session):
    return raw(client, "GET", f"/tenure/sessions/{session}/labels").json()


def check_then_refund(client, orders, payments, mark, **extra):
    """A session that reads an order, which anybody may have written, and is to refund it then."""
    tools = [mcp("orders", orders.url), mcp("payments", payments.url)]
    text = f"check and refund ord_1042 {mark}"
    return talk.create(client, text, agent={"tools": tools}, metadata=UNATTENDED, extra_body=extra)


def test_what_was_read_decides(client, orders, payments, mark):
    session = check_then_refund(client, orders, payments, mark)
    [action] = talk.waiting(client, session.id)
    assert refunds(payments) == 0
    shown = labels(client, session.id)
    assert shown["labels"]["integrity"] == "untrusted"
    assert [change["what"] for change in shown["changes"]] == ["the result of orders/get_order"]
    decide(client, session, action, "cancel")
    talk.ended(client, session.id)
    assert refunds(payments) == 0


def test_a_grant_given_before_counts_once(client, orders, payments, mark):
    grant = {"tool": "payments/refund", "arguments": TARGET}
    session = check_then_refund(client, orders, payments, mark, tenure={"grants": [grant]})
    talk.ended(client, session.id)
    assert refunds(payments) == 1
    [used] = labels(client, session.id)["grants"]
    assert (used["uses"], used["uses_max"], used["arguments"]) == (1, 1, TARGET)
    # The same again is another one.
    talk.send(client, session.id, talk.message(f"refund ord_1042 again {mark}"))
    [action] = talk.waiting(client, session.id)
    decide(client, session, action, "cancel")
    talk.ended(client, session.id, 2)
    assert refunds(payments) == 1


def test_a_grant_for_another_target_does_not(client, orders, payments, mark):
    grant = {"tool": "payments/refund", "arguments": {**TARGET, "amount_cents": 50}}
    session = check_then_refund(client, orders, payments, mark, tenure={"grants": [grant]})
    [action] = talk.waiting(client, session.id)
    decide(client, session, action, "cancel")
    talk.ended(client, session.id)
    assert refunds(payments) == 0
