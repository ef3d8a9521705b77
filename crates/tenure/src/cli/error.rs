//! Errors as people and scripts meet them: a code, a cause, a fix to run, and an exit code.

use std::fmt::Write as _;

use super::world::{Output, Tone, plain};

/// What the process tells its parent. Documented in `docs/cli.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Done,
    /// Failed.
    Failed,
    /// The command line cannot be understood. The number is clap's.
    Usage,
    /// What was named does not exist.
    NotFound,
    /// A person or client must act first, or refused.
    NeedsAction,
    /// No server answers.
    Unreachable,
    /// The server does not accept the key.
    Unauthorized,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NeedsAction => 4,
            Self::Unreachable => 5,
            Self::Unauthorized => 6,
        }
    }
}

/// Why a command did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CliError {
    pub(crate) exit: Exit,
    /// A stable word for scripts.
    pub(crate) code: String,
    /// Lower case, values in back-ticks.
    pub(crate) message: String,
    /// What is behind it.
    pub(crate) cause: Option<String>,
    /// A command to run or a step to take.
    pub(crate) fix: Option<String>,
    /// What was not lost, where that is certain.
    pub(crate) kept: Option<&'static str>,
}

/// Every accepted input is committed before it is acknowledged, so this holds whenever a server is gone.
pub(crate) const SESSIONS_KEPT: &str =
    "nothing is lost: sessions are on disk and go on when the server is back";

impl CliError {
    pub(crate) fn new(exit: Exit, code: &str, message: impl Into<String>) -> Self {
        Self { exit, code: code.to_owned(), message: message.into(), cause: None, fix: None, kept: None }
    }

    pub(crate) fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, code, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, "usage", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(Exit::NotFound, "not_found", message)
    }

    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }

    pub(crate) fn kept(mut self, kept: &'static str) -> Self {
        self.kept = Some(kept);
        self
    }

    /// The lines to print, without a final line end.
    pub(crate) fn render(&self, output: &Output) -> String {
        let label = output.tone(Tone::Red, &format!("error[{}]", self.code));
        let mut text = format!("{label}: {}", plain(&self.message));
        if let Some(cause) = &self.cause {
            let _ = write!(text, "\n  cause: {}", plain(cause));
        }
        if let Some(fix) = &self.fix {
            let _ = write!(text, "\n  fix: {}", output.tone(Tone::Bold, &plain(fix)));
        }
        if let Some(kept) = self.kept {
            let _ = write!(text, "\n  {kept}");
        }
        text
    }
}

/// Writing to a pipe whose reader has left is the reader's wish, not a failure.
pub(crate) const CODE_PIPE_CLOSED: &str = "pipe_closed";

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == std::io::ErrorKind::BrokenPipe {
            return Self::new(Exit::Done, CODE_PIPE_CLOSED, "the reader has left");
        }
        Self::failed("io", "cannot read or write").cause(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_why_what_to_do_and_what_is_safe() {
        let error =
            CliError::new(Exit::Unreachable, "unreachable", "no server answers at `http://127.0.0.1:1`")
                .cause("connection refused")
                .fix("tenure up")
                .kept(SESSIONS_KEPT);
        let output = Output::new(false, true, Box::new(std::io::sink()));
        assert_eq!(
            error.render(&output),
            "error[unreachable]: no server answers at `http://127.0.0.1:1`\n  cause: connection refused\n  \
             fix: tenure up\n  nothing is lost: sessions are on disk and go on when the server is back"
        );
    }
}
