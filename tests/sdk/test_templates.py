"""Environment templates: reusable settings whose secrets are never read back."""

import base64

import pytest
from openai.types.beta.agents.environments import EnvironmentTemplate

from harness import talk, wait
from harness.shape import raw, refused, valid_as
from test_automations import delivered, new_session, periodic
from test_environments import HOSTED, command, finished, inline, paths

SECRET = "a-value-nobody-reads-back"


def shaped(template):
    return valid_as(EnvironmentTemplate, template.to_dict(mode="json", exclude_unset=True, use_api_names=True))


def create(client, mark, **changes):
    fields = {
        "name": f"reports {mark}",
        "network": {"access": "disabled"},
        "files": [inline("/workspace/in.txt", mark)],
        "setup_commands": [{"command": f"cat in.txt > made.txt # {SECRET}"}],
        "env": {"GREETING": SECRET},
    }
    return client.beta.agents.environments.templates.create(**{**fields, **changes})


def of(template, **changes):
    return {"type": "openai_hosted", "environment_template_id": template.id, **changes}


def test_template_crud(client, mark):
    templates = client.beta.agents.environments.templates
    made = create(client, mark)
    shown = shaped(made)
    assert shown == {
        "id": made.id,
        "object": "agent.environment.template",
        "name": f"reports {mark}",
        "created_at": made.created_at,
        "updated_at": made.created_at,
        "network": {"access": "disabled", "allowed_domains": []},
        "packages": {"python": [], "npm": [], "system": []},
        "files": [{"type": "inline", "path": "/workspace/in.txt", "size_bytes": len(mark)}],
        "skills": [],
        "plugins": [],
        "capability_directories": [],
        "desktop": {"enabled": False},
    }
    assert len(made.id) <= 64
    assert shaped(templates.retrieve(made.id)) == shown

    # What is omitted stays, a null resets.
    changed = templates.update(made.id, name=None, network={"access": "restricted", "allowed_domains": ["a.example"]})
    assert changed.name is None and changed.files == made.files and changed.updated_at >= made.created_at
    assert (changed.network.access, changed.network.allowed_domains) == ("restricted", ["a.example"])
    reset = templates.update(made.id, network=None, files=None)
    assert (reset.network.access, reset.files) == ("disabled", [])

    assert templates.delete(made.id).to_dict() == {
        "id": made.id,
        "object": "agent.environment.template.deleted",
        "deleted": True,
    }
    for call in (templates.retrieve, templates.delete, templates.update):
        with refused(404):
            call(made.id)


def test_template_list(client, mark):
    templates = client.beta.agents.environments.templates
    made = [create(client, f"{mark} {number}").id for number in range(3)]
    listed = [one.id for one in templates.list(limit=2)]
    assert [one for one in listed if one in made] == made[::-1]
    assert [one.id for one in templates.list(order="asc", after=made[0]) if one.id in made] == made[1:]


def test_template_secrets_hidden(client, mark):
    made = create(client, mark)
    path = f"/agents/environments/templates/{made.id}"
    for response in (raw(client, "GET", path), raw(client, "POST", path, {"name": "x"})):
        assert response.status_code == 200
        assert SECRET not in response.text and "setup" not in response.text and '"env"' not in response.text
        assert base64.b64encode(mark.encode()).decode() not in response.text


@pytest.mark.parametrize(
    "body, param",
    [
        ({"container_size": "small"}, "container_size"),
        ({"network": {"access": "enabled"}}, None),
        ({"network": {"access": "restricted", "allowed_domains": ["*.example"]}}, None),
        ({"packages": {"python": ["x"]}}, "packages.python"),
        ({"packages": {"system": ["git"]}}, "packages.system"),
        ({"skills": [{"type": "skill_reference"}]}, "skills[0].skill_id"),
        ({"files": [inline("/etc/passwd", "x")]}, "files[0].path"),
        ({"colour": 1}, "colour"),
    ],
)
def test_template_validation(client, mark, body, param):
    made = create(client, mark)
    for path in ("/agents/environments/templates", f"/agents/environments/templates/{made.id}"):
        response = raw(client, "POST", path, body)
        assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text


def test_template_create_is_idempotent(client, mark):
    headers = {"Idempotency-Key": f"key-{mark}"}
    first, again = (create(client, mark, extra_headers=headers) for _ in range(2))
    assert first.id == again.id


def test_session_of_a_template(client, mark):
    templates = client.beta.agents.environments.templates
    template = create(client, mark)
    session = finished(client, f"run cat made.txt; echo; echo $GREETING # {mark}", of(template))
    assert command(client, session.id).output.split() == [mark, SECRET]
    assert session.environment.network.access == "disabled"
    # A member of the session replaces the template's, and leaves the others.
    other = of(template, env={"GREETING": "hello"}, container_size="small")
    session = finished(client, f"run cat made.txt; echo; echo $GREETING # {mark} 2", other)
    assert command(client, session.id).output.split() == [mark, "hello"]
    assert session.environment.container_size == "small"
    # What a session began with stays, whatever becomes of the template.
    templates.update(template.id, files=None, setup_commands=None)
    templates.delete(template.id)
    assert [file.path for file in client.beta.agents.sessions.retrieve(session.id).environment.files] == [
        "/workspace/in.txt"
    ]
    talk.turn(client, session.id, f"run cat made.txt # {mark} 3")
    assert command(client, session.id).output == mark
    with refused(404, param="environment.environment_template_id"):
        client.beta.agents.sessions.create(agent={"model": "m1"}, environment=of(template), input="say x")


def test_a_session_reaches_no_further_than_its_template(client, mark):
    sessions = client.beta.agents.sessions
    closed = create(client, mark)
    narrow = create(client, mark, network={"access": "restricted", "allowed_domains": ["a.example", "b.example"]})
    for template, network, says in [
        (closed, {"access": "enabled"}, "'enabled'"),
        (closed, {"access": "restricted", "allowed_domains": ["a.example"]}, "'restricted'"),
        (narrow, {"access": "restricted", "allowed_domains": ["a.example", "c.example"]}, "the host 'c.example'"),
        (narrow, {"access": "enabled"}, "'enabled'"),
    ]:
        with refused(400, param="environment.network", code="network_not_allowed", says=says):
            sessions.create(agent={"model": "m1"}, environment=of(template, network=network), input="say x")
    session = sessions.create(
        agent={"model": "m1"},
        environment=of(narrow, network={"access": "restricted", "allowed_domains": ["b.example"]}),
    )
    assert session.environment.network.allowed_domains == ["b.example"]


def test_automation_with_an_environment(client, mark):
    automations = client.beta.agents.automations
    template = create(client, mark)
    environment = of(template, env={"GREETING": SECRET + mark})
    made = periodic(client, new_session(f"run cat made.txt; echo; echo $GREETING # {mark}", environment=environment))
    shown = made.target.environment
    assert (shown.type, shown.environment_template_id, shown.files, shown.network) == (
        "openai_hosted",
        template.id,
        None,
        None,
    )
    assert SECRET not in raw(client, "GET", f"/agents/automations/{made.id}").text
    for _ in range(2):
        invocation = delivered(client, made, automations.invocations.create(made.id).id)
        assert invocation.status == "completed", invocation
        wait.until(lambda: talk.ended(client, invocation.session_id), "the turn to end")
        assert command(client, invocation.session_id).output.split() == [mark, SECRET + mark]
    # The template is looked up for each session anew.
    client.beta.agents.environments.templates.update(template.id, setup_commands=[{"command": "echo new > made.txt"}])
    invocation = delivered(client, made, automations.invocations.create(made.id).id)
    talk.ended(client, invocation.session_id)
    assert command(client, invocation.session_id).output.split()[0] == "new"
    client.beta.agents.environments.templates.delete(template.id)
    invocation = delivered(client, made, automations.invocations.create(made.id).id)
    assert (invocation.status, invocation.error.code) == ("failed", "resource_not_found")


def test_automation_with_settings_of_its_own(client, mark):
    files = [inline("/workspace/in.txt", mark)]
    environment = {**HOSTED, "files": files, "container_size": "small"}
    made = periodic(client, new_session(f"run cat in.txt # {mark}", environment=environment))
    shown = made.target.environment
    assert (shown.container_size, shown.network.access) == ("small", "disabled")
    assert [(file.type, file.path, file.size_bytes) for file in shown.files] == [
        ("inline", "/workspace/in.txt", len(mark))
    ]
    invocation = delivered(client, made, client.beta.agents.automations.invocations.create(made.id).id)
    talk.ended(client, invocation.session_id)
    session = client.beta.agents.sessions.retrieve(invocation.session_id)
    assert command(client, session.id).output == mark
    assert paths(client, session.environment.id) == ["/workspace/in.txt"]
    for wrong, param in [
        ({**HOSTED, "network": {"access": "enabled"}}, "target.environment"),
        ({**HOSTED, "environment_template_id": "envtmpl_0"}, "target.environment.environment_template_id"),
        ({**HOSTED, "packages": {"python": ["x"]}}, "target.environment.packages.python"),
        ({"type": "self_hosted", "workspace_directory": "/w"}, "target.environment.type"),
    ]:
        with refused(404 if "template" in param else 400, param=param):
            periodic(client, new_session("say x", environment=wrong))
