//! Environment variables as a value, references to them in files, and `.env`.

use std::collections::BTreeMap;
use std::fmt;

use crate::ProjectError;
use crate::problem::{Code, Place, Problem, Report, quote, settle};

/// A secret: shown nowhere but where it is used.
#[derive(Clone, PartialEq, Eq)]
pub struct Redacted(String);

impl Redacted {
    /// Hides `secret`.
    #[must_use]
    pub fn new(secret: String) -> Self {
        Self(secret)
    }

    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Environment variables, given by whoever read them. Printing it shows names only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Env {
    variables: BTreeMap<String, String>,
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.variables.keys()).finish()
    }
}

impl FromIterator<(String, String)> for Env {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self { variables: variables.into_iter().collect() }
    }
}

impl Env {
    /// The value of `name`; an empty value counts as absent.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The same variables and those of `defaults` that are not set here.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        let mut variables = defaults.variables.clone();
        let set = self.variables.iter().filter(|(_, value)| !value.is_empty());
        variables.extend(set.map(|(name, value)| (name.clone(), value.clone())));
        Self { variables }
    }
}

/// What to do about a reference to a variable that is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// Nothing starts without it.
    Error,
    /// Say so and go on with empty text: for looking at a project without its secrets.
    Warning,
}

/// Variables and how strict to be about them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolver<'a> {
    pub(crate) env: &'a Env,
    pub(crate) unset: Unset,
}

impl Resolver<'_> {
    /// Replaces each `${NAME}` of `text`; `$${` stands for `${`.
    pub(crate) fn substitute(&self, text: &str, what: &str, at: Place, report: &Report) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            if rest[..start].ends_with('$') {
                out.push_str(&rest[..start]);
                out.push('{');
                rest = &rest[start + 2..];
                continue;
            }
            out.push_str(&rest[..start]);
            let Some(end) = rest[start..].find('}') else {
                report.error(Code::Env, at, format!("{what} has a `${{` without its `}}`"));
                return None;
            };
            out.push_str(&self.value(&rest[start + 2..start + end], what, at, report)?);
            rest = &rest[start + end + 1..];
        }
        out.push_str(rest);
        Some(out)
    }

    /// The value of the variable `name`.
    pub(crate) fn value(&self, name: &str, what: &str, at: Place, report: &Report) -> Option<String> {
        if !is_name(name) {
            let message = format!("{what} refers to {}, which cannot name a variable", quote(name));
            report.hinted(Code::Env, at, message, "write `${NAME}`: letters, digits and underscores");
            return None;
        }
        if let Some(value) = self.env.find(name) {
            return Some(value.to_owned());
        }
        let message = format!("{what} refers to `{name}`, which is not set");
        let hint = format!("export `{name}`, or add a line `{name}=…` to `.env`");
        match self.unset {
            Unset::Error => {
                report.hinted(Code::Env, at, message, hint);
                None
            }
            Unset::Warning => {
                report.warning(Code::Env, at, message, hint);
                Some(String::new())
            }
        }
    }
}

/// The variable that `text` refers to, if it is one reference and nothing else.
pub(crate) fn as_reference(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}').filter(|name| is_name(name))
}

/// Whether `name` can name a variable (POSIX, Base Definitions, section 8.1).
pub(crate) fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Reads the text of a `.env` file: `NAME=value` lines, comments, quotes.
///
/// A value in single quotes is taken as it stands; in double quotes `\n`, `\t`, `\"`, `\\` and `\$` are
/// replaced; without quotes it ends at ` #` and loses the space around it. Values never span lines.
///
/// # Errors
/// Every line that is neither an assignment, nor a comment, nor empty. No value is ever quoted.
pub fn parse_dot_env(text: &str) -> Result<Env, ProjectError> {
    let (env, problems) = read_dot_env(text);
    settle(Some(env), problems).map(|(env, _)| env)
}

fn read_dot_env(text: &str) -> (Env, Vec<Problem>) {
    let report = Report::new(".env");
    let mut variables = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let at = Place { line: number, column: 1 };
        match assignment(line) {
            Ok((name, _)) if variables.contains_key(name) => {
                report.error(Code::Duplicate, at, format!("`{name}` is set twice"));
            }
            Ok((name, value)) => drop(variables.insert(name.to_owned(), value)),
            Err(message) => report.hinted(Code::DotEnv, at, message, "write `NAME=value`"),
        }
    }
    (Env { variables }, report.into_problems())
}

fn assignment(line: &str) -> Result<(&str, String), &'static str> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("a line without `=`")?;
    let name = name.trim_end();
    if !is_name(name) {
        return Err("a name that is not letters, digits and underscores");
    }
    Ok((name, unquote(value.trim())?))
}

fn unquote(value: &str) -> Result<String, &'static str> {
    if let Some(rest) = value.strip_prefix('\'') {
        let (inner, after) = rest.split_once('\'').ok_or("a single quote that is not closed")?;
        return comment_only(after).map(|()| inner.to_owned());
    }
    let Some(rest) = value.strip_prefix('"') else {
        let bare = match value.find(" #") {
            Some(comment) => &value[..comment],
            None if value.starts_with('#') => "",
            None => value,
        };
        return Ok(bare.trim_end().to_owned());
    };
    let mut out = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next() {
            None => return Err("a double quote that is not closed"),
            Some('"') => return comment_only(chars.as_str()).map(|()| out),
            Some('\\') => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(c @ ('"' | '\\' | '$')) => out.push(c),
                _ => return Err("a backslash before something else than `n`, `t`, `\"`, `\\` and `$`"),
            },
            Some(c) => out.push(c),
        }
    }
}

fn comment_only(after: &str) -> Result<(), &'static str> {
    match after.trim_start() {
        rest if rest.is_empty() || rest.starts_with('#') => Ok(()),
        _ => Err("text after the closing quote"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> Env {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn reads_assignments() {
        let text =
            "# local\n\nA=1\nexport B = two words # why\nC='$x #y'\nD=\"a\\n\\\"b\\\"\" # c\nE=\nF=a#b\n";
        let expected = env(&[
            ("A", "1"),
            ("B", "two words"),
            ("C", "$x #y"),
            ("D", "a\n\"b\""),
            ("E", ""),
            ("F", "a#b"),
        ]);
        assert_eq!(parse_dot_env(text), Ok(expected));
    }

    #[test]
    fn refuses_other_lines_without_quoting_them() {
        for (text, expected) in [
            ("sk-secret", "a line without `=`"),
            ("1A=x", "a name that is not letters, digits and underscores"),
            ("A='x", "a single quote that is not closed"),
            ("A=\"x", "a double quote that is not closed"),
            ("A=\"x\" y", "text after the closing quote"),
            ("A=\"\\q\"", "a backslash before something else than `n`, `t`, `\"`, `\\` and `$`"),
            ("A=1\nA=2", "`A` is set twice"),
        ] {
            let error = parse_dot_env(text).expect_err(text);
            assert_eq!(error.problems()[0].message, expected, "{text}");
        }
    }

    #[test]
    fn the_real_environment_wins() {
        let merged = env(&[("A", "real"), ("B", "")]).or(&env(&[("A", "file"), ("B", "file")]));
        assert_eq!((merged.find("A"), merged.find("B")), (Some("real"), Some("file")));
    }

    #[test]
    fn substitutes_references() {
        let env = env(&[("HOST", "h"), ("PORT", "1")]);
        let resolver = Resolver { env: &env, unset: Unset::Error };
        for (text, expected) in [
            ("http://${HOST}:${PORT}/", Ok("http://h:1/")),
            ("$${HOST} $HOST", Ok("${HOST} $HOST")),
            ("${NONE}", Err("`k` refers to `NONE`, which is not set")),
            ("${HOST", Err("`k` has a `${` without its `}`")),
            ("${a b}", Err("`k` refers to `a b`, which cannot name a variable")),
        ] {
            let report = Report::new("f");
            let found = resolver.substitute(text, "`k`", Place::default(), &report);
            match expected {
                Ok(expected) => assert_eq!(found.as_deref(), Some(expected)),
                Err(message) => assert_eq!(report.into_problems()[0].message, message),
            }
        }
    }

    #[test]
    fn printing_shows_no_value() {
        let env = env(&[("KEY", "hunter2")]);
        assert_eq!(format!("{env:?} {:?}", Redacted::new("hunter2".into())), "{\"KEY\"} [redacted]");
    }
}
