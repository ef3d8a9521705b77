//! Reads a typed value out of JSON, member by member, and knows where it stands.
//!
//! Every mistake becomes an [`ApiError`] whose `param` is the path of the member, in the words the Agents
//! API uses. An object is done when [`Reader::finish`] has seen that nothing unknown is left in it.

use serde_json::{Map, Value};

use crate::error::ApiError;

/// Characters of a client's value that an error message repeats.
const ECHO_CHARS_MAX: usize = 64;

/// One object being read.
pub(crate) struct Reader<'a> {
    path: String,
    members: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

/// One member with its path.
#[derive(Clone)]
pub(crate) struct Field<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Reader<'a> {
    /// The object at `path`; the empty path is the whole body.
    pub(crate) fn new(path: &str, value: &'a Value) -> Result<Self, ApiError> {
        Field { path: path.to_owned(), value }.object()
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// The path of this object.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Whether no member was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A member that may be absent. A null counts as present.
    pub(crate) fn optional(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.known.push(name);
        self.members.get(name).map(|value| Field { path: self.at(name), value })
    }

    /// A member that may be absent, a null counting as absent.
    pub(crate) fn optional_or_null(&mut self, name: &'static str) -> Option<Field<'a>> {
        self.optional(name).filter(|field| !field.value.is_null())
    }

    /// A member that must be there.
    pub(crate) fn required(&mut self, name: &'static str) -> Result<Field<'a>, ApiError> {
        self.optional(name).ok_or_else(|| missing(&self.at(name)))
    }

    /// Refuses the first member that was never asked for.
    pub(crate) fn finish(self) -> Result<(), ApiError> {
        match self.members.keys().find(|key| !self.known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => {
                let path = self.at(&shortened(key));
                Err(ApiError::invalid(format!("Unknown parameter: '{path}'."))
                    .code("unknown_parameter")
                    .param(path))
            }
        }
    }
}

impl<'a> Field<'a> {
    /// A whole body.
    pub(crate) fn whole(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    /// The member's path.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// The member as it was sent.
    pub(crate) fn value(&self) -> &'a Value {
        self.value
    }

    /// Nothing for a null, else the member.
    pub(crate) fn nullable(self) -> Option<Self> {
        if self.value.is_null() { None } else { Some(self) }
    }

    pub(crate) fn string(&self) -> Result<&'a str, ApiError> {
        self.value.as_str().ok_or_else(|| self.wrong("a string"))
    }

    /// A string of 1 to `chars_max` characters.
    pub(crate) fn text(&self, chars_max: usize) -> Result<&'a str, ApiError> {
        let text = self.string()?;
        if text.is_empty() {
            return Err(
                self.refuse("empty_string", format!("Invalid '{}': it must not be empty.", self.path))
            );
        }
        self.at_most(text, chars_max)
    }

    /// A string of up to `chars_max` characters, possibly none.
    pub(crate) fn any_text(&self, chars_max: usize) -> Result<&'a str, ApiError> {
        let text = self.string()?;
        self.at_most(text, chars_max)
    }

    fn at_most(&self, text: &'a str, chars_max: usize) -> Result<&'a str, ApiError> {
        // Bytes bound characters from above, so short strings are not counted.
        if text.len() > chars_max && text.chars().count() > chars_max {
            let message =
                format!("Invalid '{}': string too long. Expected at most {chars_max} characters.", self.path);
            return Err(self.refuse("string_above_max_length", message));
        }
        Ok(text)
    }

    pub(crate) fn bool(&self) -> Result<bool, ApiError> {
        self.value.as_bool().ok_or_else(|| self.wrong("a boolean"))
    }

    /// A whole number from `min` to `max`.
    pub(crate) fn integer(&self, min: u64, max: u64) -> Result<u64, ApiError> {
        let is_integer = self.value.is_u64() || self.value.is_i64();
        if !is_integer {
            return Err(self.wrong("an integer"));
        }
        match self.value.as_u64().filter(|number| (min..=max).contains(number)) {
            Some(number) => Ok(number),
            None => Err(self.refuse(
                "integer_out_of_range",
                format!("Invalid '{}': expected an integer from {min} to {max}.", self.path),
            )),
        }
    }

    /// An array of at most `max` members.
    pub(crate) fn array(&self, max: usize) -> Result<Vec<Field<'a>>, ApiError> {
        let values = self.value.as_array().ok_or_else(|| self.wrong("an array"))?;
        if values.len() > max {
            let message = format!("Invalid '{}': expected at most {max} items.", self.path);
            return Err(self.refuse("array_above_max_length", message));
        }
        let fields = values.iter().enumerate();
        Ok(fields.map(|(index, value)| Field { path: format!("{}[{index}]", self.path), value }).collect())
    }

    /// An object, to be read member by member.
    pub(crate) fn object(self) -> Result<Reader<'a>, ApiError> {
        let members = self.map()?;
        Ok(Reader { path: self.path, members, known: Vec::new() })
    }

    /// An object, taken as it is.
    pub(crate) fn map(&self) -> Result<&'a Map<String, Value>, ApiError> {
        self.value.as_object().ok_or_else(|| self.wrong("an object"))
    }

    /// One of `words`.
    pub(crate) fn word<T>(
        &self,
        words: &[&str],
        from_word: impl Fn(&str) -> Option<T>,
    ) -> Result<T, ApiError> {
        let word = self.string()?;
        from_word(word).ok_or_else(|| unsupported_value(&self.path, word, words))
    }

    /// Strings by name, as in headers.
    pub(crate) fn strings(
        &self,
        pairs_max: usize,
        value_chars_max: usize,
    ) -> Result<Vec<(&'a str, &'a str)>, ApiError> {
        let members = self.map()?;
        if members.len() > pairs_max {
            let message = format!("Invalid '{}': expected at most {pairs_max} properties.", self.path);
            return Err(self.refuse("object_above_max_properties", message));
        }
        let mut pairs = Vec::with_capacity(members.len());
        for (key, value) in members {
            let field = Field { path: format!("{}.{}", self.path, shortened(key)), value };
            pairs.push((key.as_str(), field.any_text(value_chars_max)?));
        }
        Ok(pairs)
    }

    /// A mistake at this member.
    pub(crate) fn refuse(&self, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::invalid(message).code(code).param(self.path.clone())
    }

    fn wrong(&self, expected: &str) -> ApiError {
        wrong_type(&self.path, expected, self.value)
    }
}

/// The mistake of leaving out the member at `path`.
pub(crate) fn missing(path: &str) -> ApiError {
    ApiError::invalid(format!("Missing required parameter: '{path}'."))
        .code("missing_required_parameter")
        .param(path)
}

/// The mistake of a word that is not one of `words`.
pub(crate) fn unsupported_value(path: &str, value: &str, words: &[&str]) -> ApiError {
    let supported: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    let list = match supported.as_slice() {
        [] | [_] => supported.join(""),
        [first, second] => format!("{first} and {second}"),
        [rest @ .., last] => format!("{}, and {last}", rest.join(", ")),
    };
    ApiError::invalid(format!("Invalid value: '{}'. Supported values are: {list}.", shortened(value)))
        .code("invalid_value")
        .param(path)
}

fn wrong_type(path: &str, expected: &str, value: &Value) -> ApiError {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a decimal number",
        Value::Number(_) => "an integer",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    let place = if path.is_empty() { "the request body".to_owned() } else { format!("'{path}'") };
    let error =
        ApiError::invalid(format!("Invalid type for {place}: expected {expected}, but got {found} instead."))
            .code("invalid_type");
    if path.is_empty() { error } else { error.param(path) }
}

/// A client's own text, short and harmless enough to be repeated.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(ECHO_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check<T>(result: Result<T, ApiError>, message: &str, param: Option<&str>) {
        let error = result.err().expect("refused");
        assert_eq!((error.message(), error.parameter()), (message, param));
    }

    #[test]
    fn says_what_is_wrong_and_where() {
        let value = json!({"a": 1, "b": {"c": [true]}, "d": 1.0, "e": "", "f": "long", "g": null});
        let mut reader = Reader::new("", &value).expect("an object");
        check(reader.required("z"), "Missing required parameter: 'z'.", Some("z"));
        let a = reader.required("a").expect("present");
        check(a.string(), "Invalid type for 'a': expected a string, but got an integer instead.", Some("a"));
        check(a.integer(2, 9), "Invalid 'a': expected an integer from 2 to 9.", Some("a"));
        let d = reader.required("d").expect("present");
        let decimal = "Invalid type for 'd': expected an integer, but got a decimal number instead.";
        check(d.integer(0, 9), decimal, Some("d"));
        let e = reader.required("e").expect("present");
        check(e.text(9), "Invalid 'e': it must not be empty.", Some("e"));
        assert_eq!(e.any_text(9).expect("may be empty"), "");
        let f = reader.required("f").expect("present");
        let long = "Invalid 'f': string too long. Expected at most 3 characters.";
        check(f.text(3), long, Some("f"));
        let word = "Invalid value: 'long'. Supported values are: 'x', 'y', and 'z'.";
        check(f.word(&["x", "y", "z"], |_| None::<()>), word, Some("f"));
        assert!(reader.optional_or_null("g").is_none());
        let mut b = reader.required("b").expect("present").object().expect("an object");
        let c = b.required("c").expect("present").array(9).expect("an array");
        let item = "Invalid type for 'b.c[0]': expected an object, but got a boolean instead.";
        check(c[0].clone().object().map(|_| ()), item, Some("b.c[0]"));
        b.finish().expect("nothing unknown");
        reader.finish().expect("nothing unknown");
    }

    #[test]
    fn refuses_unknown_members_and_foreign_roots() {
        let value = json!({"a": {"b": 1}});
        let mut reader = Reader::new("", &value).expect("an object");
        let inner = reader.required("a").expect("present").object().expect("an object");
        check(inner.finish(), "Unknown parameter: 'a.b'.", Some("a.b"));
        let array = json!(["a", 1, 2.0]);
        let root = "Invalid type for the request body: expected an object, but got an array instead.";
        check(Reader::new("", &array).map(|_| ()), root, None);
    }

    #[test]
    fn bounds_arrays_and_pairs() {
        let value = json!({"list": [1, 2, 3], "pairs": {"a": "1", "b": "2"}});
        let mut reader = Reader::new("", &value).expect("an object");
        let list = reader.required("list").expect("present");
        check(list.array(2).map(|_| ()), "Invalid 'list': expected at most 2 items.", Some("list"));
        let pairs = reader.required("pairs").expect("present");
        check(pairs.strings(1, 9), "Invalid 'pairs': expected at most 1 properties.", Some("pairs"));
    }
}
