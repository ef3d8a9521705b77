"""Saved agents."""

from harness import talk
from harness.shape import refused, valid

NO_TEXT = {"format": {"type": "text"}, "verbosity": "medium"}

TOOLS = [
    {
        "type": "function",
        "name": "get_weather",
        "description": "Weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
        "defer_loading": True,
        "async": True,
    },
    {"type": "tool_search"},
    {"type": "programmatic_tool_calling", "enabled": False},
    {
        "type": "mcp",
        "server_label": "orders",
        "transport": {"type": "http", "server_url": "https://mcp.example/mcp", "headers": {"x-team": "a"}},
        "allowed_tools": ["get_order"],
        "connection_origin": "service",
        "required": True,
        "request_metadata": {"team": "a"},
    },
    {
        "type": "web_search",
        "mode": "cached",
        "context_size": "low",
        "allowed_domains": ["a.example"],
        "location": {"city": "Paris", "country": "FR"},
    },
    {"type": "computer_use", "include_screenshots": True},
    {"type": "automations"},
]


def test_agent_defaults(client):
    made = valid(client.beta.agents.create(model="m1"))
    assert {key: value for key, value in made.items() if key not in ("id", "created_at", "updated_at")} == {
        "object": "agent",
        "model": "m1",
        "name": None,
        "instructions": None,
        "metadata": {},
        "tools": [],
        "reasoning": {"effort": None, "summary": None},
        "text": NO_TEXT,
        "service_tier": "auto",
        "multi_agent": {"enabled": False, "max_concurrent_subagents": None},
        "compaction": {"async": False},
        "experimental": {"time_awareness": False},
    }
    assert made["id"].startswith("agt_") and len(made["id"]) <= 64
    assert isinstance(made["created_at"], int)
    assert valid(client.beta.agents.retrieve(made["id"])) == made
    many = client.beta.agents.create(model="m1", multi_agent={"enabled": True})
    assert many.multi_agent.max_concurrent_subagents == 6


def test_agent_roundtrip_tools(client):
    made = client.beta.agents.create(model="m1", tools=TOOLS)
    kept = valid(client.beta.agents.retrieve(made.id))["tools"]
    assert [tool["type"] for tool in kept] == [tool["type"] for tool in TOOLS]
    for sent, tool in zip(TOOLS, kept):
        for key, value in sent.items():
            if isinstance(value, dict):
                assert value.items() <= tool[key].items(), (key, tool)
            else:
                assert tool[key] == value, (key, tool)
    plain = client.beta.agents.create(
        model="m1",
        tools=[
            talk.function(),
            {"type": "programmatic_tool_calling"},
            {"type": "web_search"},
            {"type": "mcp", "server_label": "a", "transport": {"type": "http", "server_url": "https://a.example"}},
        ],
    )
    function, programs, search, mcp = valid(plain)["tools"]
    assert function["defer_loading"] is False
    assert programs["enabled"] is True
    assert (search["mode"], search["context_size"]) == ("live", "medium")
    defaults = {"allowed_tools": None, "connection_origin": "service", "credential_id": None, "required": False}
    assert {**defaults, "request_metadata": {}}.items() <= mcp.items()


def test_agent_update_semantics(client):
    agents = client.beta.agents
    made = agents.create(
        model="m1",
        name="before",
        instructions="Be brief.",
        metadata={"a": "1", "b": "2"},
        tools=[talk.function()],
        reasoning={"effort": "high", "summary": "auto"},
        text={"verbosity": "low"},
        service_tier="flex",
        experimental={"time_awareness": True},
    )
    kept = agents.update(made.id, name="after")
    assert (kept.name, kept.instructions, kept.metadata) == ("after", "Be brief.", {"a": "1", "b": "2"})
    assert (kept.reasoning.effort, kept.text.verbosity, kept.service_tier) == ("high", "low", "flex")
    # Objects and arrays are replaced whole.
    whole = agents.update(made.id, metadata={"c": "3"}, reasoning={"effort": "low"}, tools=[talk.function("other")])
    assert whole.metadata == {"c": "3"}
    assert (whole.reasoning.effort, whole.reasoning.summary) == ("low", None)
    assert [tool.name for tool in whole.tools] == ["other"]
    assert agents.update(made.id, experimental={}).experimental.time_awareness is True
    cleared = agents.update(
        made.id, name=None, instructions=None, metadata=None, tools=None, reasoning=None, text=None,
        service_tier=None, multi_agent=None, compaction=None,
    )
    assert (cleared.name, cleared.instructions, cleared.metadata, cleared.tools) == (None, None, {}, [])
    assert (cleared.reasoning.effort, cleared.service_tier) == (None, "auto")
    assert valid(cleared)["text"] == NO_TEXT
    assert (cleared.id, cleared.model, cleared.created_at) == (made.id, "m1", made.created_at)
    touched = valid(agents.update(made.id))
    assert touched.pop("updated_at") >= cleared.updated_at
    assert touched.items() <= valid(cleared).items()
    with refused(400, param="model"):
        agents.update(made.id, extra_body={"model": None})


def test_agent_pagination(client, mark):
    agents = client.beta.agents
    made = [agents.create(model="m1", name=f"{mark}-{index}").id for index in range(5)]
    ours = lambda **options: [agent.id for agent in agents.list(**options) if agent.name and mark in agent.name]
    # Ids tell order where two were made in the same second.
    assert ours(limit=2) == made[::-1]
    assert ours(limit=2, order="asc") == made
    page = agents.list(limit=2, order="asc", after=made[0])
    assert [agent.id for agent in page.data] == made[1:3]
    assert page.has_more is True
    first = agents.with_raw_response.list(limit=2).http_response.json()
    assert (first["first_id"], first["last_id"]) == (first["data"][0]["id"], first["data"][-1]["id"])


def test_agent_delete(client, mark):
    agents = client.beta.agents
    agent = agents.create(model="m1")
    session = client.beta.agents.sessions.create(agent_id=agent.id, environment=talk.NONE, input=f"say {mark}")
    gone = agents.delete(agent.id)
    assert gone.to_dict() == {"id": agent.id, "object": "agent.deleted", "deleted": True}
    for look in (lambda: agents.retrieve(agent.id), lambda: agents.delete(agent.id), lambda: agents.update(agent.id)):
        with refused(404, kind="not_found_error"):
            look()
    with refused(404):
        client.beta.agents.sessions.create(agent_id=agent.id, environment=talk.NONE, input="say x")
    # Its sessions go on.
    talk.ended(client, session.id)
    talk.turn(client, session.id, f"say again {mark}")
    assert talk.said(client, session.id) == [mark, f"again {mark}"]


def test_metadata_limits(client):
    agents = client.beta.agents
    pairs = {f"k{index}": "v" for index in range(15)} | {"k" * 64: "é" * 512}
    assert agents.create(model="m1", metadata=pairs).metadata == pairs
    for wrong in (
        {f"k{index}": "v" for index in range(17)},
        {"k" * 65: "v"},
        {"k": "v" * 513},
        {"k": 1},
        {"k": None},
    ):
        with refused(400):
            agents.create(model="m1", metadata=wrong)
        with refused(400):
            client.beta.agents.sessions.create(
                agent={"model": "m1"}, environment=talk.NONE, input="say x", metadata=wrong
            )


def test_duplicate_function_400(client):
    for twice in (talk.function(), {"type": "web_search"}, {"type": "tool_search"}):
        with refused(400):
            client.beta.agents.create(model="m1", tools=[twice, twice])
    with refused(400):
        talk.create(client, "say x", agent={"tools": [talk.function(), talk.function()]})
    # A name is the client's own business.
    odd = client.beta.agents.create(model="m1", tools=[talk.function("Wetter in Köln?")])
    assert odd.tools[0].name == "Wetter in Köln?"
