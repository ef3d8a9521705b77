//! The schema, whole and in parts: a request is checked against the part that is about its action.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cedar_policy::{Schema, SchemaFragment};
use serde_json::{Map, Value as Json, json};

use crate::arguments::Shapes;
use crate::value::Fault;

/// The text of the schema.
pub(crate) const SCHEMA: &str = include_str!("../policies/schema.cedarschema");

/// Schemas of before that this one only adds to: whatever fits one of them fits it, and means the same.
///
/// A change belongs here if it adds a type, an action or an optional attribute, or changes what no request ever had:
/// the first knew a `spend` of three numbers, and none was ever told to a policy.
const EARLIER: [&str; 1] = [include_str!("../policies/earlier/1.cedarschema")];

/// Whether what was made for a schema can be decided with here.
pub(crate) fn is_known(schema: &str) -> bool {
    schema == SCHEMA || EARLIER.contains(&schema)
}
/// The action of every tool call, and the group of the actions of tools.
pub(crate) const TOOL_CALL: &str = "tool.call";

/// The name of the action of one tool: `tool.call:<server>/<name>`.
pub(crate) fn action_of_tool(tool: &str) -> String {
    format!("{TOOL_CALL}:{tool}")
}

/// The tool that an action is of.
pub(crate) fn tool_of_action(action: &str) -> Option<&str> {
    action.strip_prefix(TOOL_CALL)?.strip_prefix(':')
}

/// The schema as JSON, with its one namespace at hand.
fn base() -> &'static Json {
    static BASE: OnceLock<Json> = OnceLock::new();
    BASE.get_or_init(|| {
        let (fragment, _) = SchemaFragment::from_cedarschema_str(SCHEMA).expect("covered by a test");
        fragment.to_json_value().expect("what was read can be written")
    })
}

/// The whole schema. The actions of tools in `named` exist in it and apply to nothing: a policy may name them
/// before their tools are known.
pub(crate) fn whole<'a>(named: impl Iterator<Item = &'a str>) -> Result<Schema, Fault> {
    static PLAIN: OnceLock<Schema> = OnceLock::new();
    let mut named = named.peekable();
    if named.peek().is_none()
        && let Some(schema) = PLAIN.get()
    {
        return Ok(schema.clone());
    }
    let is_plain = named.peek().is_none();
    let mut schema = base().clone();
    for action in named {
        actions(&mut schema).insert(action.to_owned(), nowhere());
    }
    let schema = Schema::from_json_value(schema)?;
    if is_plain {
        return Ok(PLAIN.get_or_init(|| schema).clone());
    }
    Ok(schema)
}

/// The part that is about `action`, one of the schema's own.
pub(crate) fn of_action(action: &'static str) -> Result<Arc<Schema>, Fault> {
    static PARTS: Mutex<BTreeMap<&str, Arc<Schema>>> = Mutex::new(BTreeMap::new());
    // A poisoned lock only means that another thread panicked between two complete writes.
    let mut parts = PARTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(part) = parts.get(action) {
        return Ok(Arc::clone(part));
    }
    let part = Arc::new(Schema::from_json_value(part(action))?);
    parts.insert(action, Arc::clone(&part));
    Ok(part)
}

/// The part that is about one tool's action, whose context has the arguments. Actions of other tools in
/// `named` apply to nothing.
pub(crate) fn of_tool<'a>(
    tool: &str,
    shapes: &Shapes,
    named: impl Iterator<Item = &'a str>,
) -> Result<Schema, Fault> {
    let mut schema = part(TOOL_CALL);
    let all = actions(&mut schema);
    let of_tool = own_action(&all[TOOL_CALL], shapes);
    // Only the tool's own action is asked about.
    all[TOOL_CALL].as_object_mut().expect("an action is an object").remove("appliesTo");
    for action in named {
        all.insert(action.to_owned(), nowhere());
    }
    all.insert(action_of_tool(tool), of_tool);
    Ok(Schema::from_json_value(schema)?)
}

/// The whole schema with an action for each of these tools, whose context has the arguments. Actions of other tools in
/// `named` apply to nothing.
pub(crate) fn described<'a>(
    named: impl Iterator<Item = &'a str>,
    tools: &[(String, Shapes)],
) -> Result<Schema, Fault> {
    let mut schema = base().clone();
    let all = actions(&mut schema);
    for action in named {
        all.insert(action.to_owned(), nowhere());
    }
    for (tool, shapes) in tools {
        let own = own_action(&all[TOOL_CALL], shapes);
        all.insert(action_of_tool(tool), own);
    }
    Ok(Schema::from_json_value(schema)?)
}

/// The action of one tool, made from that of all.
fn own_action(of_all: &Json, shapes: &Shapes) -> Json {
    let mut own = of_all.clone();
    own["memberOf"] = json!([{"id": TOOL_CALL}]);
    let mut arguments = shapes.to_schema();
    arguments["required"] = json!(true);
    own["appliesTo"]["context"]["attributes"]["args"] = arguments;
    own
}

/// An action that applies to nothing, in the group of all tool calls.
fn nowhere() -> Json {
    json!({"memberOf": [{"id": TOOL_CALL}]})
}

/// The schema without the actions that are neither `action` nor a group of it.
fn part(action: &str) -> Json {
    let mut schema = base().clone();
    let all = actions(&mut schema);
    let mut kept = vec![action.to_owned()];
    let groups = all.get(action).and_then(|found| found.get("memberOf")).and_then(Json::as_array);
    kept.extend(
        groups.into_iter().flatten().filter_map(|group| group.get("id")?.as_str().map(str::to_owned)),
    );
    all.retain(|name, _| kept.contains(name));
    schema
}

fn actions(schema: &mut Json) -> &mut Map<String, Json> {
    let actions = schema.get_mut("").and_then(|namespace| namespace.get_mut("actions"));
    actions.and_then(Json::as_object_mut).expect("the schema has actions, in no namespace")
}

/// Whether requests of an action have this part of a context; a tool's own have those of every call.
pub(crate) fn has_part(action: &str, part: &str) -> bool {
    let action = if tool_of_action(action).is_some() { TOOL_CALL } else { action };
    base()[""]["actions"][action]["appliesTo"]["context"]["attributes"].get(part).is_some()
}

/// The actions of the schema that an action is or belongs to.
pub(crate) fn with_groups(action: &str) -> Vec<String> {
    let schema = base();
    let groups = schema[""]["actions"].get(action).and_then(|found| found.get("memberOf"));
    let groups = groups.and_then(Json::as_array).into_iter().flatten();
    let groups = groups.filter_map(|group| group.get("id")?.as_str().map(str::to_owned));
    std::iter::once(action.to_owned()).chain(groups).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_about_one_action() {
        let names = |action: &str| {
            let mut part = part(action);
            let mut names: Vec<String> = actions(&mut part).keys().cloned().collect();
            names.sort();
            names.join(" ")
        };
        assert_eq!(names("model.call"), "model.call");
        assert_eq!(names("tool.call"), "effect tool.call");
        assert_eq!(names("session.read"), "session session.read");
    }

    #[test]
    fn a_tool_has_an_action_of_its_own() {
        let shapes = Shapes::of(&json!({"properties": {"amount": {"type": "number"}}}));
        let schema = of_tool("pay/transfer", &shapes, ["tool.call:mail/send"].into_iter()).expect("valid");
        let named: Vec<String> = schema.actions().map(ToString::to_string).collect();
        assert!(named.contains(&r#"Action::"tool.call:pay/transfer""#.to_owned()), "{named:?}");
        assert_eq!(tool_of_action("tool.call:pay/transfer"), Some("pay/transfer"));
        assert_eq!(tool_of_action("tool.call"), None);
    }
}
