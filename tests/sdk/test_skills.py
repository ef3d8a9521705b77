"""Skills: what the SDK's `client.skills` needs, and skills, plugins and capability directories in environments."""

import base64
import io
import json
import zipfile

import pytest

from harness import talk, wait
from harness.server import Server
from harness.shape import raw, refused, valid

HOSTED = {"type": "openai_hosted", "network": {"access": "disabled"}}


def manifest(name, description="Adds numbers."):
    return f"---\nname: {name}\ndescription: {description}\n---\n# {name}\nUse `scripts/add.sh`.\n"


def folder(name, description="Adds numbers.", **files):
    """A skill's files as a client sends them."""
    files = {"SKILL.md": manifest(name, description), "scripts/add.sh": "#!/bin/sh\necho $(($1 + $2))\n", **files}
    return [(f"any_folder/{path}", content.encode()) for path, content in files.items()]


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files:
            entry = zipfile.ZipInfo(path)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100755 if content.startswith(b"#!") else 0o100644) << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def unzipped(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name).decode() for name in archive.namelist()}


def inline(name, archive, description="Adds numbers."):
    data = base64.b64encode(archive).decode()
    source = {"type": "base64", "media_type": "application/zip", "data": data}
    return {"type": "inline", "name": name, "description": description, "source": source}


def reference(skill, **version):
    return {"type": "skill_reference", "skill_id": skill.id, **version}


def plugin_files(name, *skills):
    about = json.dumps({"name": name, "description": "Counts."})
    files = [(f"p/skills/{skill}/SKILL.md", manifest(skill).encode()) for skill in skills]
    return [("p/.codex-plugin/plugin.json", about.encode()), *files]


def finished(client, text, environment):
    session = talk.create(client, text, environment=environment)
    talk.ended(client, session.id)
    return client.beta.agents.sessions.retrieve(session.id)


def output(client, session_id):
    return talk.items(client, session_id, "command_execution")[-1].output


def told(upstream, mark):
    """What the model was told beside the agent's own instructions: the lines of the index of skills."""
    requests = [seen.json for seen in upstream.calls(mark)]
    instructions = {request.get("instructions") or "" for request in requests}
    assert len(instructions) == 1, "it does not change from step to step"
    return [line for line in instructions.pop().split("\n") if line.startswith("- ")]


def test_skill_crud(client, mark):
    skill = client.skills.create(files=folder("sum"))
    assert valid(skill) == {
        "id": skill.id,
        "object": "skill",
        "created_at": skill.created_at,
        "name": "sum",
        "description": "Adds numbers.",
        "default_version": "1",
        "latest_version": "1",
    }
    assert client.skills.retrieve(skill.id) == skill
    assert skill.id in [one.id for one in client.skills.list()]
    content = unzipped(client.skills.content.retrieve(skill.id).read())
    assert content == {f"sum/{path[11:]}": text.decode() for path, text in folder("sum")}
    assert valid(client.skills.delete(skill.id)) == {"id": skill.id, "object": "skill.deleted", "deleted": True}
    for gone in (client.skills.retrieve, client.skills.delete, client.skills.content.retrieve):
        with refused(404, kind="not_found_error"):
            gone(skill.id)
    with refused(404):
        client.skills.versions.retrieve("1", skill_id=skill.id)


def test_skill_from_a_zip_is_the_same_as_from_files(client, tmp_path):
    by_files = client.skills.create(files=folder("sum"))
    by_zip = client.skills.create(files=("sum.zip", zipped(folder("sum")), "application/zip"))
    file = tmp_path / "SKILL.md"
    file.write_text(manifest("alone"))
    by_path = client.skills.create(files=[file])
    read = lambda skill: client.skills.content.retrieve(skill.id).read()
    assert unzipped(read(by_files)) == unzipped(read(by_zip))
    assert unzipped(read(by_path)) == {"alone/SKILL.md": manifest("alone")}
    for skill in (by_files, by_zip, by_path):
        client.skills.delete(skill.id)


def test_skill_versions(client):
    versions = client.skills.versions
    skill = client.skills.create(files=folder("sum"))
    second = versions.create(skill.id, files=folder("sum-2", "Adds two."))
    assert valid(second) == {
        "id": second.id,
        "object": "skill.version",
        "created_at": second.created_at,
        "skill_id": skill.id,
        "version": "2",
        "name": "sum-2",
        "description": "Adds two.",
    }
    third = versions.create(skill.id, files=("x.zip", zipped(folder("sum-3"))), default=True)
    now = client.skills.retrieve(skill.id)
    assert (now.name, now.default_version, now.latest_version) == ("sum-3", "3", "3")
    assert [one.version for one in versions.list(skill.id)] == ["3", "2", "1"]
    assert [one.version for one in versions.list(skill.id, order="asc", limit=1)] == ["1", "2", "3"]
    assert versions.retrieve("2", skill_id=skill.id) == second
    assert "sum-2/SKILL.md" in unzipped(versions.content.retrieve("2", skill_id=skill.id).read())
    updated = client.skills.update(skill.id, default_version="2")
    assert (updated.name, updated.default_version, updated.latest_version) == ("sum-2", "2", "3")
    assert "sum-2/SKILL.md" in unzipped(client.skills.content.retrieve(skill.id).read())
    with refused(400, param="default_version"):
        client.skills.update(skill.id, default_version="9")
    with refused(400, param="default_version"):
        client.skills.update(skill.id, default_version="newest")
    with refused(409, kind="conflict_error"):
        versions.delete("2", skill_id=skill.id)
    gone = versions.delete("3", skill_id=skill.id)
    assert valid(gone) == {"id": third.id, "object": "skill.version.deleted", "deleted": True, "version": "3"}
    assert client.skills.retrieve(skill.id).latest_version == "2"
    for wrong in ("3", "9", "0", "x"):
        with refused(404):
            versions.retrieve(wrong, skill_id=skill.id)
    # A number is not used again, and the last version takes the skill with it.
    assert versions.create(skill.id, files=folder("sum-4")).version == "4"
    versions.delete("4", skill_id=skill.id)
    versions.delete("1", skill_id=skill.id)
    versions.delete("2", skill_id=skill.id)
    with refused(404):
        client.skills.retrieve(skill.id)


def test_skill_list_pages(own_server):
    client = own_server.client
    ids = [client.skills.create(files=folder(f"s{number}")).id for number in range(4)]
    assert [skill.id for skill in client.skills.list(limit=2)] == ids[::-1]
    page = client.skills.list(order="asc", after=ids[0], limit=2)
    assert ([skill.id for skill in page.data], page.has_more) == (ids[1:3], True)


@pytest.mark.parametrize(
    "files, status, code, says",
    [
        ([("x/README.md", b"hi")], 400, "invalid_manifest", "holds `SKILL.md`"),
        ([("x/SKILL.md", b"# hi")], 400, "invalid_manifest", "must begin with front matter"),
        ([("x/SKILL.md", b"---\nname: X\ndescription: y\n---\n")], 400, "invalid_manifest", "lower-case"),
        ([("x/SKILL.md", b"---\nname: x\n---\n")], 400, "invalid_manifest", "has no `description`"),
        ([*folder("x"), ("../evil", b"x")], 400, "invalid_archive", "`..`"),
        ([*folder("x"), ("/etc/evil", b"x")], 400, "invalid_archive", "absolute"),
        (("x.zip", zipped([*folder("x"), ("../evil", b"x")])), 400, "invalid_archive", "`..`"),
        (("x.zip", b"PK but no zip"), 400, "invalid_archive", "no end"),
        ([*folder("x"), *((f"any_folder/{n}", b"") for n in range(500))], 413, "files_too_large", "500 files"),
        ([*folder("x"), ("any_folder/big", bytes(26 * 1024 * 1024))], 413, "files_too_large", "larger than"),
        ([*folder("x"), *((f"any_folder/{n}", bytes(20 << 20)) for n in range(3))], 413, None, "Leave out"),
    ],
)
def test_skill_mistakes(client, files, status, code, says):
    with refused(status, code=code or ..., says=says):
        client.skills.create(files=files)
    with refused(404):
        client.skills.versions.create("skill_0", files=folder("x"))


def test_skill_idempotency(client, mark):
    again = {"extra_headers": {"Idempotency-Key": mark}}
    skill = client.skills.create(files=folder("sum"), **again)
    assert client.skills.create(files=("x.zip", zipped(folder("sum"))), **again) == skill, "the same skill, packed"
    with refused(409, code="idempotency_mismatch"):
        client.skills.create(files=folder("other"), **again)


def test_skill_reference(client, upstream, mark):
    skill = client.skills.create(files=folder("sum"))
    client.skills.versions.create(skill.id, files=folder("sum", f"Adds {mark}."))
    there = "/workspace/.managed-agents/skills/sum"
    text = f"run {there}/scripts/add.sh 2 3; grep description {there}/SKILL.md # {mark}"
    shown = lambda session: valid(session)["environment"]["skills"]
    latest = finished(client, text, {**HOSTED, "skills": [reference(skill, version="latest")]})
    assert output(client, latest.id) == f"5\ndescription: Adds {mark}.\n"
    assert shown(latest) == [
        {"type": "skill_reference", "name": "sum", "description": f"Adds {mark}.", "skill_id": skill.id, "version": "2"}
    ]
    assert told(upstream, mark) == [f"- sum: Adds {mark}. (file: {there}/SKILL.md)"]
    info = raw(client, "GET", f"/agents/environments/{latest.environment.id}").json()
    assert info["skills"] == shown(latest)
    # The default where no version is named; and what is deleted later stays where it was installed.
    default = client.beta.agents.sessions.create(
        agent={"model": "m1"}, environment={**HOSTED, "skills": [reference(skill)]}
    )
    assert [one["version"] for one in shown(default)] == ["1"]
    client.skills.delete(skill.id)
    talk.turn(client, default.id, f"run {there}/scripts/add.sh 20 3 # default {mark}")
    assert output(client, default.id) == "23\n"
    for wrong, status, param in (
        (reference(skill), 404, "skill_id"),
        ({**reference(skill), "skill_id": "skill-x"}, 404, "skill_id"),
    ):
        with refused(status, param=f"environment.skills[0].{param}"):
            finished(client, "say x", {**HOSTED, "skills": [wrong]})
    other = client.skills.create(files=folder("sum"))
    with refused(400, param="environment.skills[0].version"):
        finished(client, "say x", {**HOSTED, "skills": [reference(other, version="2")]})
    with refused(400, param="environment.skills[1]", says="is named 'sum'"):
        finished(client, "say x", {**HOSTED, "skills": [reference(other), reference(other)]})


def test_inline_skill_and_plugin(client, upstream, mark):
    skill = inline("sum", zipped(folder("sum")))
    plugin = inline("maths", zipped(plugin_files("maths", "times", "minus")), "Counts.")
    environment = {**HOSTED, "skills": [skill], "plugins": [plugin]}
    text = f"run .managed-agents/skills/sum/scripts/add.sh 1 1; cat .managed-agents/plugins/maths/.codex-plugin/* # {mark}"
    session = finished(client, text, environment)
    assert output(client, session.id) == "2\n" + json.dumps({"name": "maths", "description": "Counts."})
    shown = valid(session)["environment"]
    assert shown["skills"] == [{"type": "inline", "name": "sum", "description": "Adds numbers."}]
    assert shown["plugins"] == [{"type": "inline", "name": "maths", "description": "Counts."}]
    at = "/workspace/.managed-agents"
    assert told(upstream, mark) == [
        f"- sum: Adds numbers. (file: {at}/skills/sum/SKILL.md)",
        f"- minus: Adds numbers. (file: {at}/plugins/maths/skills/minus/SKILL.md)",
        f"- times: Adds numbers. (file: {at}/plugins/maths/skills/times/SKILL.md)",
    ]


@pytest.mark.parametrize(
    "member, given, param, code",
    [
        ("skills", inline("add", zipped(folder("sum"))), "skills[0].name", "capability_mismatch"),
        ("skills", inline("sum", zipped(folder("sum")), "Else."), "skills[0].description", "capability_mismatch"),
        ("skills", inline("sum", b"PK"), "skills[0].source.data", "invalid_archive"),
        ("skills", inline("sum", zipped([("a/../../b", b"")])), "skills[0].source.data", "invalid_archive"),
        ("plugins", inline("sum", zipped(folder("sum"))), "plugins[0].source.data", "invalid_manifest"),
        ("plugins", inline("x", zipped(plugin_files("maths")), "Counts."), "plugins[0].name", "capability_mismatch"),
        ("capability_directories", "/etc", "capability_directories[0]", "invalid_path"),
    ],
)
def test_what_is_refused(client, member, given, param, code):
    with refused(400, param=f"environment.{param}", code=code):
        finished(client, "say x", {**HOSTED, member: [given]})


def test_archives_of_a_request_are_bounded_together(client):
    """Kilobytes that unpack to megabytes, each within the limits of one."""
    bomb = lambda name: inline(name, zipped([*folder(name), ("any_folder/zeros", bytes(15 << 20))]))
    with refused(413, param="environment.skills[3].source.data", says="/v1/skills"):
        finished(client, "say x", {**HOSTED, "skills": [bomb(f"s{number}") for number in range(5)]})


def test_capability_directories(client, upstream, mark):
    """Skills that files and setup commands bring along are found once the environment is ready."""
    put = lambda path, text: {"type": "inline", "path": path, "data": base64.b64encode(text.encode()).decode()}
    environment = {
        **HOSTED,
        "files": [put("/workspace/repo/.agents/skills/a/SKILL.md", manifest("placed", f"Is {mark}."))],
        "setup_commands": [
            {"command": "mkdir -p made/b made/wrong && cp repo/.agents/skills/a/SKILL.md made/wrong/"},
            {"command": "sed s/placed/made/ made/wrong/SKILL.md > made/b/SKILL.md; echo x > made/wrong/SKILL.md"},
            {"command": "ln -s ../repo made/link"},
        ],
        "capability_directories": ["/workspace/made", "/workspace/repo/.agents/skills", "/workspace/none"],
    }
    session = finished(client, f"run cat made/b/SKILL.md | head -2 # {mark}", environment)
    assert output(client, session.id) == "---\nname: made\n"
    assert valid(session)["environment"]["capability_directories"] == environment["capability_directories"]
    assert told(upstream, mark) == [
        f"- made: Is {mark}. (file: /workspace/made/b/SKILL.md)",
        f"- placed: Is {mark}. (file: /workspace/repo/.agents/skills/a/SKILL.md)",
    ]


def test_no_skills_no_words(client, upstream, mark):
    finished(client, f"run true # {mark}", HOSTED)
    assert told(upstream, mark) == []
    assert all("Skills" not in (seen.json.get("instructions") or "") for seen in upstream.calls(mark))


def test_restart_while_skills_are_unpacked(tmp_path, upstream, mark):
    """Preparing begins anew: nothing of the first try is left, and the skill is there whole."""
    server = Server(tmp_path, upstream.url)
    try:
        client = server.client
        skill = client.skills.create(files=folder("sum"))
        setup = [{"command": "echo x >> log; sleep 2"}]
        environment = {**HOSTED, "skills": [reference(skill)], "setup_commands": setup}
        text = f"run cat log; .managed-agents/skills/sum/scripts/add.sh 4 5 # {mark}"
        session = talk.create(client, text, environment=environment)
        copy = server.data / "environments" / session.environment.id / "files"
        wait.until((copy / "log").exists, "the setup command to write")
        server.kill()
        (copy / ".managed-agents/skills/sum/SKILL.md").write_text("half")
        server.start()
        talk.ended(server.client, session.id)
        assert output(server.client, session.id) == "x\n9\n"
        assert server.client.skills.retrieve(skill.id) == skill
    finally:
        server.stop()


def test_skills_of_a_project(own_server, upstream, mark):
    """An agent of the project's files has the skills it names, as they were when its version was made."""
    project = own_server.project
    skill = project / "skills" / "sum"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(manifest("sum", f"Adds {mark}."))
    (skill / "add.sh").write_text("#!/bin/sh\necho first $(($1 + $2))\n")
    (project / "agents" / "adder.md").write_text("---\nmodel: m1\nskills: [sum]\n---\nAdd.\n")
    own_server.restart()
    first = own_server.client.beta.agents.sessions.create(agent_id="adder", environment=HOSTED)
    assert [one.to_dict() for one in first.environment.skills] == [
        {"type": "inline", "name": "sum", "description": f"Adds {mark}."}
    ]
    (skill / "add.sh").write_text("#!/bin/sh\necho second $(($1 + $2))\n")
    own_server.restart()
    sessions = own_server.client.beta.agents.sessions
    command = f"run .managed-agents/skills/sum/add.sh 1 2 # {mark}"
    second = sessions.create(agent_id="adder", environment=HOSTED)
    for session, expected in ((first, "first 3\n"), (second, "second 3\n")):
        talk.turn(own_server.client, session.id, command)
        assert output(own_server.client, session.id) == expected
    assert told(upstream, mark) == [f"- sum: Adds {mark}. (file: /workspace/.managed-agents/skills/sum/SKILL.md)"]
    # What the request brings takes the place of what the agent has.
    other = inline("sum", zipped(folder("sum", "Else.")), "Else.")
    third = sessions.create(agent_id="adder", environment={**HOSTED, "skills": [other]})
    assert [one.description for one in third.environment.skills] == ["Else."]
    assert sessions.create(agent_id="adder", environment=talk.NONE, input=f"say none {mark}").environment.type == "none"


def test_skill_of_a_template_and_of_a_prewarmed_environment(client, mark):
    """A template is resolved for each session anew; an environment without a session keeps what it was given."""
    skill = client.skills.create(files=folder("sum"))
    file = client.files.create(file=("in.txt", mark.encode()), purpose="user_data")
    asked = {
        "files": [{"type": "file_id", "file_id": file.id, "path": "/workspace/in.txt"}],
        "skills": [reference(skill)],
        "plugins": [inline("tools", zipped(plugin_files("tools", "count")), "Counts.")],
        "capability_directories": ["/workspace/more"],
    }
    template = client.beta.agents.environments.templates.create(**asked)
    waiting = client.beta.agents.environments.create(environment={"type": "openai_hosted", **asked})
    assert [shown.to_dict() for shown in template.files] == asked["files"]
    assert [(shown.skill_id, shown.version) for shown in template.skills] == [(skill.id, "1")]
    assert [shown.name for shown in template.plugins] == ["tools"]
    assert template.capability_directories == ["/workspace/more"]
    client.skills.versions.create(skill.id, files=folder("sum", "Adds more."), default=True)
    # A template means what its skill is when a session is opened, an environment what it was when it was asked for.
    for environment, version in (
        ({"type": "openai_hosted", "environment_template_id": template.id}, "2"),
        ({"type": "openai_hosted", "environment_id": waiting.id}, "1"),
    ):
        text = f"run cat in.txt; sh .managed-agents/skills/sum/scripts/add.sh 40 2 # {mark}"
        session = finished(client, text, environment)
        assert output(client, session.id) == f"{mark}42\n"
        assert [(skill.name, skill.version) for skill in session.environment.skills] == [("sum", version)]
        assert [plugin.name for plugin in session.environment.plugins] == ["tools"]
    client.files.delete(file.id)
    with refused(400, code="file_not_found", param="environment.files"):
        finished(client, "say x", {"type": "openai_hosted", "environment_template_id": template.id})
    # Null takes them out again, and a newer version comes with an update.
    templates = client.beta.agents.environments.templates
    changed = templates.update(template.id, skills=[reference(skill)], plugins=None, files=None)
    assert [(shown.skill_id, shown.version) for shown in changed.skills] == [(skill.id, "2")]
    assert (changed.plugins, changed.files) == ([], [])
    assert changed.capability_directories == ["/workspace/more"]
    with refused(404, param="files[0].file_id"):
        templates.update(template.id, files=asked["files"])
    changed = templates.update(template.id, skills=[reference(skill, version="latest")])
    assert [shown.version for shown in changed.skills] == ["latest"]
    client.skills.versions.create(skill.id, files=folder("sum", "Adds most."))
    of_template = {"type": "openai_hosted", "environment_template_id": template.id}
    assert [skill.version for skill in finished(client, "say x", of_template).environment.skills] == ["3"]
    client.skills.delete(skill.id)
    with refused(400, code="skill_not_found", param="environment.skills"):
        finished(client, "say x", of_template)


def test_skills_of_an_agent_in_a_prewarmed_environment(own_server, upstream, mark):
    """They are put there when the agent's session is opened in it, whether it is ready yet or not."""
    skill = own_server.project / "skills" / "sum"
    skill.mkdir(parents=True)
    (skill / "SKILL.md").write_text(manifest("sum", f"Adds {mark}."))
    (own_server.project / "agents" / "adder.md").write_text("---\nmodel: m1\nskills: [sum]\n---\nAdd.\n")
    own_server.restart()
    client = own_server.client
    there = "/workspace/.managed-agents/skills/sum/SKILL.md"
    for setup in ("true", "sleep 1"):
        environment = client.beta.agents.environments.create(
            environment={**HOSTED, "setup_commands": [{"command": f"echo kept > kept; {setup}"}]}
        )
        if setup == "true":
            look = lambda: client.beta.agents.environments.retrieve(environment.id).status
            wait.until(lambda: look() == "ready", "the environment to be ready")
        session = client.beta.agents.sessions.create(
            agent_id="adder",
            environment={"type": "openai_hosted", "environment_id": environment.id},
            input=f"run cat kept; grep -c {mark} {there} # {mark}{len(setup)}",
        )
        assert [turn.status for turn in talk.ended(client, session.id)] == ["completed"]
        assert output(client, session.id) == "kept\n1\n"
        assert told(upstream, f"{mark}{len(setup)}") == [f"- sum: Adds {mark}. (file: {there})"]
        assert [one.name for one in session.environment.skills] == ["sum"]
