"""Tool servers that ask for a sign-in where the session has no credential for them."""

import json
import subprocess
import urllib.parse

import pytest

from harness import talk, wait
from harness.process import BINARY
from harness.server import KEY, Server
from harness.shape import raw
from test_mcp import mcp
from test_sign_in import ask, back, browse, completed, guarded, keep, oauth, start, vault, waits  # noqa: F401

# What a server may tell anyone, and ask for a sign-in only when something is called.
SAYS_TO_ANYONE = ("initialize", "notifications/initialized", "tools/list")


def bearer(guarded, token):
    return {"type": "static_bearer", "mcp_server_url": guarded.url, "token": token}


def rows(text):
    listed = json.loads(text)
    return listed["data"] if isinstance(listed, dict) else listed


def said(client, session):
    [call] = talk.items(client, session.id, "mcp_call")
    return call.error or ""


@pytest.mark.parametrize("bare", [False, True])
def test_token_by_hand(client, guarded, vault, mark, bare):
    guarded.bare = bare
    session = ask(client, guarded, vault, mark)
    assert session.agent.tools[0].credential_id is None
    assert waits(client, session) is None
    [shown] = raw(client, "GET", f"/tenure/sessions/{session.id}").json()["sign_ins"]
    assert shown["server_url"] == guarded.url
    assert "tenure_sign_ins_needed_total" in raw(client, "GET", "/../metrics").text
    # Others are not held up, and the server is not asked again meanwhile.
    asked = len(guarded.asked("/mcp"))
    assert talk.said(client, talk.finished(client, f"say {mark}").id) == [mark]
    keep(client, vault, {**bearer(guarded, "other"), "mcp_server_url": f"{guarded.url}/"})
    assert len(guarded.asked("/mcp")) == asked
    credential = keep(client, vault, bearer(guarded, guarded.give("access")))
    assert completed(client, session) == ("completed", "completed")
    assert len(guarded.calls()) == 1
    # From here on it is the session's, and shown as such.
    bound = client.beta.agents.sessions.retrieve(session.id)
    assert bound.agent.tools[0].credential_id == credential.id


def test_inbox_says_what_to_do(client, server, guarded, vault, mark):
    session = ask(client, guarded, vault, mark)
    waits(client, session)
    command = [BINARY, "--url", server.url.removesuffix("/v1"), "inbox", "-o", "json"]
    env = {"TENURE_API_KEY": KEY, "PATH": ""}
    listed = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
    assert listed.returncode == 0, listed.stderr
    [row] = [row for row in rows(listed.stdout) if row["session"] == session.id]
    assert (row["kind"], row["id"], row["tool"]) == ("sign_in", guarded.url, "orders")
    talk.send(client, session.id, talk.CANCEL)
    [turn] = talk.ended(client, session.id)
    assert turn.status == "cancelled"


def test_sign_in_after_a_kill(tmp_path, upstream, guarded, mark):
    server = Server(tmp_path, upstream.url)
    try:
        client = server.client
        vault = client.beta.agents.vaults.create()
        guarded.free = SAYS_TO_ANYONE
        session = ask(client, guarded, vault, mark)
        assert waits(client, session) is None
        server.restart()
        client = server.client
        assert waits(client, session) is None
        sign_in = start(client, vault, mcp_server_url=guarded.url).json()
        coming = back(sign_in["authorization_url"])
        server.restart()
        client = server.client
        there, here = urllib.parse.urlsplit(coming), urllib.parse.urlsplit(server.url)
        assert browse(there._replace(netloc=here.netloc).geturl())[0] == 200
        assert completed(client, session) == ("completed", "completed")
        assert len(guarded.calls()) == 1
    finally:
        server.stop()


def test_several_vaults_and_servers(client, guarded, vault, mark):
    other = client.beta.agents.vaults.create()
    tools = [mcp("orders", guarded.url), mcp("again", guarded.url)]
    session = talk.create(client, f"order ord_1042 {mark}", agent={"tools": tools}, vault_ids=[vault.id, other.id])
    talk.settled(client, session.id, "requires_action")
    wait.until(
        lambda: len(raw(client, "GET", f"/tenure/sessions/{session.id}").json()["sign_ins"]) == 2, "both to wait"
    )
    credential = keep(client, other, bearer(guarded, guarded.give("access")))
    assert completed(client, session) == ("completed", "completed")
    tools = client.beta.agents.sessions.retrieve(session.id).agent.tools
    assert [tool.credential_id for tool in tools] == [credential.id] * 2


def test_credential_that_came_before_it_was_needed(client, guarded, vault, mark):
    guarded.free = SAYS_TO_ANYONE
    tools = [mcp("orders", guarded.url)]
    session = talk.create(client, f"say {mark}", agent={"tools": tools}, vault_ids=[vault.id])
    talk.ended(client, session.id)
    keep(client, vault, bearer(guarded, guarded.give("access")))
    talk.send(client, session.id, talk.message(f"order ord_1042 {mark}"))
    turns = talk.ended(client, session.id, 2)
    assert [turn.status for turn in turns] == ["completed", "completed"]
    [call] = talk.items(client, session.id, "mcp_call")
    assert call.status == "completed" and len(guarded.calls()) == 1


def test_two_credentials_are_not_chosen_from(client, guarded, vault, mark):
    guarded.free = SAYS_TO_ANYONE
    tools = [mcp("orders", guarded.url)]
    session = talk.create(client, f"say {mark}", agent={"tools": tools}, vault_ids=[vault.id])
    talk.ended(client, session.id)
    for _ in range(2):
        keep(client, vault, bearer(guarded, guarded.give("access")))
    talk.send(client, session.id, talk.message(f"order ord_1042 {mark}"))
    talk.ended(client, session.id, 2)
    assert "name one as `credential_id`" in said(client, session)


def test_token_that_is_refused_as_well(client, guarded, vault, mark):
    guarded.free = SAYS_TO_ANYONE
    session = ask(client, guarded, vault, mark)
    waits(client, session)
    keep(client, vault, bearer(guarded, "nobody-knows-this-one"))
    assert completed(client, session) == ("completed", "failed")
    assert "refused the token of its credential" in said(client, session)


def test_tokens_that_are_refused_wait_for_another_sign_in(client, guarded, vault, mark):
    session = ask(client, guarded, vault, mark)
    assert waits(client, session) is None
    credential = keep(client, vault, oauth(guarded, "nobody-knows-this-one"))
    wait.until(
        lambda: [one["credential_id"] for one in raw(client, "GET", f"/tenure/sessions/{session.id}").json()["sign_ins"]]
        == [credential.id],
        "the session to wait for that credential",
    )
    update = client.beta.agents.vaults.credentials.update
    update(credential.id, vault_id=vault.id, auth={"type": "mcp_oauth", "access_token": guarded.give("access")})
    assert completed(client, session) == ("completed", "completed")
    assert len(guarded.calls()) == 1


@pytest.mark.parametrize("named", [False, True])
def test_where_no_vault_is_it_fails(client, guarded, vault, mark, named):
    guarded.free = SAYS_TO_ANYONE
    tools = [mcp("orders", guarded.url)]
    vaults = {"vault_ids": [vault.id]} if named else {}
    session = talk.create(client, f"order ord_1042 {mark}", agent={"tools": tools}, **vaults)
    if named:
        # It waits until the vault goes that it waits for.
        waits(client, session)
        client.beta.agents.vaults.delete(vault.id)
    assert completed(client, session) == ("completed", "failed")
    assert "tenure vaults sign-in" in said(client, session)


def test_policy_is_asked_about_the_credential(tmp_path, upstream, guarded, mark):
    server = Server(tmp_path, upstream.url)
    try:
        policies = server.project / "policies"
        policies.mkdir(exist_ok=True)
        (policies / "keep.cedar").write_text(
            '@id("keep") forbid (principal, action == Action::"secret.use", resource);'
        )
        server.restart()
        client = server.client
        vault = client.beta.agents.vaults.create()
        guarded.free = SAYS_TO_ANYONE
        session = ask(client, guarded, vault, mark)
        waits(client, session)
        keep(client, vault, bearer(guarded, guarded.give("access")))
        assert completed(client, session) == ("completed", "failed")
        assert "Policy does not allow the credential" in said(client, session)
        assert guarded.calls() == []
    finally:
        server.stop()
