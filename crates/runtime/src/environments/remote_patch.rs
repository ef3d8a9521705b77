//! Patches in self-hosted environments: files are read through the executor, every hunk is placed here, and
//! only when all of them fit is anything written.

use std::path::Path;

use bytes::Bytes;
use tenure_executor::harness::{CallError, CallErrorKind, Remote};
use tenure_executor::location::Location;
use tenure_executor::message::NOT_FOUND;
use tenure_executor::protocol::files::{Copy, CreateDirectory, Metadata, Remove};
use tenure_journal::{Failure, FailureKind};
use tenure_workspace::FilePath;
use tenure_workspace::patch::{self, Applied, FileChange};
use tokio::time::Instant;

use super::remote::failure;
use super::run::{Ran, failed, summary};

/// One change of the customer's files.
enum Step {
    /// Copied, so that it keeps its mode; what it becomes is written over it next.
    Copy {
        from: Location,
        to: Location,
    },
    Write {
        at: Location,
        bytes: Bytes,
    },
    Remove {
        at: Location,
    },
}

/// Why a patch was not planned.
enum Obstacle {
    /// It does not fit, in words for whoever wrote it.
    Misfit(String),
    /// The executor did not answer.
    Call(CallError),
}

impl From<CallError> for Obstacle {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}

/// Applies a patch below `home`. One that does not fit changes nothing.
///
/// # Errors
/// The executor did not answer: nothing was changed, or, where that is ambiguous, some of it may have been.
pub(super) async fn apply(remote: &Remote, home: &str, text: &str) -> Result<Ran, Failure> {
    let began = Instant::now();
    let (output, exit_code) = match plan(remote, home, text).await {
        Ok((steps, applied)) => (carry_out(remote, &steps, &applied).await?, 0),
        Err(Obstacle::Misfit(why)) => (format!("The patch was not applied: {why}\n"), 1),
        // Nothing was asked but what there is.
        Err(Obstacle::Call(error)) => {
            let why = format!("The patch was not applied: {}.", error.message);
            return Err(failed(FailureKind::NotFound, why));
        }
    };
    Ok(Ran {
        output: output.into_bytes(),
        exit_code: Some(exit_code),
        wall: began.elapsed(),
        ..Ran::default()
    })
}

async fn carry_out(remote: &Remote, steps: &[Step], applied: &Applied) -> Result<String, Failure> {
    for (done, step) in steps.iter().enumerate() {
        if let Err(error) = step.run(remote).await {
            if let CallErrorKind::Refused { .. } = error.kind
                && done == 0
            {
                return Err(failed(
                    FailureKind::InvalidRequest,
                    format!("The patch was not applied: {}.", error.message),
                ));
            }
            // Some of it was written, or this step may have been.
            return Err(Failure { kind: FailureKind::ConnectionFailed, ..failure(&error) });
        }
    }
    Ok(summary(applied))
}

impl Step {
    async fn run(&self, remote: &Remote) -> Result<(), CallError> {
        match self {
            Self::Copy { from, to } => {
                make_parent(remote, to).await?;
                let (source_path, destination_path) = (from.clone(), to.clone());
                let copy = Copy { source_path, destination_path, recursive: false, sandbox: None };
                remote.call(&copy).await.map(drop)
            }
            Self::Write { at, bytes } => {
                make_parent(remote, at).await?;
                remote.write_file(at.clone(), bytes.clone()).await
            }
            Self::Remove { at } => {
                let (recursive, force) = (Some(false), Some(false));
                remote.call(&Remove { path: at.clone(), recursive, force, sandbox: None }).await.map(drop)
            }
        }
    }
}

/// Creates the directories above a file, those that are there included.
async fn make_parent(remote: &Remote, at: &Location) -> Result<(), CallError> {
    let parent = at.as_str().rsplit_once('/').map(|(parent, _)| parent.to_owned());
    let parent = parent.and_then(|parent| Location::try_from(parent).ok());
    let Some(path) = parent else { return Ok(()) };
    remote.call(&CreateDirectory { path, recursive: Some(true), sandbox: None }).await.map(drop)
}

/// What has to be done, once everything was found to fit.
async fn plan(remote: &Remote, home: &str, text: &str) -> Result<(Vec<Step>, Applied), Obstacle> {
    let patch = patch::parse(text).map_err(|error| Obstacle::Misfit(error.to_string()))?;
    let (mut steps, mut removals) = (Vec::new(), Vec::new());
    let mut applied = Applied::default();
    for change in &patch.changes {
        match change {
            FileChange::Add { path, text } => {
                let at = absent(remote, home, path).await?;
                steps.push(Step::Write { at, bytes: text.clone().into() });
                applied.added.push(path.clone());
            }
            FileChange::Delete { path } => {
                let at = location(home, path)?;
                read(remote, &at, path).await?;
                removals.push(Step::Remove { at });
                applied.deleted.push(path.clone());
            }
            FileChange::Update { path, to, hunks } => {
                let from = location(home, path)?;
                let old = read(remote, &from, path).await?;
                let old = std::str::from_utf8(&old)
                    .map_err(|_| Obstacle::Misfit(format!("`{path}`: not a text file in UTF-8")))?;
                let new = patch::apply_hunks(old, hunks)
                    .map_err(|error| Obstacle::Misfit(format!("`{path}`, {error}")))?;
                let at = match to {
                    Some(to) => {
                        let at = absent(remote, home, to).await?;
                        steps.push(Step::Copy { from: from.clone(), to: at.clone() });
                        removals.push(Step::Remove { at: from });
                        applied.moved.push((path.clone(), to.clone()));
                        at
                    }
                    None => {
                        applied.updated.push(path.clone());
                        from
                    }
                };
                steps.push(Step::Write { at, bytes: new.into() });
            }
        }
    }
    steps.append(&mut removals);
    Ok((steps, applied))
}

async fn read(remote: &Remote, at: &Location, path: &FilePath) -> Result<Bytes, Obstacle> {
    match remote.read_file(at.clone()).await {
        Ok(bytes) => Ok(bytes),
        Err(error) if matches!(error.kind, CallErrorKind::Refused { .. }) => {
            Err(Obstacle::Misfit(format!("`{path}`: {}", error.message)))
        }
        Err(error) => Err(error.into()),
    }
}

/// Where something is to be that must not be there yet.
async fn absent(remote: &Remote, home: &str, path: &FilePath) -> Result<Location, Obstacle> {
    let at = location(home, path)?;
    match remote.call(&Metadata { path: at.clone(), sandbox: None }).await {
        Ok(_) => Err(Obstacle::Misfit(format!("`{path}`: it exists already"))),
        Err(error) if error.kind == (CallErrorKind::Refused { code: NOT_FOUND }) => Ok(at),
        Err(error) if matches!(error.kind, CallErrorKind::Refused { .. }) => {
            Err(Obstacle::Misfit(format!("`{path}`: {}", error.message)))
        }
        Err(error) => Err(error.into()),
    }
}

fn location(home: &str, path: &FilePath) -> Result<Location, Obstacle> {
    let misfit = |error: &dyn std::fmt::Display| Obstacle::Misfit(format!("`{path}`: {error}"));
    let below = std::str::from_utf8(path.as_bytes()).map_err(|error| misfit(&error))?;
    Location::from_path(&Path::new(home).join(below)).map_err(|error| misfit(&error))
}
