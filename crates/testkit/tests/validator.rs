//! The strict validator: requests in, violations out.

use serde_json::{Value, json};
use tenure_testkit::validator;

#[track_caller]
fn check(found: &[String], expected: &[&str], body: &Value) {
    assert_eq!(found, expected, "{body:#}");
}

/// Checks an `input` of the Responses API.
#[track_caller]
fn input(items: &Value, expected: &[&str]) {
    let body = json!({ "model": "m", "store": false, "input": items });
    check(&validator::responses(&body), expected, &body);
}

/// Checks members beside a valid `input`.
#[track_caller]
fn responses_with(members: &Value, expected: &[&str]) {
    let mut body = json!({ "model": "m", "store": false, "input": "hi" });
    for (key, value) in members.as_object().expect("members") {
        body[key] = value.clone();
    }
    check(&validator::responses(&body), expected, &body);
}

/// Checks `messages` of Chat Completions.
#[track_caller]
fn messages(messages: &Value, expected: &[&str]) {
    let body = json!({ "model": "m", "messages": messages });
    check(&validator::chat(&body), expected, &body);
}

/// Checks members beside valid `messages`.
#[track_caller]
fn chat_with(members: &Value, expected: &[&str]) {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    for (key, value) in members.as_object().expect("members") {
        body[key] = value.clone();
    }
    check(&validator::chat(&body), expected, &body);
}

fn user(text: &str) -> Value {
    json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": text }] })
}

fn assistant(text: &str) -> Value {
    json!({ "type": "message", "role": "assistant", "content": text })
}

fn call(id: &str) -> Value {
    json!({ "type": "function_call", "call_id": id, "name": "f", "arguments": "{}" })
}

fn output(id: &str) -> Value {
    json!({ "type": "function_call_output", "call_id": id, "output": "" })
}

fn reasoning() -> Value {
    json!({ "type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "x" })
}

#[test]
fn responses_pairs_calls_and_results() {
    input(&json!([user("a"), call("1"), output("1"), assistant("b"), user("c")]), &[]);
    input(&json!([user("a"), call("1"), call("2"), output("2"), output("1")]), &[]);
    input(&json!([user("a"), call("1"), output("1"), call("2"), output("2")]), &[]);
    input(&json!([user("a"), assistant("b"), call("1"), output("1")]), &[]);
    input(&json!([user("a"), call("1")]), &["the end of input: the call `1` has no result before this"]);
    input(
        &json!([user("a"), call("1"), user("b"), output("1")]),
        &["input[2]: the call `1` has no result before this", "input[3]: a second result of the call `1`"],
    );
    input(
        &json!([user("a"), call("1"), reasoning(), assistant("b")]),
        &["input[2]: the call `1` has no result before this"],
    );
    input(&json!([user("a"), output("1")]), &["input[1]: a result without a call: `1`"]);
    input(
        &json!([user("a"), call("1"), output("1"), output("1")]),
        &["input[3]: a second result of the call `1`"],
    );
    input(
        &json!([user("a"), call("1"), output("1"), call("1"), output("1")]),
        &["input[3]: a second call with the id `1`"],
    );
    input(&json!([user("a"), call(""), output("")]), &["input[1]: the call's id is empty"]);
    let long = "x".repeat(65);
    input(
        &json!([user("a"), call(&long), output(&long)]),
        &["input[1]: the call's id is longer than 64 bytes"],
    );
}

#[test]
fn responses_wants_reasoning_to_lead_somewhere() {
    let leads_nowhere = "reasoning is not followed by what it led to";
    input(&json!([user("a"), reasoning(), assistant("b")]), &[]);
    input(&json!([user("a"), reasoning(), reasoning(), call("1"), output("1")]), &[]);
    input(&json!([user("a"), reasoning(), user("b")]), &[&format!("input[1]: {leads_nowhere}")]);
    input(&json!([user("a"), reasoning()]), &[&format!("input[1]: {leads_nowhere}")]);
    let bare =
        json!({ "type": "reasoning", "id": "rs", "summary": [{ "type": "summary_text", "text": "t" }] });
    input(&json!([user("a"), bare, assistant("b")]), &["input[1]: `encrypted_content` must be a string"]);
}

#[test]
fn responses_wants_content() {
    let message = |role: &str, content: Value| json!([{ "role": role, "content": content }]);
    input(&json!([]), &["input: is empty"]);
    input(&json!(7), &["input: must be a string or a list"]);
    input(&message("user", json!("")), &["input[0]: the content is empty"]);
    input(&message("user", json!([])), &["input[0]: the content is empty"]);
    input(&json!([user("")]), &["input[0].content[0]: `text` is empty"]);
    input(
        &message("tool", json!("a")),
        &["input[0]: `role` must be one of user, assistant, system, developer"],
    );
    input(
        &message("user", json!([{ "type": "output_text", "text": "a" }])),
        &["input[0].content[0]: `type` must be one of input_text, input_image"],
    );
    input(&message("assistant", json!([{ "type": "output_text", "text": "a" }])), &[]);
    for (url, is_image) in [
        ("https://x.example/a.png", true),
        ("data:image/png;base64,AA==", true),
        ("data:text/plain;base64,AA==", false),
        ("data:image/png;base64,", false),
        ("/etc/passwd", false),
        ("", false),
    ] {
        let part = json!([{ "type": "input_image", "image_url": url, "detail": "auto" }]);
        let violation = "input[0].content[0]: an image must be an `https:` or a base64 `data:image/…` URL";
        input(&message("user", part), if is_image { &[] } else { std::slice::from_ref(&violation) });
    }
    input(&json!([{ "type": "magic" }]), &["input[0]: `magic` is not a kind of item"]);
    let call =
        json!({ "type": "function_call", "call_id": "1", "name": "a b", "arguments": "{", "extra": 1 });
    input(
        &json!([call, output("1")]),
        &[
            "input[0]: unknown member `extra`",
            "input[0]: the name `a b` does not match [a-zA-Z0-9_-]{1,64}",
            "input[0]: `arguments` is not the JSON text of an object",
        ],
    );
    let empty = json!({ "type": "function_call_output", "call_id": "1", "output": [] });
    input(&json!([call_named("f"), empty]), &["input[1]: the output is empty"]);
}

fn call_named(name: &str) -> Value {
    json!({ "type": "function_call", "call_id": "1", "name": name, "arguments": "{}" })
}

#[test]
fn responses_settings() {
    let tool = |name: &str, parameters: Value| json!({ "type": "function", "name": name, "description": "d", "parameters": parameters, "strict": false });
    let object = json!({ "type": "object", "properties": {} });
    responses_with(&json!({ "stream": true, "instructions": "i", "service_tier": "flex" }), &[]);
    responses_with(&json!({ "store": true }), &["body: `store` must be false: the runtime keeps the state"]);
    responses_with(&json!({ "model": "" }), &["body: `model` is empty"]);
    responses_with(&json!({ "messages": [] }), &["body: unknown member `messages`"]);
    responses_with(&json!({ "stream": "yes" }), &["body: `stream` must be true or false"]);
    responses_with(
        &json!({ "service_tier": "best" }),
        &["body: `service_tier` must be one of auto, default, flex, scale, priority, fast, ultrafast"],
    );
    responses_with(
        &json!({ "reasoning": { "effort": "lots" } }),
        &["reasoning: `effort` must be one of none, minimal, low, medium, high, xhigh, max"],
    );
    responses_with(
        &json!({ "text": { "format": { "type": "json_schema", "name": "n", "schema": {} } } }),
        &[],
    );
    responses_with(
        &json!({ "text": { "format": { "type": "json_schema", "schema": 1 } } }),
        &["text.format: `name` must be a string", "text.format: `schema` must be an object"],
    );
    responses_with(
        &json!({ "prompt_cache_options": { "ttl": "1h" } }),
        &["prompt_cache_options: `ttl` must be one of 30m, 12h"],
    );
    responses_with(&json!({ "tools": [tool("a", object.clone()), tool("b-_9", object.clone())] }), &[]);
    responses_with(&json!({ "tools": [] }), &["tools: is empty"]);
    responses_with(
        &json!({ "tools": [tool("a", object.clone()), tool("a", object)] }),
        &["tools[1]: a second tool with the name `a`"],
    );
    responses_with(
        &json!({ "tools": [tool("a.b", json!({ "type": "string" }))] }),
        &[
            "tools[0]: the name `a.b` does not match [a-zA-Z0-9_-]{1,64}",
            "tools[0]: the root of `parameters` must have the type `object`",
        ],
    );
    responses_with(
        &json!({ "tools": [{ "type": "function", "name": "a" }] }),
        &["tools[0]: `strict` is required", "tools[0]: `parameters` must be a schema"],
    );
    check(&validator::responses(&json!([])), &["body: must be an object"], &json!([]));
}

#[test]
fn chat_pairs_calls_and_results() {
    let user = json!({ "role": "user", "content": "a" });
    let call =
        |id: &str| json!({ "id": id, "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let calls = |ids: &[&str]| {
        let calls: Vec<_> = ids.iter().map(|id| call(id)).collect();
        json!({ "role": "assistant", "content": null, "tool_calls": calls })
    };
    let tool = |id: &str| json!({ "role": "tool", "tool_call_id": id, "content": "" });
    messages(&json!([user, calls(&["1", "2"]), tool("2"), tool("1"), user]), &[]);
    messages(&json!([user, calls(&["1"]), user]), &["messages[2]: the call `1` has no result before this"]);
    messages(&json!([user, calls(&["1"])]), &["the end of messages: the call `1` has no result before this"]);
    messages(&json!([user, tool("1")]), &["messages[1]: a result without a call: `1`"]);
    messages(
        &json!([user, calls(&["1", "1"]), tool("1"), tool("1")]),
        &["messages[1].tool_calls[1]: a second call with the id `1`"],
    );
    messages(
        &json!([user, calls(&["1"]), tool("1"), tool("1")]),
        &["messages[3]: a second result of the call `1`"],
    );
    messages(&json!([user, calls(&[])]), &["messages[1]: `tool_calls` must be a list with a call"]);
}

#[test]
fn chat_wants_content() {
    let said = |role: &str, content: Value| json!([{ "role": role, "content": content }]);
    messages(&json!([]), &["messages: is empty"]);
    messages(&said("user", json!("")), &["messages[0]: the content is empty"]);
    messages(&said("assistant", Value::Null), &["messages[0]: `content` must be a string or a list"]);
    messages(
        &said("robot", json!("a")),
        &["messages[0]: `role` must be one of system, developer, user, assistant, tool"],
    );
    let image = json!([{ "type": "image_url", "image_url": { "url": "https://x.example/a" } }]);
    messages(&said("user", image.clone()), &[]);
    messages(&said("system", image), &["messages[0].content[0]: `type` must be one of text"]);
    messages(
        &said("user", json!([{ "type": "image_url", "image_url": "https://x.example/a" }])),
        &["messages[0].content[0].image_url: must be an object"],
    );
    messages(
        &said("user", json!([{ "type": "text", "text": "a", "cache": 1 }])),
        &["messages[0].content[0]: unknown member `cache`"],
    );
}

#[test]
fn chat_settings() {
    chat_with(
        &json!({ "stream": true, "stream_options": { "include_usage": true }, "verbosity": "low" }),
        &[],
    );
    chat_with(
        &json!({ "stream_options": { "include_usage": true } }),
        &["stream_options: only allowed with `stream`"],
    );
    chat_with(&json!({ "input": "a" }), &["body: unknown member `input`"]);
    chat_with(
        &json!({ "reasoning_effort": "lots" }),
        &["body: `reasoning_effort` must be one of none, minimal, low, medium, high, xhigh, max"],
    );
    let schema = json!({ "type": "json_schema", "json_schema": { "name": "a b", "schema": {} } });
    chat_with(
        &json!({ "response_format": schema }),
        &["response_format.json_schema: the name `a b` does not match [a-zA-Z0-9_-]{1,64}"],
    );
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } });
    chat_with(&json!({ "tools": [tool] }), &[]);
    chat_with(&json!({ "tools": [tool.clone(), tool] }), &["tools[1]: a second tool with the name `f`"]);
    chat_with(
        &json!({ "tools": [{ "type": "function", "name": "f" }] }),
        &["tools[0]: unknown member `name`", "tools[0].function: must be an object"],
    );
}

#[test]
fn responses_phases_are_assistants_words() {
    let with_phase = |mut message: Value, phase: &str| {
        message["phase"] = json!(phase);
        message
    };
    input(&json!([user("a"), with_phase(assistant("b"), "commentary"), user("c")]), &[]);
    input(
        &json!([user("a"), with_phase(assistant("b"), "thinking"), user("c")]),
        &["input[1]: `phase` must be one of commentary, final_answer"],
    );
    input(
        &json!([with_phase(user("a"), "final_answer")]),
        &["input[0]: only assistants' messages have a `phase`"],
    );
}

/// Checks `messages` of the Anthropic API.
#[track_caller]
fn anthropic(messages: &Value, expected: &[&str]) {
    let body = json!({ "model": "m", "max_tokens": 9, "messages": messages });
    check(&validator::anthropic(&body), expected, &body);
}

/// Checks `messages` of the Converse API.
#[track_caller]
fn converse(messages: &Value, expected: &[&str]) {
    let body = json!({ "messages": messages });
    check(&validator::converse(&body), expected, &body);
}

fn turn(role: &str, blocks: &Value) -> Value {
    json!({ "role": role, "content": blocks })
}

#[test]
fn anthropic_wants_turns_that_alternate_and_results_at_once() {
    let text = |text: &str| json!({ "type": "text", "text": text });
    let user = |words: &str| turn("user", &json!([text(words)]));
    let uses = |id: &str| json!({ "type": "tool_use", "id": id, "name": "f", "input": {} });
    let result = |id: &str| json!({ "type": "tool_result", "tool_use_id": id });
    let thinks = json!({ "type": "thinking", "thinking": "", "signature": "s" });
    anthropic(
        &json!([
            user("a"),
            turn("assistant", &json!([thinks, uses("1"), uses("2")])),
            turn("user", &json!([result("2"), result("1"), text("b")])),
        ]),
        &[],
    );
    anthropic(
        &json!([turn("assistant", &json!([text("a")]))]),
        &["messages[0]: `role` must be `user` here: the two alternate"],
    );
    anthropic(
        &json!([user("a"), turn("assistant", &json!([text("b")]))]),
        &["the end of messages: the assistant must not have the last word"],
    );
    anthropic(
        &json!([user("a"), turn("assistant", &json!([uses("1")])), user("b")]),
        &["messages[2].content[0]: the call `1` has no result before this"],
    );
    anthropic(
        &json!([
            user("a"),
            turn("assistant", &json!([uses("1")])),
            turn("user", &json!([text("b"), result("1")])),
        ]),
        &[
            "messages[2].content[0]: the call `1` has no result before this",
            "messages[2].content[1]: results must stand before everything else in their message",
            "messages[2].content[1]: a second result of the call `1`",
        ],
    );
    anthropic(
        &json!([user("a"), turn("assistant", &json!([thinks])), user("b")]),
        &["messages[1].content: thinking must not be the last block"],
    );
    anthropic(&json!([user(" ")]), &["messages[0].content[0]: text must say something"]);
    let unsigned = json!({ "type": "thinking", "thinking": "x", "signature": "" });
    anthropic(
        &json!([user("a"), turn("assistant", &json!([unsigned, text("b")])), user("c")]),
        &["messages[1].content[0]: `signature` is empty"],
    );
}

#[test]
fn converse_wants_the_same_in_its_own_words() {
    let user = |words: &str| turn("user", &json!([{ "text": words }]));
    let uses = |id: &str| json!({ "toolUse": { "toolUseId": id, "name": "f", "input": {} } });
    let result = |id: &str, content: Value| json!({ "toolResult": { "toolUseId": id, "content": content } });
    converse(
        &json!([
            user("a"),
            turn("assistant", &json!([uses("1")])),
            turn(
                "user",
                &json!([result("1", json!([{ "text": "x" }])), { "cachePoint": { "type": "default" } }])
            ),
        ]),
        &[],
    );
    converse(
        &json!([user("a"), turn("assistant", &json!([uses("1")])), user("b")]),
        &["messages[2].content[0]: the call `1` has no result before this"],
    );
    converse(
        &json!([
            user("a"),
            turn("assistant", &json!([uses("1")])),
            turn("user", &json!([result("1", json!([]))]))
        ]),
        &["messages[2].content[0]: `content` must be a list that holds something"],
    );
    converse(
        &json!([user("a"), user("b")]),
        &[
            "messages[1]: `role` must be `assistant` here: the two alternate",
            "the end of messages: the assistant must not have the last word",
        ],
    );
    let url = json!({ "image": { "format": "svg", "source": { "url": "https://x" } } });
    converse(
        &json!([turn("user", &json!([url]))]),
        &[
            "messages[0].content[0]: `format` must be one of png, jpeg, gif, webp",
            "messages[0].content[0]: unknown member `url`",
            "messages[0].content[0]: `bytes` must be a string",
        ],
    );
}

/// What the codecs write of every request that they are tested with is what a strict provider accepts.
#[test]
fn our_own_requests_are_well_formed() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/fixtures/requests");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).expect("the fixtures of the codecs") {
        let path = entry.expect("a readable entry").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a name in UTF-8");
        if name.matches('.').count() != 1 {
            continue;
        }
        let text = std::fs::read(&path).expect("a readable fixture");
        let request: tenure_journal::ModelRequest = serde_json::from_slice(&text).expect("a request");
        for wire in tenure_model::Wire::ALL {
            let body = wire.encode(&request);
            let found = match wire {
                tenure_model::Wire::Responses => validator::responses(&body),
                tenure_model::Wire::Chat => validator::chat(&body),
                tenure_model::Wire::Anthropic => validator::anthropic(&body),
                tenure_model::Wire::Converse => validator::converse(&body),
            };
            check(&found, &[], &body);
            seen += 1;
        }
    }
    assert!(seen >= 16, "{seen} requests");
}
