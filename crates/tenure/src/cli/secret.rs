//! How a person hands over a secret: on standard input, typed unseen, or in a variable. Never as an argument, which
//! every user of the machine can read.

use std::io::Read as _;
use std::process::{Command, Stdio};

use tenure_runtime::SecretString;

use super::Context;
use super::error::CliError;

/// Bytes of a secret: what the server takes.
const SECRET_BYTES_MAX: u64 = 16 * 1024;

/// Reads the secret: from the variable that was named, from what is typed, or all of standard input without the line end
/// behind it.
pub(crate) fn read(cx: &mut Context, variable: Option<&str>, what: &str) -> Result<SecretString, CliError> {
    let text = match variable {
        Some(name) => cx.world.env.find(name).map(str::to_owned).ok_or_else(|| {
            CliError::usage(format!("the variable `{name}` is not set"))
                .fix("set it, or leave out --secret-env")
        })?,
        None if cx.world.stdin_is_terminal => typed(cx, what)?,
        None => {
            let mut text = String::new();
            std::io::stdin().lock().take(SECRET_BYTES_MAX + 2).read_to_string(&mut text)?;
            text
        }
    };
    let secret = text.strip_suffix('\n').unwrap_or(&text);
    let secret = secret.strip_suffix('\r').unwrap_or(secret);
    if secret.is_empty() {
        return Err(CliError::usage(format!("the {what} is empty"))
            .fix("pipe it in, type it, or name a variable with --secret-env"));
    }
    if secret.len() as u64 > SECRET_BYTES_MAX {
        return Err(CliError::usage(format!("the {what} is longer than {SECRET_BYTES_MAX} bytes")));
    }
    Ok(SecretString::from(secret))
}

/// A line that a terminal does not show while it is typed.
fn typed(cx: &mut Context, what: &str) -> Result<String, CliError> {
    cx.note(&format!("type the {what}, which is not shown:"))?;
    let hidden = terminal("-echo");
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line);
    if hidden {
        terminal("echo");
    }
    read?;
    Ok(line)
}

/// Tells the terminal whether to show what is typed.
fn terminal(mode: &str) -> bool {
    let mut command = Command::new("stty");
    command.arg(mode).stdin(Stdio::inherit()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
