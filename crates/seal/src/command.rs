//! A key service behind a command: it wraps and unwraps keys, and its own key never comes here.
//!
//! The command is run with `wrap` or `unwrap` as its last argument. It reads one line of base64 from standard
//! input and writes one to standard output. What it writes for `wrap` is opaque; the same text must unwrap for as
//! long as anything is sealed, so a service that renews its key keeps the old ones. It runs rarely: once for each
//! project and process, and at a change of keys.

use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use zeroize::Zeroizing;

use crate::error::{SealError, SealErrorKind};
use crate::{DataKey, KEY_BYTES};

/// How long one run may take: a service far away, and a retry of its own.
pub const COMMAND_TIME_MAX: Duration = Duration::from_secs(20);
/// Bytes of an answer: what services make of 32 bytes is less than one thousand.
pub const COMMAND_ANSWER_BYTES_MAX: usize = 16 * 1024;

/// How to reach a key service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyCommand {
    argv: Vec<String>,
    time_max: Duration,
}

impl KeyCommand {
    /// A program with its arguments, apart by white space; nothing if there is no program. No shell reads it.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let argv: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        (!argv.is_empty()).then_some(Self { argv, time_max: COMMAND_TIME_MAX })
    }

    /// The same with another limit for each run.
    #[must_use]
    pub fn within(self, time_max: Duration) -> Self {
        Self { time_max, ..self }
    }

    /// What keys that it wrapped are known by. The service says which of its keys it used, and not we.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        "command".to_owned()
    }

    /// The service knows nothing of owners: the digest of this one is wrapped together with its key.
    pub(crate) async fn wrap(&self, owner: &str, key: &DataKey) -> Result<Vec<u8>, SealError> {
        let mut both = Zeroizing::new(key.as_bytes().to_vec());
        both.extend_from_slice(blake3::hash(owner.as_bytes()).as_bytes());
        self.run("wrap", &both).await.map(|wrapped| wrapped.to_vec())
    }

    pub(crate) async fn unwrap(&self, owner: &str, wrapped: &[u8]) -> Result<DataKey, SealError> {
        let both = self.run("unwrap", wrapped).await?;
        let (key, owned) = both
            .split_first_chunk::<KEY_BYTES>()
            .ok_or_else(|| failed("answered with something that is no key"))?;
        if *owned != blake3::hash(owner.as_bytes()).as_bytes()[..] {
            return Err(SealErrorKind::Refused.into());
        }
        Ok(DataKey::from_bytes(*key))
    }

    async fn run(&self, verb: &str, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let answer = tokio::time::timeout(self.time_max, self.ask(verb, input)).await;
        let answer = answer.map_err(|_| failed("took too long"))??;
        let text =
            std::str::from_utf8(&answer).map_err(|_| failed("answered with something else than text"))?;
        let decoded = STANDARD.decode(text.trim());
        decoded.map(Zeroizing::new).map_err(|_| failed("answered with something else than base64"))
    }

    /// Cancelling it kills the command.
    async fn ask(&self, verb: &str, input: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let io = |what| move |source| SealError::with(SealErrorKind::Command { what }, source);
        let (program, arguments) = self.argv.split_first().ok_or_else(|| failed("has no program"))?;
        let mut child = Command::new(program)
            .args(arguments)
            .arg(verb)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(io("could not be started"))?;
        let line = Zeroizing::new(format!("{}\n", STANDARD.encode(input)));
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (Some(mut stdin), Some(stdout)) = (stdin, stdout) else { return Err(failed("has no pipes")) };
        // One that does not read what it is told may still answer.
        let _ = stdin.write_all(line.as_bytes()).await;
        drop(stdin);
        let mut answer = Zeroizing::new(Vec::new());
        let most = COMMAND_ANSWER_BYTES_MAX as u64 + 1;
        stdout.take(most).read_to_end(&mut answer).await.map_err(io("could not be read"))?;
        if answer.len() > COMMAND_ANSWER_BYTES_MAX {
            return Err(failed("answered with too much"));
        }
        let status = child.wait().await.map_err(io("could not be waited for"))?;
        if status.success() { Ok(answer) } else { Err(failed("failed")) }
    }
}

fn failed(what: &'static str) -> SealError {
    SealErrorKind::Command { what }.into()
}
