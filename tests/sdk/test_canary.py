"""Secrets of every kind are put in, and everything that could tell them tries to: nothing that anyone keeps, sends or
shows may hold a byte of them."""

import base64
import codecs
import json
import urllib.parse

import pytest

from harness import talk, wait
from harness.guarded import Guarded
from harness.server import Server
from harness.shape import raw
from test_mcp import mcp

HOSTED = {
    "type": "openai_hosted",
    "network": {"access": "restricted", "allowed_domains": ["api.example.com"]},
}


@pytest.fixture
def guarded():
    guarded = Guarded()
    yield guarded
    guarded.close()


def spellings(secret):
    """How a careless server writes it."""
    encoded = secret.encode()
    return [
        secret,
        json.dumps({"token": secret}),
        json.dumps(json.dumps({"token": secret})),
        urllib.parse.quote(secret, safe=""),
        urllib.parse.quote(secret, safe="").lower(),
        *(base64.b64encode(before + encoded + b"!").decode() for before in (b"", b"x", b"xx", b"client-1:")),
        base64.urlsafe_b64encode(b"?" + encoded).decode(),
    ]


def traces(secret):
    """What would betray it: itself, and the middle of its base64 wherever that begins."""
    cores = [base64.b64encode(b"x" * n + secret.encode()).decode()[4:-4] for n in range(3)]
    return [text.encode() for text in (secret, urllib.parse.quote(secret, safe=""), *cores)]


def test_no_byte_of_a_secret_is_anywhere(tmp_path, upstream, guarded, receiver, mark):
    def canary(kind):
        return f"canary/{kind}+{mark}\"&x"

    static, access, renewing, of_client, value, inline, header = map(
        canary, ("static", "access", "refresh", "client", "value", "inline", "header")
    )
    canaries = [static, access, renewing, of_client, value, inline, header]
    guarded.valid |= {static, access, inline}
    # A server that repeats what it was sent, and what others of the session were, often enough to be stored apart.
    told = [static, access, renewing, of_client, value]
    guarded.echo = lambda token: "\n".join(text for secret in (token, *told) for text in spellings(secret)) * 40
    server = Server(tmp_path, upstream.url, env={"TENURE_LOG": "debug,hyper=info,rustls=info,h2=info"})
    kept = [server.log]
    try:
        client = server.client
        raw(client, "POST", "/tenure/webhooks", {"url": receiver.url})
        vault = client.beta.agents.vaults.create()

        def keep(auth, name):
            return client.beta.agents.vaults.credentials.create(vault.id, name=name, auth=auth)

        keep({"type": "static_bearer", "mcp_server_url": guarded.url, "token": static}, "static")
        refresh = {
            "token_endpoint": f"{guarded.issuer}/token",
            "client_id": "client-1",
            "refresh_token": renewing,
            "token_endpoint_auth": {"type": "client_secret_post", "client_secret": of_client},
        }
        elsewhere = guarded.url + "?second"
        keep({"type": "mcp_oauth", "mcp_server_url": elsewhere, "access_token": access, "refresh": refresh}, "oauth")
        networking = {"type": "limited", "allowed_hosts": ["api.example.com"]}
        variable = {"type": "environment_variable", "secret_name": "SERVICE_API_KEY", "secret_value": value}
        keep({**variable, "networking": networking}, "variable")

        shown = []
        third = {"authorization": f"Bearer {inline}", "headers": {"x-team": header}}
        for url, transport in ((guarded.url, {}), (elsewhere, {}), (guarded.url + "?third", third)):
            told += [inline, header] if transport else []
            tools = [mcp("orders", url, transport=transport)]
            events = talk.stream(client, f"order ord_1042 {mark}", agent={"tools": tools}, vault_ids=[vault.id])
            shown += [event.to_json() for event in events]
            session = events[0].session.id
            [call] = talk.items(client, session, "mcp_call")
            assert call.status == "completed" and "[secret " in json.dumps(call.to_dict())
            paths = ("", "/items", "/turns", "/traces")
            shown += [raw(client, "GET", f"/agents/sessions/{session}{path}").text for path in paths]
            shown.append(raw(client, "GET", f"/tenure/sessions/{session}/journal").text)
        used = {seen.headers.get("authorization") for seen in guarded.asked("/mcp")}
        assert {f"Bearer {secret}" for secret in (static, access, inline)} <= used, "each secret was really used"

        # A command has a placeholder. One that knows the secrets from elsewhere, here from a text in which nobody would
        # find them, and prints them in pieces, is masked.
        given = codecs.encode(f"{value} {static}", "rot13")
        pieces = "dd bs=1 count=9 2>/dev/null; sleep 0.2; cat"
        halves = f"x='{given}'; printf %s \"$x\" | tr A-Za-z N-ZA-Mn-za-m | {{ {pieces}; }}"
        for script in ("printenv SERVICE_API_KEY; cat /proc/self/environ; find /run; mount", halves):
            events = talk.stream(client, f"run {script} # {mark}", environment=HOSTED, vault_ids=[vault.id])
            shown += [event.to_json() for event in events]
            session = events[0].session.id
            [ran] = talk.items(client, session, "command_execution")
            shown += [raw(client, "GET", f"/agents/sessions/{session}{path}").text for path in ("/items", "/traces")]
            deltas = "".join(event.delta for event in events if event.type.endswith("output.delta"))
            if script is halves:
                assert ran.output == deltas == "[secret SERVICE_API_KEY] [secret static]"
            else:
                assert ran.output.startswith("tenure-placeholder-")
        wait.until(lambda: receiver.posted, "a webhook")
        bodies = [body for _, body in receiver.posted]
    finally:
        server.stop()

    places = {f"shown {n}": text.encode() for n, text in enumerate(shown)}
    places |= {f"webhook {n}": body for n, body in enumerate(bodies)}
    places |= {f"prompt {n}": call.body for n, call in enumerate(upstream.seen)}
    files = [path for path in (*kept, *server.data.rglob("*")) if path.is_file()]
    places |= {str(path): path.read_bytes() for path in files}
    found = [
        (place, secret)
        for place, held in places.items()
        for secret in canaries
        for trace in traces(secret)
        if trace in held
    ]
    assert found == []
    assert len(files) > 3 and len(shown) > 20
