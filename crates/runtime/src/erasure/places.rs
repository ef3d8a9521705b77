//! The places that something of a person can be in. A place is a small function that removes what is written down to
//! go, and may be called again: to have one more erased, add it to [`remove`], to [`count`], and to the table in
//! `docs/erasure.md`.

use std::collections::{BTreeMap, BTreeSet};

use tenure_journal::{
    EffectKind, Environment, EnvironmentFile, EnvironmentId, Event, FileId, InputPart, ProjectId, ServerRef,
    SessionId, SessionKey, Version,
};
use tenure_store::{Document, DocumentKind, Erasing, Gone, Order, Page, Place, Whose};

use super::Forget;
use super::automations::{self, automations};
use super::job::{Job, Outside};
use super::memories::memories;
use crate::handle::Shared;
use crate::{RuntimeError, RuntimeErrorKind};

/// Things read at once.
const PAGE: usize = 256;
/// Names of routes and servers that are kept for the receipt.
const NAMES_MAX: usize = 64;
/// Texts that are kept of each session to be looked for.
const SAID_MAX: usize = 8;

/// What was seen in the journals of sessions that are to go.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Uploaded files that they were given, and nothing else was.
    pub(super) files: Vec<FileId>,
    /// Where what was said went.
    pub(super) outside: Outside,
    /// The longest of what was said.
    pub(super) said: Vec<String>,
}

impl Seen {
    /// Takes a file that was named, whoever else was given it.
    pub(super) fn named(&mut self, file: Option<FileId>) {
        self.files.extend(file.filter(|file| !self.files.contains(file)));
    }
}

/// The sessions that are to go, with those of their subagents and their forks.
pub(super) async fn sessions_of(
    shared: &Shared,
    project: ProjectId,
    what: &Forget,
) -> Result<Vec<SessionId>, RuntimeError> {
    match what {
        Forget::Subject(user) => Ok(shared.store.sessions_of(project, &Whose::User(user.clone())).await?),
        Forget::Session(session) => Ok(shared.store.sessions_of(project, &Whose::Session(*session)).await?),
        Forget::File(file) => given_to(shared, project, *file).await,
        Forget::Fact(_) | Forget::Scope(_) => Ok(Vec::new()),
    }
}

/// The file that is to go, while it is there.
pub(super) async fn file_of(
    shared: &Shared,
    project: ProjectId,
    what: &Forget,
) -> Result<Option<FileId>, RuntimeError> {
    let Forget::File(file) = what else { return Ok(None) };
    let found = shared.store.document(project, DocumentKind::File, &file.to_string(), None).await?;
    Ok(found.map(|_| *file))
}

/// The sessions that were given a file, and what came of them. Reads every journal of the project.
async fn given_to(shared: &Shared, project: ProjectId, file: FileId) -> Result<Vec<SessionId>, RuntimeError> {
    let mut sessions = BTreeSet::new();
    let mut after = None;
    loop {
        let page = shared.store.every_session(after, PAGE).await?;
        let Some(last) = page.last().copied() else { break };
        after = Some(last);
        for key in page.into_iter().filter(|key| key.project == project) {
            let mut has = false;
            each_event(shared, key, |event| given(event, &mut |found| has |= found == file)).await?;
            if has {
                sessions.extend(shared.store.sessions_of(project, &Whose::Session(key.session)).await?);
            }
        }
    }
    Ok(sessions.into_iter().collect())
}

/// Reads the journals of sessions, and, if they or automations that go with them were given files, those of all others
/// to find out whose these are.
pub(super) async fn look(
    shared: &Shared,
    project: ProjectId,
    what: &Forget,
    sessions: &[SessionId],
) -> Result<Seen, RuntimeError> {
    let mut seen = Seen::default();
    let automations = automations::going(shared, project, what).await?;
    let mut files: BTreeSet<FileId> = automations.iter().flat_map(automations::files).collect();
    for session in sessions {
        let mut said: Vec<String> = Vec::new();
        let read = each_event(shared, SessionKey { project, session: *session }, |event| {
            given(event, &mut |file| _ = files.insert(file));
            went_to(event, &mut seen.outside);
            if let Event::InputAccepted { input } = event {
                said.extend(input.content.iter().filter_map(|part| match part {
                    InputPart::Text { text } => Some(text.clone()),
                    InputPart::Image { .. } => None,
                }));
            }
        });
        match read.await {
            // One that cannot be read goes all the same.
            Err(error) if *error.kind() == RuntimeErrorKind::Damaged => {
                tracing::warn!(%session, %error, "a session that is erased cannot be read");
            }
            read => read?,
        }
        said.sort_by_key(|text| std::cmp::Reverse(text.len()));
        said.truncate(SAID_MAX);
        seen.said.extend(said);
    }
    if !files.is_empty() {
        keep_what_others_have(shared, project, (sessions, &automations), &mut files).await?;
    }
    seen.files = files.into_iter().collect();
    Ok(seen)
}

/// Removes what is written down.
pub(super) async fn remove(shared: &Shared, job: &Job, what: &Forget) -> Result<(), RuntimeError> {
    let plan = job.planned();
    // First what would open more sessions.
    automations(shared, job.project, what, Erasing::Remove).await?;
    memories(shared, job.project, what, &plan.sessions, Erasing::Remove).await?;
    copies(shared, &plan.sessions).await;
    files(shared, job.project, &plan.files, Erasing::Remove).await?;
    sessions(shared, job.project, &plan.sessions, Erasing::Remove).await?;
    shared.digests.forget(job.project, &plan.sessions);
    Ok(())
}

/// The rows that [`remove`] would remove.
pub(super) async fn count(
    shared: &Shared,
    project: ProjectId,
    what: &Forget,
    of: &[SessionId],
    uploaded: &[FileId],
) -> Result<Gone, RuntimeError> {
    let mut gone = automations(shared, project, what, Erasing::Count).await?;
    gone.extend(&memories(shared, project, what, of, Erasing::Count).await?);
    gone.extend(&files(shared, project, uploaded, Erasing::Count).await?);
    gone.extend(&sessions(shared, project, of, Erasing::Count).await?);
    Ok(gone)
}

/// Sessions: journals, snapshots, items, turns, episodes with their index, budgets, answers to idempotency keys, what
/// was to be delivered to webhooks, automations that reach them, and what links them to forks and environments.
async fn sessions(
    shared: &Shared,
    project: ProjectId,
    sessions: &[SessionId],
    erasing: Erasing,
) -> Result<Gone, RuntimeError> {
    let mut gone = Gone::default();
    for session in sessions {
        gone.extend(&shared.store.erase(project, &Place::Session(*session), erasing).await?);
    }
    Ok(gone)
}

/// Uploaded files. Their bytes are payloads.
async fn files(
    shared: &Shared,
    project: ProjectId,
    files: &[FileId],
    erasing: Erasing,
) -> Result<Gone, RuntimeError> {
    let mut gone = Gone::default();
    for file in files {
        let place = Place::Document(DocumentKind::File, file.to_string());
        gone.extend(&shared.store.erase(project, &place, erasing).await?);
    }
    Ok(gone)
}

/// Copies of environments' files on this machine. Other nodes remove theirs when nothing used them for long.
async fn copies(shared: &Shared, sessions: &[SessionId]) {
    for session in sessions {
        shared.environments.erase_copy(EnvironmentId::of_session(*session)).await;
    }
}

async fn each_event(
    shared: &Shared,
    key: SessionKey,
    mut with: impl FnMut(&Event),
) -> Result<(), RuntimeError> {
    let mut version = Version::ZERO;
    loop {
        let events = shared.store.events(key, version, PAGE).await?;
        let Some(last) = events.last() else { return Ok(()) };
        version = last.version;
        events.iter().for_each(|recorded| with(&recorded.event));
    }
}

/// Uploaded files that an event gives to a session.
fn given(event: &Event, found: &mut impl FnMut(FileId)) {
    let mut of = |files: &[EnvironmentFile]| {
        files.iter().filter_map(|file| file.file_id).for_each(&mut *found);
    };
    // No other event gives files, as `Event::references` says.
    if let Event::SessionOpened(opened) = event
        && let Environment::Hosted(hosted) = &opened.environment
    {
        of(&hosted.files);
    } else if let Event::EnvironmentOpened(opened) = event {
        of(&opened.environment.files);
    } else if let Event::EffectRequested { effect } = event
        && let EffectKind::PlaceFiles { files } = &effect.kind
    {
        of(files);
    }
}

/// Where an event says that something went.
fn went_to(event: &Event, outside: &mut Outside) {
    if let Event::AttemptStarted { route: Some(decision), .. } = event
        && outside.routes.len() < NAMES_MAX
    {
        outside.routes.insert(decision.route.name.clone());
    } else if let Event::EffectRequested { effect } = event
        && let EffectKind::ToolCall { server: ServerRef::Mcp { server_label }, .. } = &effect.kind
        && outside.servers.len() < NAMES_MAX
    {
        outside.servers.insert(server_label.clone());
    }
}

/// Takes out the files that other sessions were given, or that templates, agents or automations name.
async fn keep_what_others_have(
    shared: &Shared,
    project: ProjectId,
    (own, automations): (&[SessionId], &[Document]),
    files: &mut BTreeSet<FileId>,
) -> Result<(), RuntimeError> {
    let own: BTreeSet<&SessionId> = own.iter().collect();
    let mut after = None;
    loop {
        let page = shared.store.every_session(after, PAGE).await?;
        let Some(last) = page.last().copied() else { break };
        after = Some(last);
        for key in page.into_iter().filter(|key| key.project == project && !own.contains(&key.session)) {
            let read =
                each_event(shared, key, |event| given(event, &mut |file| _ = files.remove(&file))).await;
            match read {
                // It may have been given any of them.
                Err(error) if *error.kind() == RuntimeErrorKind::Damaged => files.clear(),
                read => read?,
            }
        }
    }
    let names: BTreeMap<FileId, String> = files.iter().map(|file| (*file, file.to_string())).collect();
    for kind in [DocumentKind::Template, DocumentKind::Agent, DocumentKind::Automation] {
        let mut page = Page { after: None, limit: PAGE, order: Order::Ascending };
        loop {
            let documents = shared.store.documents(project, kind, None, &page).await?;
            let Some(last) = documents.last() else { break };
            page.after = Some(last.id.clone());
            let is_own = |other: &&Document| {
                automations.iter().any(|own| (own.kind, &own.id) == (other.kind, &other.id))
            };
            for document in documents.iter().filter(|document| !is_own(document)) {
                let text = document.body.to_string();
                files.retain(|file| !names.get(file).is_some_and(|name| text.contains(name)));
            }
        }
    }
    Ok(())
}
