//! What surrounds a command: environment, directory, clock, terminals. Read once, passed everywhere.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use tenure_project::Env;

/// What a command may ask of the process.
pub(crate) struct World {
    /// The environment; variables that are not UTF-8 are left out.
    pub(crate) env: Env,
    /// The current directory.
    pub(crate) directory: PathBuf,
    /// Seconds since the Unix epoch when the command began.
    pub(crate) now: i64,
    /// Whether a person may be typing.
    pub(crate) stdin_is_terminal: bool,
    /// Payload.
    pub(crate) out: Output,
    /// Progress, questions and errors.
    pub(crate) err: Output,
}

/// One of the two standard streams.
pub(crate) struct Output {
    writer: Box<dyn Write + Send>,
    /// Whether a person may be reading.
    pub(crate) is_terminal: bool,
    color: bool,
}

impl World {
    pub(crate) fn of_process() -> Self {
        let pairs = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let env: Env = pairs.collect();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        // https://no-color.org: any value that is not empty.
        let color = env.find("NO_COLOR").is_none() && env.find("TERM") != Some("dumb");
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        Self {
            directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            now: now.map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX)),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            out: Output::new(stdout.is_terminal(), color, Box::new(stdout)),
            err: Output::new(stderr.is_terminal(), color, Box::new(stderr)),
            env,
        }
    }
}

/// How a word stands out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
}

impl Output {
    pub(crate) fn new(is_terminal: bool, color: bool, writer: Box<dyn Write + Send>) -> Self {
        Self { writer, is_terminal, color: color && is_terminal }
    }

    /// `text` in that tone, or as it is where colour is unwanted.
    pub(crate) fn tone(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Bold => 1,
            Tone::Dim => 2,
            Tone::Red => 31,
            Tone::Green => 32,
            Tone::Yellow => 33,
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Writes `text` and a line end.
    pub(crate) fn line(&mut self, text: &str) -> std::io::Result<()> {
        writeln!(self.writer, "{text}")?;
        self.writer.flush()
    }

    /// Writes `text` at once.
    pub(crate) fn write(&mut self, text: &str) -> std::io::Result<()> {
        self.writer.write_all(text.as_bytes())?;
        self.writer.flush()
    }
}

/// Text from elsewhere without what could drive a terminal: control characters become spaces, except
/// line ends and tabs.
pub(crate) fn plain(text: &str) -> String {
    let safe = |c: char| if c.is_control() && c != '\n' && c != '\t' { ' ' } else { c };
    text.chars().map(safe).collect()
}

/// The same on one line of at most `chars_max` characters.
pub(crate) fn brief(text: &str, chars_max: usize) -> String {
    let line: String = plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= chars_max {
        return line;
    }
    let mut cut: String = line.chars().take(chars_max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_drive_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\r\n\tc\u{9b}"), "a [2Jb \n\tc ");
        assert_eq!(brief("a\n  b\x07c", 9), "a b c");
        assert_eq!(brief("abcdef", 4), "abc…");
    }
}
