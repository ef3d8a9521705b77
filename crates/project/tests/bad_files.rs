//! Bad files and the exact words each gets.

use tenure_project::{Env, ProjectError, Unset, parse_agent_file, parse_mcp_file, parse_settings};

fn env() -> Env {
    [("SET".to_owned(), "value".to_owned())].into_iter().collect()
}

#[track_caller]
fn check(case: &str, error: Option<ProjectError>, expected: &str) {
    let found = error.map_or_else(|| "accepted".to_owned(), |error| error.to_string());
    assert_eq!(found, expected, "{case}");
}

#[track_caller]
fn agent(case: &str, text: &str, expected: &str) {
    check(case, parse_agent_file("helper", text).err(), expected);
}

#[track_caller]
fn settings(case: &str, text: &str, expected: &str) {
    check(case, parse_settings(text, &env(), Unset::Error).err(), expected);
}

#[track_caller]
fn mcp(case: &str, text: &str, expected: &str) {
    check(case, parse_mcp_file(text, &env(), Unset::Error).err(), expected);
}

#[test]
fn agent_files() {
    agent(
        "unclosed front matter",
        "---\nmodel: m\nHelp.\n",
        "error[front_matter]: the front matter does not end\n\
         \x20 --> agents/helper.md:1:1\n\
         \x20 hint: close it with a line `---` above the instructions",
    );
    agent(
        "unknown key",
        "---\nmodle: gpt\n---\nHelp.\n",
        "error[unknown_key]: unknown key `modle`\n\
         \x20 --> agents/helper.md:2:1\n\
         \x20 hint: did you mean `model`?",
    );
    agent(
        "unknown key in a map",
        "---\nreasoning:\n  efort: low\n---\nHelp.\n",
        "error[unknown_key]: unknown key `efort` in `reasoning`\n\
         \x20 --> agents/helper.md:3:3\n\
         \x20 hint: did you mean `effort`?",
    );
    agent(
        "unknown key with nothing near",
        "---\ntemperature: 1\n---\nHelp.\n",
        "error[unknown_key]: unknown key `temperature`\n\
         \x20 --> agents/helper.md:2:1\n\
         \x20 hint: the keys are `description`, `model`, `tools`, `functions`, `mcp`, `skills`, `reasoning`, `text`, `service_tier`, `approval`, `multi_agent`, `compaction`, `time_awareness`, `metadata`, `environment`, `grants` and `extraction`",
    );
    agent(
        "number for text",
        "---\nmodel: 5\n---\nHelp.\n",
        "error[type]: `model` must be text, not a number\n\
         \x20 --> agents/helper.md:2:8\n\
         \x20 hint: put it in quotes",
    );
    agent(
        "empty text",
        "---\nmodel: ''\n---\nHelp.\n",
        "error[missing]: `model` is empty\n\
         \x20 --> agents/helper.md:2:8",
    );
    agent(
        "wrong word",
        "---\napproval: alway\n---\nHelp.\n",
        "error[unknown_value]: `approval` cannot be `alway`\n\
         \x20 --> agents/helper.md:2:11\n\
         \x20 hint: did you mean `always`?",
    );
    agent(
        "wrong word with nothing near",
        "---\nservice_tier: cheap\n---\nHelp.\n",
        "error[unknown_value]: `service_tier` cannot be `cheap`\n\
         \x20 --> agents/helper.md:2:15\n\
         \x20 hint: the values are `auto`, `default`, `flex`, `priority`, `fast` and `ultrafast`",
    );
    agent(
        "text for a list",
        "---\nmcp: payments\n---\nHelp.\n",
        "error[type]: `mcp` must be a list, not text\n\
         \x20 --> agents/helper.md:2:6",
    );
    agent(
        "list for a map",
        "---\n- model: x\n---\nHelp.\n",
        "error[type]: the file must be a map, not a list\n\
         \x20 --> agents/helper.md:2:1",
    );
    agent(
        "duplicate key",
        "---\nmodel: a\nmodel: b\n---\nHelp.\n",
        "error[duplicate]: `model` occurs twice\n\
         \x20 --> agents/helper.md:3:1",
    );
    agent(
        "broken YAML",
        "---\nmodel: [a\n---\nHelp.\n",
        "error[yaml]: invalid YAML: unclosed bracket '['\n\
         \x20 --> agents/helper.md:2:8",
    );
    agent(
        "tabs",
        "---\nreasoning:\n\teffort: low\n---\nHelp.\n",
        "error[yaml]: invalid YAML: tabs disallowed within this context (block indentation)\n\
         \x20 --> agents/helper.md:3:2",
    );
    agent(
        "unknown tool",
        "---\ntools: [web_serch]\n---\nHelp.\n",
        "error[unknown_value]: a tool cannot be `web_serch`\n\
         \x20 --> agents/helper.md:2:9\n\
         \x20 hint: did you mean `web_search`?",
    );
    agent(
        "function under tools",
        "---\ntools:\n  - type: function\n    name: f\n---\nHelp.\n",
        "error[unknown_value]: `function` is not listed under `tools`\n\
         \x20 --> agents/helper.md:3:11\n\
         \x20 hint: list functions under `functions`, without `type`",
    );
    agent(
        "a tool twice",
        "---\ntools: [tool_search, {type: tool_search}]\n---\nHelp.\n",
        "error[duplicate]: the tool `tool_search` is listed twice\n\
         \x20 --> agents/helper.md:2:22",
    );
    agent(
        "unknown key of a tool",
        "---\ntools:\n  - type: web_search\n    domains: [a.example]\n---\nHelp.\n",
        "error[unknown_key]: unknown key `domains` in `web_search`\n\
         \x20 --> agents/helper.md:4:5\n\
         \x20 hint: the keys are `type`, `mode`, `context_size`, `allowed_domains` and `location`",
    );
    agent(
        "function without description",
        "---\nfunctions:\n  - name: f\n---\nHelp.\n",
        "error[missing]: `description` is missing in a function\n\
         \x20 --> agents/helper.md:3:5",
    );
    agent(
        "function name",
        "---\nfunctions:\n  - name: look up\n    description: x\n---\nHelp.\n",
        "error[name]: `look up` cannot name a function\n\
         \x20 --> agents/helper.md:3:11\n\
         \x20 hint: letters, digits, `_` and `-`, at most 64",
    );
    agent(
        "function schema",
        "---\nfunctions:\n  - name: f\n    description: x\n    parameters: {type: string}\n---\nHelp.\n",
        "error[type]: the root type of `parameters` must be `object`\n\
         \x20 --> agents/helper.md:5:17\n\
         \x20 hint: write `type: object` and list the arguments under `properties`",
    );
    agent(
        "function twice",
        "---\nfunctions:\n  - {name: f, description: x}\n  - {name: f, description: y}\n---\nHelp.\n",
        "error[duplicate]: the function `f` is defined twice\n\
         \x20 --> agents/helper.md:4:5",
    );
    agent(
        "integer beyond JSON",
        "---\nfunctions:\n  - name: f\n    description: x\n    parameters: {type: object, maximum: 9007199254740993}\n---\nHelp.\n",
        "error[range]: `parameters` holds `9007199254740993`, beyond ±(2^53-1)\n\
         \x20 --> agents/helper.md:5:41\n\
         \x20 hint: write it as text",
    );
    agent(
        "server twice",
        "---\nmcp: [pay, pay]\n---\nHelp.\n",
        "error[duplicate]: the server `pay` is listed twice\n\
         \x20 --> agents/helper.md:2:12",
    );
    agent(
        "server without name",
        "---\nmcp:\n  - allowed_tools: [a]\n---\nHelp.\n",
        "error[missing]: `server` is missing in `mcp`\n\
         \x20 --> agents/helper.md:3:5",
    );
    agent(
        "a directory outside",
        "---\nenvironment: {files: ../elsewhere}\n---\nHelp.\n",
        "error[unknown_value]: `files` cannot be `../elsewhere`\n\
         \x20 --> agents/helper.md:2:22\n\
         \x20 hint: name a directory of the project, such as `files`",
    );
    agent(
        "an environment with mistakes",
        "---\nenvironment: {network: {domains: []}, size: huge, setup: make}\n---\nHelp.\n",
        "error[missing]: `allowed_domains` is missing in `network`\n\
         \x20 --> agents/helper.md:2:24\n\
         \n\
         error[unknown_key]: unknown key `domains` in `network`\n\
         \x20 --> agents/helper.md:2:25\n\
         \x20 hint: the keys are `allowed_domains`\n\
         \n\
         error[unknown_value]: `size` cannot be `huge`\n\
         \x20 --> agents/helper.md:2:45\n\
         \x20 hint: the values are `small`, `medium` and `large`\n\
         \n\
         error[type]: `setup` must be a list, not text\n\
         \x20 --> agents/helper.md:2:58",
    );
    agent(
        "metadata number",
        "---\nmetadata: {team: 7}\n---\nHelp.\n",
        "error[type]: `metadata.team` must be text, not a number\n\
         \x20 --> agents/helper.md:2:18\n\
         \x20 hint: put it in quotes",
    );
    agent(
        "subagents without enabling",
        "---\nmulti_agent: {enabled: false, max_concurrent_subagents: 3}\n---\nHelp.\n",
        "error[conflict]: `max_concurrent_subagents` has no meaning while `enabled` is false\n\
         \x20 --> agents/helper.md:2:57",
    );
    agent(
        "range",
        "---\nmulti_agent: {enabled: true, max_concurrent_subagents: 0}\n---\nHelp.\n",
        "error[range]: `max_concurrent_subagents` must be from 1 to 64, not `0`\n\
         \x20 --> agents/helper.md:2:56",
    );
    agent(
        "several problems in order of place",
        "---\napproval: never\nreasoning: {effort: huge}\nfoo: 1\ntime_awareness: yes\n---\nHelp.\n",
        "error[unknown_value]: `effort` cannot be `huge`\n\
         \x20 --> agents/helper.md:3:21\n\
         \x20 hint: the values are `none`, `minimal`, `low`, `medium`, `high`, `xhigh` and `max`\n\
\n\
         error[unknown_key]: unknown key `foo`\n\
         \x20 --> agents/helper.md:4:1\n\
         \x20 hint: the keys are `description`, `model`, `tools`, `functions`, `mcp`, `skills`, `reasoning`, `text`, `service_tier`, `approval`, `multi_agent`, `compaction`, `time_awareness`, `metadata`, `environment`, `grants` and `extraction`\n\
\n\
         error[type]: `time_awareness` must be true or false, not text\n\
         \x20 --> agents/helper.md:5:17",
    );
}

/// The rows of the table of bad inputs that concern text, in files.
#[test]
fn texts() {
    let place = "\n\x20 --> agents/helper.md:2:8";
    for (row, text, expected) in [
        ("B49", "---\nmodel: m\nmetadata: {a: 99999999999999999999}\n---\nx", "error[type]"),
        ("B50", "---\nmulti_agent: {enabled: true, max_concurrent_subagents: .nan}\n---\nx", "error[yaml]"),
        ("B51", "---\nmulti_agent: {enabled: true, max_concurrent_subagents: 1.0}\n---\nx", "error[type]"),
        ("B53", "---\nmodel: \"a\\0b\"\n---\nx", "error[yaml]: invalid YAML: text with a NUL"),
        ("B53 body", "---\nmodel: m\n---\na\0b", "error[encoding]"),
        ("B56", "---\nfunctions:\n  - {name: p\u{430}y, description: x}\n---\nx", "error[name]"),
    ] {
        let found =
            parse_agent_file("helper", text).err().map_or_else(|| "accepted".to_owned(), |e| e.to_string());
        assert!(found.starts_with(expected), "{row}: {found}");
    }
    let deep = format!("---\nmodel: {}x{}\n---\nHelp.\n", "[".repeat(100), "]".repeat(100));
    let found = parse_agent_file("helper", &deep).expect_err("B48").to_string();
    assert!(found.contains("error[yaml]"), "B48: {found}");
    agent("B57", "---\nmodel: '  '\n---\nHelp.\n", &format!("error[missing]: `model` is empty{place}"));
}

#[test]
fn settings_files() {
    settings(
        "unknown key",
        "provider:\n  a: {type: openai}\n",
        "error[unknown_key]: unknown key `provider`\n\
         \x20 --> tenure.yaml:1:1\n\
         \x20 hint: did you mean `providers`?",
    );
    settings(
        "literal key",
        "providers:\n  openai:\n    type: openai\n    api_key: sk-12345678\n",
        "error[secret]: `api_key` must refer to an environment variable: files are committed, keys are not\n\
         \x20 --> tenure.yaml:4:14\n\
         \x20 hint: write `api_key: ${OPENAI_API_KEY}` and put the value into `.env`",
    );
    settings(
        "variable without braces",
        "providers:\n  openai:\n    type: openai\n    api_key: MY_API_KEY\n",
        "error[secret]: `api_key` must refer to an environment variable: files are committed, keys are not\n\
         \x20 --> tenure.yaml:4:14\n\
         \x20 hint: write `api_key: ${MY_API_KEY}` and put the value into `.env`",
    );
    settings(
        "unset variable",
        "providers:\n  openai: {type: openai, api_key: '${UNSET}'}\n",
        "error[env]: `api_key` refers to `UNSET`, which is not set\n\
         \x20 --> tenure.yaml:2:35\n\
         \x20 hint: export `UNSET`, or add a line `UNSET=…` to `.env`",
    );
    settings(
        "two keys",
        "providers:\n  openai: {type: openai, api_key: '${SET}', api_key_env: SET}\n",
        "error[conflict]: `api_key` and `api_key_env` exclude each other\n\
         \x20 --> tenure.yaml:2:58\n\
         \x20 hint: keep one of them",
    );
    settings(
        "no type",
        "providers:\n  openai: {wire: chat}\n",
        "error[missing]: `type` is missing in provider `openai`\n\
         \x20 --> tenure.yaml:2:11",
    );
    settings(
        "provider type",
        "providers:\n  x: {type: opneai}\n",
        "error[unknown_value]: `type` cannot be `opneai`\n\
         \x20 --> tenure.yaml:2:13\n\
         \x20 hint: did you mean `openai`?",
    );
    settings(
        "wire",
        "providers:\n  x: {type: openai, wire: completions}\n",
        "error[unknown_value]: `wire` cannot be `completions`\n\
         \x20 --> tenure.yaml:2:27\n\
         \x20 hint: the values are `responses` and `chat`",
    );
    settings(
        "key of another type",
        "providers:\n  x: {type: scripted, script: s.yaml, base_url: 'http://h'}\n",
        "error[conflict]: `base_url` has no meaning for a provider of type `scripted`\n\
         \x20 --> tenure.yaml:2:39\n\
         \x20 hint: the keys are `type`, `model_calls_max`, `script`, `operator`, `vendor`, `region`, `account`, `retention_days`, `trains_on_data` and `labels`",
    );
    settings(
        "calls of a provider",
        "providers:\n  x: {type: scripted, script: s.yaml, model_calls_max: 0}\n",
        "error[range]: `model_calls_max` must be from 1 to 1000000, not `0`\n\
         \x20 --> tenure.yaml:2:56",
    );
    settings(
        "scripted without script",
        "providers:\n  x: {type: scripted}\n",
        "error[missing]: `script` is missing in provider `x`\n\
         \x20 --> tenure.yaml:2:6",
    );
    settings(
        "base url",
        "providers:\n  x: {type: openai, base_url: 'localhost:11434/v1'}\n",
        "error[url]: `base_url` must begin with `http://` or `https://`\n\
         \x20 --> tenure.yaml:2:31",
    );
    settings(
        "password in url",
        "providers:\n  x: {type: openai, base_url: 'http://me:secret@host/v1'}\n",
        "error[url]: `base_url` must not hold a user name or password\n\
         \x20 --> tenure.yaml:2:31",
    );
    settings(
        "unclosed reference",
        "providers:\n  x: {type: openai, base_url: 'http://${SET/v1'}\n",
        "error[env]: `base_url` has a `${` without its `}`\n\
         \x20 --> tenure.yaml:2:31",
    );
    settings(
        "provider of a model",
        "providers:\n  openai: {type: openai}\nmodels:\n  fast: {provider: openia, model: m}\n",
        "error[reference]: model `fast` wants a provider `openia`\n\
         \x20 --> tenure.yaml:4:20\n\
         \x20 hint: did you mean `openai`?",
    );
    settings(
        "model without model",
        "models:\n  fast: {}\n",
        "error[missing]: `model` is missing in model `fast`\n\
         \x20 --> tenure.yaml:2:9",
    );
    settings(
        "price",
        "models:\n  fast: {model: m, price_usd_per_million: {input: -1, output: x}}\n",
        "error[range]: `input` must be from 0 to 1000000 US dollars\n\
         \x20 --> tenure.yaml:2:51\n\
\n\
         error[type]: `output` must be a number, not text\n\
         \x20 --> tenure.yaml:2:63",
    );
    settings(
        "output above context",
        "models:\n  fast: {model: m, context_tokens: 1000, output_tokens_max: 1000}\n",
        "error[range]: `output_tokens_max` of model `fast` leaves no room in `context_tokens`\n\
         \x20 --> tenure.yaml:2:9\n\
         \x20 hint: 1000 is not below 1000",
    );
    settings(
        "memory without a directory",
        "memory:\n  embedding: {}\n",
        "error[missing]: `embedding` names neither `directory` nor `model`\n\
         \x20 --> tenure.yaml:2:14\n\
         \x20 hint: a directory of a model on this machine, or a model of a provider",
    );
    settings(
        "memory with two models",
        "memory:\n  embedding: {directory: d, model: m}\n",
        "error[conflict]: `directory` and `model` of `embedding` exclude each other\n\
         \x20 --> tenure.yaml:2:36\n\
         \x20 hint: vectors of two models are never compared",
    );
    settings(
        "memory with what a directory says itself",
        "memory:\n  embedding: {directory: d, dimensions: 5}\n",
        "error[conflict]: `dimensions` of `embedding` is for a `model` of a provider\n\
         \x20 --> tenure.yaml:2:41\n\
         \x20 hint: a model in a directory says it itself",
    );
    settings(
        "memory with too few texts",
        "memory:\n  embedding: {model: m, texts_max: 1}\n",
        "error[range]: `texts_max` must be from 16 to 2048, not `1`\n\
         \x20 --> tenure.yaml:2:36",
    );
    settings(
        "budgets with mistakes of every kind",
        "budgets:\n  projects: {}\n  project:\n    months: {money_usd: 5}\n    day: {money: 5}\n    total: {}\n  \
         session: {}\n  agents:\n    a: {day: {money_usd: -1}}\n    b: {day: {calls: 1.5}}\n    c: {day: 5}\n",
        "error[unknown_key]: unknown key `projects` in `budgets`\n\
         \x20 --> tenure.yaml:2:3\n\
         \x20 hint: did you mean `project`?\n\
\n\
         error[unknown_key]: unknown key `months` in `project`\n\
         \x20 --> tenure.yaml:4:5\n\
         \x20 hint: did you mean `month`?\n\
\n\
         error[unknown_key]: unknown key `money` in `day` of `project`\n\
         \x20 --> tenure.yaml:5:11\n\
         \x20 hint: the keys are `money_usd`, `tokens`, `calls` and `seconds`\n\
\n\
         error[missing]: `total` of `project` limits nothing\n\
         \x20 --> tenure.yaml:6:12\n\
         \x20 hint: give it `money_usd`, `tokens`, `calls` or `seconds`\n\
\n\
         error[missing]: `session` limits nothing\n\
         \x20 --> tenure.yaml:7:12\n\
         \x20 hint: give it a `day`, a `month` or a `total`\n\
\n\
         error[range]: `money_usd` must be from 0 to 1000000000 US dollars\n\
         \x20 --> tenure.yaml:9:26\n\
\n\
         error[type]: `calls` must be a whole number, not a number\n\
         \x20 --> tenure.yaml:10:22\n\
\n\
         error[type]: `day` of the agent `c` must be a map, not a number\n\
         \x20 --> tenure.yaml:11:14",
    );
    settings(
        "extraction without a model",
        "memory:\n  extraction: {scope: user}\n",
        "error[missing]: `model` is missing in `extraction`\n\
         \x20 --> tenure.yaml:2:15",
    );
    settings(
        "extraction of too much",
        "memory:\n  extraction: {model: m, facts: 33}\n",
        "error[range]: `facts` must be from 1 to 32, not `33`\n\
         \x20 --> tenure.yaml:2:33",
    );
    settings(
        "limit",
        "limits:\n  model_calls_max: 0\n",
        "error[range]: `model_calls_max` must be from 1 to 1000000, not `0`\n\
         \x20 --> tenure.yaml:2:20",
    );
    settings(
        "limit of a project",
        "limits:\n  streams_max: 10\n  streams_per_project_max: 11\n",
        "error[range]: `streams_per_project_max` is above `streams_max`\n\
         \x20 --> tenure.yaml:3:28\n\
         \x20 hint: 11 is more than 10",
    );
    settings(
        "weight",
        "limits:\n  project_weights: {default: 0}\n",
        "error[range]: the weight of `default` must be from 1 to 100, not `0`\n\
         \x20 --> tenure.yaml:2:30",
    );
    settings(
        "private addresses",
        "tool_servers:\n  private_addresses: no\n",
        "error[type]: `private_addresses` must be true or false, not text\n\
         \x20 --> tenure.yaml:2:22",
    );
    settings(
        "key of tool servers",
        "tool_servers:\n  private: false\n",
        "error[unknown_key]: unknown key `private` in `tool_servers`\n\
         \x20 --> tenure.yaml:2:3\n\
         \x20 hint: the keys are `private_addresses`",
    );
    settings(
        "bind with port",
        "server:\n  bind: 127.0.0.1:80\n",
        "error[type]: `bind` is not an IP address: `127.0.0.1:80`\n\
         \x20 --> tenure.yaml:2:9\n\
         \x20 hint: such as `127.0.0.1` or `0.0.0.0`; the port is a key of its own",
    );
    settings(
        "port",
        "server:\n  port: 70000\n",
        "error[range]: `port` must be from 0 to 65535, not `70000`\n\
         \x20 --> tenure.yaml:2:9",
    );
    settings(
        "host with scheme",
        "server:\n  allowed_hosts: ['https://a.example']\n",
        "error[url]: `allowed_hosts` holds `https://a.example`, which is not a host name\n\
         \x20 --> tenure.yaml:2:18\n\
         \x20 hint: a name such as `agents.example`, without scheme or port",
    );
    settings(
        "origin with path",
        "server:\n  allowed_origins: ['https://a.example/app']\n",
        "error[url]: `allowed_origins` holds `https://a.example/app`, which is not an origin\n\
         \x20 --> tenure.yaml:2:20\n\
         \x20 hint: scheme, host and port only, such as `https://app.example`",
    );
}

#[test]
fn packages_of_environments() {
    let packages = |case, line: &str, expected: &str| {
        settings(case, &format!("environments:\n  packages:\n    {line}\n"), expected);
    };
    packages(
        "a registry",
        "{python_index: 'https://packages.example/simple', hosts: [files.packages.example]}",
        "accepted",
    );
    packages(
        "a private registry",
        "{npm_registry: 'http://npm.internal:4873/', private_hosts: {npm.internal: 10.0.0.5}}",
        "accepted",
    );
    packages(
        "no URL",
        "python_index: packages.example/simple",
        "error[url]: `python_index` must begin with `http://` or `https://`\n\
         \x20 --> tenure.yaml:3:19",
    );
    let name = "hint: a name with a dot in it, such as `packages.internal`; where its address is private, write \
                that under `private_hosts`";
    packages(
        "an address for a name",
        "npm_registry: http://10.0.0.5:4873/",
        &format!("error[url]: `10.0.0.5` is no full host name\n  --> tenure.yaml:3:19\n  {name}"),
    );
    packages(
        "a name without a dot",
        "hosts: [localhost]",
        &format!("error[url]: `localhost` is no full host name\n  --> tenure.yaml:3:12\n  {name}"),
    );
    packages(
        "a name for an address",
        "private_hosts: {npm.internal: npm.internal}",
        "error[url]: `npm.internal` is no address\n\
         \x20 --> tenure.yaml:3:35\n\
         \x20 hint: an address such as `10.0.0.5`, without a port",
    );
    packages(
        "unknown key",
        "python: x",
        "error[unknown_key]: unknown key `python` in `packages`\n\
         \x20 --> tenure.yaml:3:5\n\
         \x20 hint: the keys are `python_index`, `npm_registry`, `hosts` and `private_hosts`",
    );
    settings(
        "waiting",
        "environments:\n  prewarmed_seconds: 0\n",
        "error[range]: `prewarmed_seconds` must be from 1 to 2592000, not `0`\n\
         \x20 --> tenure.yaml:2:22",
    );
}

#[test]
fn mcp_files() {
    mcp(
        "trailing comma",
        r#"{"mcpServers": {},}"#,
        "error[json]: invalid JSON: trailing comma\n\
         \x20 --> mcp.json:1:19",
    );
    mcp(
        "duplicate key",
        r#"{"mcpServers": {"a": {"command": "x"}, "a": {"command": "y"}}}"#,
        "error[json]: a key that occurs twice at `mcpServers.a`\n\
         \x20 --> mcp.json:1:40",
    );
    mcp(
        "other client's root",
        "{\n  \"servers\": {}\n}",
        "error[unknown_key]: unknown key `servers`\n\
         \x20 --> mcp.json:2:3\n\
         \x20 hint: the servers are under `mcpServers`",
    );
    mcp(
        "unknown key",
        r#"{"mcpServers": {"pay": {"comand": "x", "command": "y"}}}"#,
        "error[unknown_key]: unknown key `comand` in server `pay`\n\
         \x20 --> mcp.json:1:25\n\
         \x20 hint: did you mean `command`?",
    );
    mcp(
        "neither",
        r#"{"mcpServers": {"pay": {}}}"#,
        "error[missing]: server `pay` has neither `command` nor `url`\n\
         \x20 --> mcp.json:1:24",
    );
    mcp(
        "both",
        r#"{"mcpServers": {"pay": {"command": "x", "url": "http://h"}}}"#,
        "error[conflict]: server `pay` has both `command` and `url`\n\
         \x20 --> mcp.json:1:48\n\
         \x20 hint: keep one of them",
    );
    mcp(
        "sse",
        r#"{"mcpServers": {"pay": {"type": "sse", "url": "http://h"}}}"#,
        "error[unsupported]: server `pay` has the type `sse`, which the protocol has replaced\n\
         \x20 --> mcp.json:1:33\n\
         \x20 hint: use `http` with the server's streamable HTTP endpoint",
    );
    mcp(
        "type",
        r#"{"mcpServers": {"pay": {"type": "websocket", "url": "http://h"}}}"#,
        "error[unknown_value]: `type` cannot be `websocket`\n\
         \x20 --> mcp.json:1:33\n\
         \x20 hint: the values are `stdio`, `http` and `streamable-http`",
    );
    mcp(
        "server name",
        r#"{"mcpServers": {"my pay": {"command": "x"}}}"#,
        "error[name]: `my pay` cannot name a server\n\
         \x20 --> mcp.json:1:17\n\
         \x20 hint: letters, digits, `_` and `-`, at most 64",
    );
    mcp(
        "url",
        r#"{"mcpServers": {"pay": {"url": "ftp://h"}}}"#,
        "error[url]: `url` must begin with `http://` or `https://`\n\
         \x20 --> mcp.json:1:32",
    );
    mcp(
        "reference in args",
        r#"{"mcpServers": {"pay": {"command": "x", "args": ["${SET}"]}}}"#,
        "error[env]: each of `args` holds `${`, and nothing is substituted there\n\
         \x20 --> mcp.json:1:50\n\
         \x20 hint: variables are substituted in `env` and `headers` only",
    );
    mcp(
        "args as text",
        r#"{"mcpServers": {"pay": {"command": "x", "args": "-y"}}}"#,
        "error[type]: `args` must be a list, not text\n\
         \x20 --> mcp.json:1:49",
    );
    mcp(
        "env number",
        r#"{"mcpServers": {"pay": {"command": "x", "env": {"N": 1}}}}"#,
        "error[type]: `env.N` must be text, not a number\n\
         \x20 --> mcp.json:1:54\n\
         \x20 hint: put it in quotes",
    );
    mcp(
        "unset variable",
        r#"{"mcpServers": {"pay": {"url": "http://h", "headers": {"Authorization": "Bearer ${UNSET}"}}}}"#,
        "error[env]: `headers.Authorization` refers to `UNSET`, which is not set\n\
         \x20 --> mcp.json:1:73\n\
         \x20 hint: export `UNSET`, or add a line `UNSET=…` to `.env`",
    );
    mcp(
        "header name",
        r#"{"mcpServers": {"pay": {"url": "http://h", "headers": {"a b": "x"}}}}"#,
        "error[name]: `a b` cannot name a header\n\
         \x20 --> mcp.json:1:56",
    );
    mcp(
        "line end in a secret",
        r#"{"mcpServers": {"pay": {"url": "http://h", "headers": {"A": "a\nb"}}}}"#,
        "error[encoding]: `headers.A` holds a line end or a NUL character\n\
         \x20 --> mcp.json:1:61",
    );
    mcp(
        "hint key",
        r#"{"mcpServers": {"pay": {"command": "x", "tenure": {"readonly": ["a"]}}}}"#,
        "error[unknown_key]: unknown key `readonly` in `tenure`\n\
         \x20 --> mcp.json:1:52\n\
         \x20 hint: did you mean `read_only`?",
    );
    mcp(
        "contradicting hints",
        r#"{"mcpServers": {"pay": {"command": "x", "tenure": {"read_only": ["a"], "destructive": ["a"]}}}}"#,
        "error[conflict]: the tool `a` is both `read_only` and `destructive`\n\
         \x20 --> mcp.json:1:51",
    );
    mcp(
        "timeout",
        r#"{"mcpServers": {"pay": {"command": "x", "tenure": {"timeout_ms": 0}}}}"#,
        "error[range]: `timeout_ms` must be from 1 to 86400000, not `0`\n\
         \x20 --> mcp.json:1:66",
    );
}
