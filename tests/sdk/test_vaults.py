"""Vaults and credentials: write-only secrets, and where they are used."""

import json

import pytest

from harness import talk
from harness.shape import raw, refused, valid
from test_mcp import mcp

SERVER = "https://mcp.example.com/mcp"


def bearer(token, url=SERVER):
    return {"type": "static_bearer", "mcp_server_url": url, "token": token}


def oauth(token, url=SERVER, **more):
    return {"type": "mcp_oauth", "mcp_server_url": url, "access_token": token, **more}


def variable(value, name="SERVICE_API_KEY", networking=None):
    networking = networking or {"type": "limited", "allowed_hosts": ["API.example.com", "192.0.2.7"]}
    return {"type": "environment_variable", "secret_name": name, "secret_value": value, "networking": networking}


def refresh(**changes):
    return {
        "token_endpoint": "https://as.example.com/token",
        "client_id": "client-1",
        "refresh_token": "refresh-secret-1",
        "token_endpoint_auth": {"type": "client_secret_post", "client_secret": "client-secret-1"},
        "scope": "read write",
        "resource": SERVER,
        **changes,
    }


@pytest.fixture
def vault(client, mark):
    return client.beta.agents.vaults.create(name=f"vault {mark}", metadata={"mark": mark})


def add(client, vault, auth, name="key", **more):
    return client.beta.agents.vaults.credentials.create(vault.id, name=name, auth=auth, **more)


def test_vault_crud(client, mark):
    vaults = client.beta.agents.vaults
    vault = vaults.create(name=f"  team {mark} ", metadata={"team": mark})
    assert valid(vault) == {
        "id": vault.id,
        "object": "vault",
        "name": f"team {mark}",
        "metadata": {"team": mark},
        "created_at": vault.created_at,
    }
    assert vaults.retrieve(vault.id) == vault
    assert vaults.create().name is None
    assert vaults.update(vault.id, name=None).name is None
    changed = vaults.update(vault.id, metadata={})
    assert (changed.metadata, changed.created_at) == ({}, vault.created_at)
    with refused(400, param="name"):
        vaults.update(vault.id, name="  ")
    with refused(400, param="name"):
        vaults.create(name="ä" * 129)
    with refused(404):
        vaults.retrieve("vault_unknown")
    deleted = vaults.delete(vault.id)
    assert valid(deleted) == {"id": vault.id, "object": "vault.deleted", "deleted": True}
    for call in (vaults.retrieve, vaults.delete, vaults.credentials.list):
        with refused(404):
            call(vault.id)


def test_credential_crud(client, vault):
    credentials = client.beta.agents.vaults.credentials
    plain = add(client, vault, bearer("bearer-secret-1"), name=" n ", metadata={"a": "1"})
    assert valid(plain) == {
        "id": plain.id,
        "object": "vault.credential",
        "vault_id": vault.id,
        "name": "n",
        "metadata": {"a": "1"},
        "auth": {"type": "static_bearer", "mcp_server_url": SERVER},
        "created_at": plain.created_at,
        "updated_at": plain.updated_at,
    }
    signed = add(client, vault, oauth("access-secret-1", expires_at="2030-01-31T10:30:00+01:00", refresh=refresh()))
    assert valid(signed)["auth"] == {
        "type": "mcp_oauth",
        "mcp_server_url": SERVER,
        "expires_at": "2030-01-31T09:30:00Z",
        "refresh": {
            "token_endpoint": "https://as.example.com/token",
            "client_id": "client-1",
            "scope": "read write",
            "resource": SERVER,
            "token_endpoint_auth": {"type": "client_secret_post"},
        },
    }
    named = add(client, vault, variable("variable-secret-1"))
    assert valid(named)["auth"] == {
        "type": "environment_variable",
        "secret_name": "SERVICE_API_KEY",
        "networking": {"type": "limited", "allowed_hosts": ["api.example.com", "192.0.2.7"]},
    }
    assert credentials.retrieve(plain.id, vault_id=vault.id) == plain
    assert [found.id for found in credentials.list(vault.id, order="asc")] == [plain.id, signed.id, named.id]
    changed = credentials.update(plain.id, vault_id=vault.id, metadata={})
    assert changed.metadata == {} and changed.name == "n"
    deleted = credentials.delete(plain.id, vault_id=vault.id)
    assert valid(deleted) == {"id": plain.id, "object": "vault.credential.deleted", "deleted": True}
    with refused(404):
        credentials.retrieve(plain.id, vault_id=vault.id)


def test_secrets_never_returned(client, server, vault, mark):
    secrets = [f"{kind}-secret-{mark}" for kind in ("bearer", "access", "refresh", "client", "variable", "second")]
    first, access, renewing, of_client, value, second = secrets
    auth = {"type": "client_secret_basic", "client_secret": of_client}
    made = [
        add(client, vault, bearer(first)),
        add(client, vault, oauth(access, refresh=refresh(refresh_token=renewing, token_endpoint_auth=auth))),
        add(client, vault, variable(value)),
    ]
    client.beta.agents.vaults.credentials.update(
        made[0].id, vault_id=vault.id, auth={"type": "static_bearer", "token": second}
    )
    shown = [json.dumps(valid(credential)) for credential in made]
    for path in (f"/vaults/{vault.id}/credentials", f"/tenure/vaults/{vault.id}/credentials"):
        shown.append(raw(client, "GET", path).text)
    shown.append(raw(client, "GET", f"/vaults/{vault.id}/credentials/{made[1].id}").text)
    # Nor are they in an error about themselves.
    bad = {"name": "n", "auth": {"type": "static_bearer", "mcp_server_url": SERVER, "token": f"{first}\n"}}
    answer = raw(client, "POST", f"/vaults/{vault.id}/credentials", json=bad)
    assert answer.status_code == 400
    shown.append(answer.text)
    shown.append(server.process.tail(1_000_000))
    assert not [secret for secret in secrets if any(secret in text for text in shown)]
    files = [path for path in server.data.rglob("*") if path.is_file()]
    kept = [path for path in files for secret in secrets if secret.encode() in path.read_bytes()]
    assert kept == []


def test_credential_rotate(client, vault):
    credentials = client.beta.agents.vaults.credentials

    def rotate(credential, **auth):
        return credentials.update(credential.id, vault_id=vault.id, auth=auth)

    plain = add(client, vault, bearer("one"))
    rotated = rotate(plain, type="static_bearer", token="two")
    assert (rotated.id, rotated.auth) == (plain.id, plain.auth)
    expires = "2030-01-31T09:30:00Z"
    signed = add(client, vault, oauth("one", expires_at=expires, refresh=refresh()))
    # A new access token has another end, or one that is not known.
    assert rotate(signed, type="mcp_oauth", access_token="two").auth.expires_at is None
    assert rotate(signed, type="mcp_oauth", access_token="three", expires_at=expires).auth.expires_at == expires
    assert rotate(signed, type="mcp_oauth", refresh={"refresh_token": "r2"}).auth.expires_at == expires
    assert rotate(signed, type="mcp_oauth", refresh={"scope": None}).auth.refresh.scope is None
    assert rotate(signed, type="mcp_oauth", refresh={"scope": "admin"}).auth.refresh.scope == "admin"
    assert rotate(signed, type="mcp_oauth", expires_at=None).auth.expires_at is None
    secret = {"type": "client_secret_post", "client_secret": "c2"}
    rotate(signed, type="mcp_oauth", refresh={"token_endpoint_auth": secret})
    named = add(client, vault, variable("one"))
    assert rotate(named, type="environment_variable", secret_value="two").auth == named.auth
    # Kind, method and place stay, and an OAuth rotation changes something.
    with refused(400, param="auth.type"):
        rotate(plain, type="environment_variable", secret_value="two")
    with refused(400, param="auth"):
        rotate(signed, type="mcp_oauth")
    with refused(400, param="auth.refresh.token_endpoint_auth.type"):
        rotate(signed, type="mcp_oauth", refresh={"token_endpoint_auth": {"type": "client_secret_basic"}})
    with refused(400, param="auth.token"):
        rotate(plain, type="static_bearer", token="")
    with refused(400, param="auth.mcp_server_url"):
        rotate(plain, type="static_bearer", token="t", mcp_server_url="https://other.example/mcp")
    unrefreshed = add(client, vault, oauth("one"))
    with refused(400, param="auth.refresh"):
        rotate(unrefreshed, type="mcp_oauth", refresh={"refresh_token": "r"})


def test_vault_filters(client, mark):
    vaults = client.beta.agents.vaults
    made = [vaults.create(name=f"v{n} {mark}", metadata={"mark": mark, "n": str(n)}).id for n in range(5)]

    def listed(**filters):
        return [vault.id for vault in vaults.list(metadata={"mark": mark, **filters.pop("metadata", {})}, **filters)]

    assert listed() == made[::-1]
    assert listed(order="asc", limit=2) == made
    assert listed(metadata={"n": "3"}) == [made[3]]
    assert listed(metadata={"n": "9"}) == []
    assert listed(order="asc", after=made[2]) == made[3:]
    assert listed(status="active", order="asc") == made
    assert listed(status=["active", "archived"], order="asc") == made
    assert listed(status="archived") == []
    page = vaults.list(metadata={"mark": mark}, limit=2)
    assert page.has_more and len(page.data) == 2
    with refused(400, param="status"):
        listed(status="gone")
    vault = vaults.retrieve(made[0])
    for n in range(3):
        add(client, vault, bearer("token"), name=f"c{n}", metadata={"n": str(n)})
    found = client.beta.agents.vaults.credentials.list(vault.id, metadata={"n": "1"})
    assert [credential.name for credential in found] == ["c1"]
    assert list(client.beta.agents.vaults.credentials.list(vault.id, status="archived")) == []


def test_vault_delete_cascade(client, vault, mark):
    credentials = client.beta.agents.vaults.credentials
    inside = add(client, vault, bearer("token"))
    other = client.beta.agents.vaults.create(name=f"other {mark}")
    outside = add(client, other, bearer("token"))
    # A credential is found in its own vault alone.
    with refused(404):
        credentials.retrieve(inside.id, vault_id=other.id)
    client.beta.agents.vaults.delete(vault.id)
    for call in (credentials.retrieve, credentials.delete):
        with refused(404):
            call(inside.id, vault_id=vault.id)
    with refused(404):
        add(client, vault, bearer("token"))
    assert credentials.retrieve(outside.id, vault_id=other.id) == outside


def test_session_unknown_vault_404(client, vault, mark):
    unknown = vault.id[:-1] + ("0" if vault.id[-1] != "0" else "1")
    for vaults in ([unknown], ["vault_1"], [vault.id, unknown]):
        with refused(404):
            talk.create(client, f"say {mark}", vault_ids=vaults)
    session = talk.create(client, f"say {mark}", vault_ids=[vault.id])
    assert session.vault_ids == [vault.id]
    talk.ended(client, session.id)
    assert client.beta.agents.sessions.retrieve(session.id).vault_ids == [vault.id]


@pytest.mark.parametrize(
    ("auth", "param"),
    [
        (bearer(""), "auth.token"),
        (bearer("t", "http://mcp.example.com/mcp"), "auth.mcp_server_url"),
        (bearer("t", "not a url"), "auth.mcp_server_url"),
        (bearer("t", "https://user:pass@mcp.example.com/mcp"), "auth.mcp_server_url"),
        (oauth(""), "auth.access_token"),
        (oauth("t", expires_at="tomorrow"), "auth.expires_at"),
        (oauth("t", refresh=refresh(token_endpoint="http://as.example.com/t")), "auth.refresh.token_endpoint"),
        (oauth("t", refresh=refresh(token_endpoint="https://169.254.169.254/t")), "auth.refresh.token_endpoint"),
        (oauth("t", refresh=refresh(refresh_token="")), "auth.refresh.refresh_token"),
        (oauth("t", refresh=refresh(token_endpoint_auth={"type": "mtls"})), "auth.refresh.token_endpoint_auth.type"),
        (variable("v", name="1KEY"), "auth.secret_name"),
        (variable("v", name="KEY-1"), "auth.secret_name"),
        (variable("v", name="CODEX_HOME"), "auth.secret_name"),
        (variable("v", name="HTTPS_PROXY"), "auth.secret_name"),
        (variable("v", name="SSL_CERT_FILE"), "auth.secret_name"),
        (variable(""), "auth.secret_value"),
        (variable("a\nb"), "auth.secret_value"),
        (variable("v", networking={"type": "limited", "allowed_hosts": []}), "auth.networking.allowed_hosts"),
        (variable("v", networking={"type": "limited", "allowed_hosts": ["*.x.com"]}), "auth.networking.allowed_hosts[0]"),
        (variable("v", networking={"type": "open"}), "auth.networking.type"),
        ({"type": "basic"}, "auth.type"),
    ],
)
def test_credential_validation(client, vault, auth, param):
    with refused(400, param=param):
        add(client, vault, auth)
    assert list(client.beta.agents.vaults.credentials.list(vault.id)) == []


def test_vault_binding_conflicts(client, vault, mark):
    def open(credential_id=None, vaults=(vault.id,), **transport):
        more = {} if credential_id is None else {"credential_id": credential_id}
        tool = mcp("orders", SERVER, transport=transport, **more)
        return talk.create(client, f"say {mark}", agent={"tools": [tool]}, vault_ids=list(vaults))

    def bound(session):
        return session.agent.tools[0].credential_id

    assert bound(open()) is None
    one = add(client, vault, bearer("one"))
    assert bound(open()) == one.id
    # What the request itself brings comes first.
    assert bound(open(authorization="mine")) is None
    with refused(400, param="agent.tools[0].credential_id"):
        open(one.id, authorization="mine")
    two = add(client, vault, bearer("two"))
    with refused(409, param="agent.tools[0].credential_id"):
        open()
    assert bound(open(two.id)) == two.id
    elsewhere = add(client, vault, bearer("three", "https://mcp.example.com/mcp/"))
    with refused(400, param="agent.tools[0].credential_id"):
        open(elsewhere.id)
    with refused(400, param="agent.tools[0].credential_id"):
        open(one.id, vaults=())
    other = client.beta.agents.vaults.create()
    with refused(400, param="agent.tools[0].credential_id"):
        open(one.id, vaults=[other.id])
    # A saved agent may name one; it is looked for when a session is opened.
    agent = client.beta.agents.create(model="m1", tools=[mcp("orders", SERVER, credential_id=one.id)])
    session = talk.create(client, f"say {mark}", agent_id=agent.id, vault_ids=[vault.id])
    assert bound(session) == one.id
    with refused(400):
        talk.create(client, f"say {mark}", agent_id=agent.id)


def test_vault_variable_needs_restricted_network(client, vault, mark):
    add(client, vault, variable("value", networking={"type": "unrestricted"}))
    with refused(400, param="vault_ids"):
        talk.create(client, f"say {mark}", environment={"type": "openai_hosted"}, vault_ids=[vault.id])
    add(client, vault, variable("value"), name="again")
    network = {"access": "restricted", "allowed_domains": ["api.example.com"]}
    with refused(409, param="vault_ids"):
        environment = {"type": "openai_hosted", "network": network}
        talk.create(client, f"say {mark}", environment=environment, vault_ids=[vault.id])


def test_vault_authorization_sent_and_hidden(client, upstream, orders, server, vault, mark):
    token = f"vault-secret-{mark}"
    credential = add(client, vault, bearer(token, orders.url))
    tool = mcp("orders", orders.url, request_metadata={"mark": mark})
    events = talk.stream(client, f"order ord_1042 {mark}", agent={"tools": [tool]}, vault_ids=[vault.id])
    session = events[0].session
    assert session.agent.tools[0].credential_id == credential.id
    sent = [seen.headers.get("authorization") for seen in orders.calls(mark)]
    assert sent and set(sent) == {f"Bearer {token}"}
    shown = [event.to_json() for event in events]
    for path in ("", "/items", "/turns", "/traces"):
        shown.append(raw(client, "GET", f"/agents/sessions/{session.id}{path}").text)
    shown += [call.body.decode() for call in upstream.calls(mark)]
    shown.append(server.process.tail(1_000_000))
    assert not [text for text in shown if token in text]
    # Rotated, the next use sends the new one; deleted, the next use fails.
    credentials = client.beta.agents.vaults.credentials
    credentials.update(credential.id, vault_id=vault.id, auth={"type": "static_bearer", "token": f"new-{token}"})
    talk.turn(client, session.id, f"order ord_1042 again{mark}")
    assert f"Bearer new-{token}" in [seen.headers.get("authorization") for seen in orders.seen]
    credentials.delete(credential.id, vault_id=vault.id)
    talk.turn(client, session.id, f"order ord_1042 third{mark}")
    last = talk.items(client, session.id, "mcp_call")[-1]
    assert last.status == "failed" and "deleted" in json.dumps(valid(last)["error"])
