//! Templates in replies, in the Jinja language.
//!
//! In arguments, a string that is one `{{ … }}` and nothing else keeps the type of its expression: a
//! capture is a string, `{{ amount | float }}` a number, `{{ data.items }}` whatever the result held.
//! Everywhere else templates give text. A variable that does not exist is an error.

use std::collections::BTreeMap;

use minijinja::value::ValueKind;
use minijinja::{Environment, UndefinedBehavior, Value as Rendered};
use serde_json::{Map, Number, Value};

/// Nesting of a rendered value; what it is made of is bounded by the JSON reader and the file.
const DEPTH_MAX: usize = 128;

/// Renders templates.
#[derive(Debug)]
pub(super) struct Engine {
    environment: Environment<'static>,
}

/// A text with or without placeholders.
#[derive(Debug)]
pub(super) enum Template {
    /// Taken as it is, without the engine.
    Plain(String),
    /// Rendered.
    Jinja(String),
}

/// Arguments of a call.
#[derive(Debug)]
pub(super) enum Tree {
    /// No placeholders in it.
    Plain(Value),
    /// A text.
    Text(Template),
    /// A single expression, which keeps its type.
    Expression(String),
    /// A list.
    List(Vec<Tree>),
    /// An object.
    Object(Vec<(String, Tree)>),
    /// The text of the arguments themselves, JSON or not.
    Raw(Template),
}

pub(super) type Variables = BTreeMap<String, Value>;

impl Template {
    pub(super) fn parse(text: String, engine: &Engine) -> Result<Self, String> {
        if !["{{", "{%", "{#"].iter().any(|mark| text.contains(mark)) {
            return Ok(Self::Plain(text));
        }
        let mut checking = Environment::new();
        checking.set_undefined_behavior(engine.environment.undefined_behavior());
        match checking.template_from_str(&text) {
            Ok(_) => Ok(Self::Jinja(text)),
            Err(error) => Err(format!("the template is not valid: {}", reason(&error))),
        }
    }
}

impl Tree {
    pub(super) fn parse(value: Value, engine: &Engine) -> Result<Self, String> {
        match value {
            Value::String(text) => match single_expression(&text) {
                Some(expression) => match Environment::new().compile_expression(expression) {
                    Ok(_) => Ok(Self::Expression(expression.to_owned())),
                    Err(error) => Err(format!("the expression is not valid: {}", reason(&error))),
                },
                None => match Template::parse(text, engine)? {
                    Template::Plain(text) => Ok(Self::Plain(Value::String(text))),
                    template @ Template::Jinja(_) => Ok(Self::Text(template)),
                },
            },
            Value::Array(values) => values
                .into_iter()
                .map(|value| Self::parse(value, engine))
                .collect::<Result<_, _>>()
                .map(Self::List),
            Value::Object(members) => {
                let members = members.into_iter().map(|(key, value)| Ok((key, Self::parse(value, engine)?)));
                members.collect::<Result<_, String>>().map(Self::Object)
            }
            plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => Ok(Self::Plain(plain)),
        }
    }
}

/// The expression of a string that is one placeholder and nothing else.
fn single_expression(text: &str) -> Option<&str> {
    let inner = text.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let marks = ["{{", "}}", "{%", "%}", "{#"];
    let alone = !marks.iter().any(|mark| inner.contains(mark));
    // `{{-` is white space control and not a minus.
    (alone && !inner.starts_with(['-', '+']) && !inner.ends_with('-')).then(|| inner.trim())
}

impl Engine {
    pub(super) fn new() -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        Self { environment }
    }

    pub(super) fn text(&self, template: &Template, variables: &Variables) -> Result<String, String> {
        match template {
            Template::Plain(text) => Ok(text.clone()),
            Template::Jinja(text) => {
                self.environment.render_str(text, context(variables)).map_err(|error| reason(&error))
            }
        }
    }

    /// The text of the arguments.
    pub(super) fn tree(&self, tree: &Tree, variables: &Variables) -> Result<String, String> {
        match tree {
            Tree::Raw(raw) => self.text(raw, variables),
            Tree::Plain(_) | Tree::Text(_) | Tree::Expression(_) | Tree::List(_) | Tree::Object(_) => {
                self.value(tree, variables).map(|value| value.to_string())
            }
        }
    }

    fn value(&self, tree: &Tree, variables: &Variables) -> Result<Value, String> {
        match tree {
            Tree::Plain(value) => Ok(value.clone()),
            Tree::Text(template) | Tree::Raw(template) => self.text(template, variables).map(Value::String),
            Tree::Expression(expression) => {
                let compiled = self.environment.compile_expression_owned(expression.clone());
                let value = compiled.and_then(|compiled| compiled.eval(context(variables)));
                to_json(&value.map_err(|error| reason(&error))?, DEPTH_MAX)
            }
            Tree::List(trees) => trees.iter().map(|tree| self.value(tree, variables)).collect(),
            Tree::Object(members) => {
                let members = members.iter();
                let members = members.map(|(key, tree)| Ok((key.clone(), self.value(tree, variables)?)));
                members.collect::<Result<Map<_, _>, String>>().map(Value::Object)
            }
        }
    }
}

fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

fn context(variables: &Variables) -> Rendered {
    Rendered::from_pairs(variables.iter().map(|(name, value)| (name.as_str(), from_json(value))))
}

fn from_json(value: &Value) -> Rendered {
    match value {
        Value::Null => Rendered::from(()),
        Value::Bool(value) => Rendered::from(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Rendered::from(number),
            (None, Some(number)) => Rendered::from(number),
            (None, None) => Rendered::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Rendered::from(text),
        Value::Array(values) => values.iter().map(from_json).collect(),
        Value::Object(members) => {
            Rendered::from_pairs(members.iter().map(|(key, value)| (key.as_str(), from_json(value))))
        }
    }
}

fn to_json(value: &Rendered, depth: usize) -> Result<Value, String> {
    if depth == 0 {
        return Err("the value is nested too deeply".to_owned());
    }
    match value.kind() {
        ValueKind::Undefined => Err("the expression has no value".to_owned()),
        ValueKind::None => Ok(Value::Null),
        ValueKind::Bool => Ok(Value::Bool(value.is_true())),
        ValueKind::Number => number(value).map(Value::Number),
        ValueKind::Seq | ValueKind::Iterable => {
            let values = value.try_iter().map_err(|error| reason(&error))?;
            values.map(|value| to_json(&value, depth - 1)).collect()
        }
        ValueKind::Map => {
            let keys = value.try_iter().map_err(|error| reason(&error))?;
            let mut members = Map::new();
            for key in keys {
                let member = value.get_item(&key).map_err(|error| reason(&error))?;
                members.insert(key.to_string(), to_json(&member, depth - 1)?);
            }
            Ok(Value::Object(members))
        }
        ValueKind::String | ValueKind::Bytes | ValueKind::Plain | ValueKind::Invalid | _ => {
            Ok(Value::String(value.to_string()))
        }
    }
}

fn number(value: &Rendered) -> Result<Number, String> {
    if let (true, Some(whole)) = (value.is_integer(), value.as_i64()) {
        return Ok(whole.into());
    }
    let float = f64::try_from(value.clone()).map_err(|error| reason(&error))?;
    Number::from_f64(float).ok_or_else(|| "the number is not finite".to_owned())
}
