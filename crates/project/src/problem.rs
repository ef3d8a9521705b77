//! What can be wrong with a project's files, and how it is told.

use std::cell::RefCell;
use std::fmt;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Nothing starts until it is fixed.
    Error,
    /// Worth knowing; the project can start.
    Warning,
}

/// What kind of problem it is; [`Code::as_str`] is its stable name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A file cannot be read.
    Unreadable,
    /// A file, list or text is longer than its limit.
    TooLarge,
    /// Text that is not UTF-8.
    Encoding,
    /// Text that is not YAML.
    Yaml,
    /// Text that is not JSON as Tenure reads it.
    Json,
    /// Front matter that does not end.
    FrontMatter,
    /// A line of `.env` that is not an assignment.
    DotEnv,
    /// A key nobody knows.
    UnknownKey,
    /// A word that is not one of those allowed.
    UnknownValue,
    /// A value of another type than expected.
    Type,
    /// A number outside its range.
    Range,
    /// A key or file that must be there.
    Missing,
    /// A name that breaks the rules for names.
    Name,
    /// The same thing defined twice.
    Duplicate,
    /// A name that refers to nothing.
    Reference,
    /// Two keys that exclude each other.
    Conflict,
    /// A secret written where it does not belong.
    Secret,
    /// An environment variable that is not set, or a reference that is malformed.
    Env,
    /// An address that cannot be used.
    Url,
    /// Something Tenure does not do.
    Unsupported,
}

impl Code {
    /// The stable name of this kind of problem.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::Encoding => "encoding",
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::FrontMatter => "front_matter",
            Self::DotEnv => "dot_env",
            Self::UnknownKey => "unknown_key",
            Self::UnknownValue => "unknown_value",
            Self::Type => "type",
            Self::Range => "range",
            Self::Missing => "missing",
            Self::Name => "name",
            Self::Duplicate => "duplicate",
            Self::Reference => "reference",
            Self::Conflict => "conflict",
            Self::Secret => "secret",
            Self::Env => "env",
            Self::Url => "url",
            Self::Unsupported => "unsupported",
        }
    }
}

/// A place in a file, both counted from one; zero is the file as a whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: u32,
    /// The column, in characters.
    pub column: u32,
}

/// One thing wrong with a project's files.
///
/// Prints as three lines without a final line end: severity, code and message; the place; the hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// What kind it is.
    pub code: Code,
    /// The file, relative to the project directory.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// What is wrong: lower case, values in back-ticks.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Problem {
    /// `file:line:column`, as far as it is known.
    #[must_use]
    pub fn location(&self) -> String {
        match self.place {
            Place { line: 0, .. } => self.file.clone(),
            Place { line, column: 0 } => format!("{}:{line}", self.file),
            Place { line, column } => format!("{}:{line}:{column}", self.file),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}[{}]: {}\n  --> {}", self.code.as_str(), self.message, self.location())?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Why a project cannot be used: every problem found, in the order of files and places.
///
/// Prints each problem, an empty line between two.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ProjectError {
    problems: Vec<Problem>,
}

impl ProjectError {
    /// Every problem; at least one of them is an error.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ProjectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// Problems as they are found in one file, so that a reader sees all of them at once.
#[derive(Debug)]
pub(crate) struct Report {
    file: String,
    problems: RefCell<Vec<Problem>>,
}

/// One file cannot fill the terminal: problems beyond this many are not listed.
const PROBLEMS_PER_FILE_MAX: usize = 50;

impl Report {
    pub(crate) fn new(file: &str) -> Self {
        Self { file: file.to_owned(), problems: RefCell::default() }
    }

    pub(crate) fn error(&self, code: Code, place: Place, message: impl Into<String>) {
        self.push(Severity::Error, code, place, message.into(), None);
    }

    pub(crate) fn hinted(
        &self,
        code: Code,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Error, code, place, message.into(), Some(hint.into()));
    }

    pub(crate) fn warning(
        &self,
        code: Code,
        place: Place,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(Severity::Warning, code, place, message.into(), Some(hint.into()));
    }

    fn push(&self, severity: Severity, code: Code, place: Place, message: String, hint: Option<String>) {
        let mut problems = self.problems.borrow_mut();
        if problems.len() < PROBLEMS_PER_FILE_MAX {
            problems.push(Problem { severity, code, file: self.file.clone(), place, message, hint });
        }
    }

    /// The problems, by place.
    pub(crate) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| problem.place);
        problems
    }
}

/// `value` and the warnings beside it, unless one of the problems is an error.
pub(crate) fn settle<T>(value: Option<T>, problems: Vec<Problem>) -> Result<(T, Vec<Problem>), ProjectError> {
    let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
    match value {
        Some(value) if !failed => Ok((value, problems)),
        _ => Err(ProjectError { problems }),
    }
}

/// A stretch of someone's text that is safe in a message: no control characters, bounded.
pub(crate) fn quote(text: &str) -> String {
    const QUOTED_CHARS_MAX: usize = 60;
    let mut shown: String = text.chars().filter(|c| !c.is_control()).take(QUOTED_CHARS_MAX).collect();
    if text.chars().count() > QUOTED_CHARS_MAX {
        shown.push('…');
    }
    format!("`{shown}`")
}

/// The candidate someone most likely meant.
pub(crate) fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Long words are not compared: the distance is quadratic and nobody mistypes them.
    const COMPARED_BYTES_MAX: usize = 80;
    if word.len() > COMPARED_BYTES_MAX {
        return None;
    }
    let lowered = word.to_lowercase();
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&lowered, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.chars().count() / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// "did you mean" where something is near, otherwise all that is possible.
pub(crate) fn suggest(word: &str, kind: &str, candidates: &[&str]) -> String {
    match nearest(word, candidates.iter().copied()) {
        Some(found) => format!("did you mean `{found}`?"),
        None if candidates.is_empty() => format!("there are no {kind}"),
        None => format!("the {kind} are {}", listed(candidates)),
    }
}

/// `a`, `b` and `c`.
pub(crate) fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|word| format!("`{word}`")).collect();
            format!("{} and `{last}`", first.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_code_place_and_hint() {
        let report = Report::new("tenure.yaml");
        report.hinted(
            Code::UnknownKey,
            Place { line: 2, column: 3 },
            "unknown key `modle`",
            "did you mean `model`?",
        );
        report.error(Code::Missing, Place::default(), "there is no `agents` directory");
        let error = settle(Some(()), report.into_problems()).expect_err("two errors");
        assert_eq!(
            error.to_string(),
            "error[missing]: there is no `agents` directory\n  --> tenure.yaml\n\n\
             error[unknown_key]: unknown key `modle`\n  --> tenure.yaml:2:3\n  hint: did you mean `model`?"
        );
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(suggest("modle", "keys", &["model", "tools"]), "did you mean `model`?");
        assert_eq!(suggest("colour", "keys", &["model", "tools"]), "the keys are `model` and `tools`");
        assert_eq!(suggest("x", "servers", &[]), "there are no servers");
        assert_eq!(nearest(&"x".repeat(5000), ["x"]), None);
    }
}
