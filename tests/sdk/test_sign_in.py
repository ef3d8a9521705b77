"""Tokens that expire, and people who sign in."""

import threading
import urllib.error
import urllib.parse
import urllib.request

import pytest

from harness import talk, wait
from harness.guarded import Guarded
from harness.server import Server
from harness.shape import raw
from test_mcp import mcp

LONG_AGO = "2020-01-01T00:00:00Z"


@pytest.fixture
def guarded():
    guarded = Guarded()
    yield guarded
    guarded.close()


@pytest.fixture
def vault(client, mark):
    return client.beta.agents.vaults.create(name=mark)


def oauth(guarded, token, refresh_token=None, auth=None, **more):
    signed = {"type": "mcp_oauth", "mcp_server_url": guarded.url, "access_token": token, **more}
    if refresh_token:
        auth = auth or {"type": "none"}
        signed["refresh"] = {
            "token_endpoint": f"{guarded.issuer}/token",
            "client_id": "client-1",
            "refresh_token": refresh_token,
            "token_endpoint_auth": auth,
            "resource": guarded.url,
        }
    return signed


def keep(client, vault, auth):
    return client.beta.agents.vaults.credentials.create(vault.id, name="orders", auth=auth)


def ask(client, guarded, vault, mark):
    tools = [mcp("orders", guarded.url)]
    return talk.create(client, f"order ord_1042 {mark}", agent={"tools": tools}, vault_ids=[vault.id])


def state(client, vault):
    [credential] = raw(client, "GET", f"/tenure/vaults/{vault.id}/credentials").json()["data"]
    return credential["state"]


def completed(client, session):
    [turn] = talk.ended(client, session.id)
    [call] = talk.items(client, session.id, "mcp_call")
    return (turn.status, call.status)


def waits(client, session):
    """The session waits for a person, in a way that the Agents API has no word for."""
    settled = talk.settled(client, session.id, "requires_action")
    assert settled.required_actions == []
    shown = raw(client, "GET", f"/tenure/sessions/{session.id}").json()
    assert [server["server_label"] for server in shown["sign_ins"]] == ["orders"]
    return shown["sign_ins"][0]["credential_id"]


@pytest.mark.parametrize("kind", ["none", "client_secret_basic", "client_secret_post"])
def test_refresh_once(client, guarded, vault, mark, kind):
    secret = {} if kind == "none" else {"client_secret": "s3cr3t-of-client"}
    guarded.secret = None if kind == "none" else (kind, "s3cr3t-of-client")
    first = guarded.give("refresh")
    keep(client, vault, oauth(guarded, "expired", first, {"type": kind, **secret}, expires_at=LONG_AGO))
    # However many need it at the same time, new tokens are asked for once.
    sessions = [None] * 4

    def run(n):
        sessions[n] = ask(client, guarded, vault, f"{mark}{n}")

    threads = [threading.Thread(target=run, args=[n]) for n in range(len(sessions))]
    for step in (threading.Thread.start, threading.Thread.join):
        for thread in threads:
            step(thread)
    assert {completed(client, session) for session in sessions} == {("completed", "completed")}
    [asked] = guarded.asked("/token")
    assert asked.form["refresh_token"] == first and asked.form["resource"] == guarded.url
    assert "Bearer expired" not in [seen.headers.get("authorization") for seen in guarded.seen]
    # The server revokes the token before its time: the refresh token that came with it is used, once.
    guarded.valid.clear()
    assert completed(client, ask(client, guarded, vault, f"{mark}x")) == ("completed", "completed")
    asked = guarded.asked("/token")
    assert len(asked) == 2 and asked[1].form["refresh_token"] != first
    assert state(client, vault) == {"type": "ready"}


def test_refresh_refused_waits_for_a_person(client, guarded, vault, mark):
    credential = keep(client, vault, oauth(guarded, "expired", "spent", expires_at=LONG_AGO))
    session = ask(client, guarded, vault, mark)
    assert waits(client, session) == credential.id
    shown = state(client, vault)
    assert (shown["type"], shown["waiting_sessions"]) == ("needs_sign_in", [session.id])
    assert "invalid_grant" in shown["why"]
    metrics = raw(client, "GET", "/../metrics")
    assert "tenure_sign_ins_needed_total" in metrics.text
    # Others are not held up, and nobody asks again meanwhile.
    assert talk.said(client, talk.finished(client, f"say {mark}").id) == [mark]
    assert len(guarded.asked("/token")) == 1
    # Any way to working tokens lets it go on; here, by hand.
    update = client.beta.agents.vaults.credentials.update
    update(credential.id, vault_id=vault.id, auth={"type": "mcp_oauth", "access_token": guarded.give("access")})
    assert completed(client, session) == ("completed", "completed")
    assert state(client, vault) == {"type": "ready"}


def test_token_endpoint_down_is_no_sign_in(client, guarded, vault, mark):
    keep(client, vault, oauth(guarded, "expired", guarded.give("refresh"), expires_at=LONG_AGO))
    guarded.token_fault = (503, {}, {})
    session = ask(client, guarded, vault, mark)
    wait.until(lambda: guarded.asked("/token"), "a request for tokens")
    guarded.token_fault = None
    [turn] = talk.ended(client, session.id)
    assert turn.status == "completed"
    assert state(client, vault) == {"type": "ready"}


def start(client, vault, **body):
    return raw(client, "POST", f"/tenure/vaults/{vault.id}/sign_ins", json=body)


def browse(url):
    """What a browser does: it follows the way to the authorization server and back."""
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def back(url):
    """The address that the authorization server sends the browser back to."""

    class Stay(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_):
            return None

    try:
        urllib.request.build_opener(Stay).open(url, timeout=30)
    except urllib.error.HTTPError as error:
        return error.headers["location"]
    raise AssertionError("no redirect")


def test_sign_in(client, guarded, vault, mark):
    started = start(client, vault, mcp_server_url=guarded.url, name="crm")
    assert started.status_code == 201
    sign_in = started.json()
    asked = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(sign_in["authorization_url"]).query))
    assert asked["scope"] == "orders.read" and asked["client_id"] == "registered"
    assert sign_in["status"] == "pending" and sign_in["issuer"] == guarded.issuer
    assert browse(sign_in["authorization_url"]) == (200, "Signed in. This window can be closed.")
    done = raw(client, "GET", f"/tenure/sign_ins/{sign_in['id']}").json()
    assert done["status"] == "done"
    [credential] = client.beta.agents.vaults.credentials.list(vault.id)
    assert (credential.id, credential.name) == (done["credential_id"], "crm")
    assert credential.auth.refresh.resource == guarded.url
    session = ask(client, guarded, vault, mark)
    assert session.agent.tools[0].credential_id == credential.id
    assert completed(client, session) == ("completed", "completed")


def test_sign_in_lets_sessions_go_on_after_a_restart(tmp_path, upstream, guarded, mark):
    server = Server(tmp_path, upstream.url)
    try:
        client = server.client
        vault = client.beta.agents.vaults.create()
        credential = keep(client, vault, oauth(guarded, "revoked"))
        session = ask(client, guarded, vault, mark)
        assert waits(client, session) == credential.id
        sign_in = start(client, vault, credential_id=credential.id).json()
        coming = back(sign_in["authorization_url"])
        # What waits, and what it waits for, outlives the process; the port is another now.
        server.restart()
        client = server.client
        assert waits(client, session) == credential.id
        there = urllib.parse.urlsplit(coming)
        here = urllib.parse.urlsplit(server.url)
        status, _ = browse(there._replace(netloc=here.netloc).geturl())
        assert status == 200
        assert completed(client, session) == ("completed", "completed")
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("about", "resource", "code"),
    [
        ({"issuer": "http://127.0.0.1:1"}, {}, "authorization_server_refused"),
        ({"code_challenge_methods_supported": ["plain"]}, {}, "authorization_server_refused"),
        ({"registration_endpoint": None}, {}, "authorization_server_refused"),
        ({"registration_endpoint": "http://169.254.169.254/register"}, {}, "url_not_allowed"),
        ({}, {"resource": "https://other.example/mcp"}, "authorization_server_refused"),
        ({}, {"authorization_servers": []}, "authorization_server_refused"),
        ({}, {"authorization_servers": ["http://10.0.0.1"]}, "url_not_allowed"),
        ({}, {"authorization_servers": ["file:///etc"]}, "authorization_server_refused"),
    ],
)
def test_sign_in_refuses_hostile_servers(client, guarded, vault, about, resource, code):
    guarded.metadata, guarded.resource = about, resource
    answer = start(client, vault, mcp_server_url=guarded.url)
    assert (answer.status_code, answer.json()["code"]) == (400, code)


def test_sign_in_counts_once_and_only_as_it_was_begun(client, server, guarded, vault):
    sign_in = start(client, vault, mcp_server_url=guarded.url).json()
    coming = back(sign_in["authorization_url"])
    parts = urllib.parse.urlsplit(coming)
    given = dict(urllib.parse.parse_qsl(parts.query))

    def come(**changes):
        query = urllib.parse.urlencode({name: value for name, value in {**given, **changes}.items() if value})
        return browse(parts._replace(query=query).geturl())[0]

    assert come(state=given["state"][:-1] + ("0" if given["state"][-1] != "0" else "1")) == 400
    assert come(state=None) == 400
    assert raw(client, "GET", f"/tenure/sign_ins/{sign_in['id']}").json()["status"] == "pending"
    assert come() == 200
    assert come() == 400, "a code that comes twice counts once"
    assert len(guarded.asked("/token")) == 1
    # An answer of another issuer, or of none, ends it.
    for issuer in ("http://127.0.0.1:1", None):
        again = start(client, vault, mcp_server_url=guarded.url).json()
        given = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(back(again["authorization_url"])).query))
        assert come(iss=issuer) == 400
        assert raw(client, "GET", f"/tenure/sign_ins/{again['id']}").json()["status"] == "failed"
    assert len(guarded.asked("/token")) == 1
    assert raw(client, "GET", "/tenure/sign_ins/unknown").status_code == 404
