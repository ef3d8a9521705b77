//! The server is killed while commands run and while their files are kept: every step that was told is there,
//! no step happens to files twice, no snapshot is half there, and nothing of a sandbox outlives its server.
//!
//! The same work is done once without kills. Every step of every session is held against it: what the command
//! said, and the whole tree of files after it.
//!
//! `TENURE_BOX_KILLS` says how often to kill, `TENURE_KILL_SEED` sets the seed, which is printed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use serde_json::{Value, json};
use tenure_journal::{EffectKind, Event, SessionKey, Version, WorkspaceRoot, limit};
use tenure_session::{Session, appends};
use tenure_store::Store;
use tenure_store_sqlite::SqliteStore;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::client::Client;
use super::contents::{Contents, contents};
use super::remains::{self, Began};
use super::visitor::SESSIONS;
use super::world::{Directory, Process};
use super::{LOOK_EVERY, SEED, SERVE, hooks, number};

/// Kills of a run that does not set another number.
const KILLS: u64 = 200;
/// Sessions that work at once.
const WORKERS: u64 = 6;
/// Works there are: sessions with the same number do the same.
const WORKS: u64 = 5;
/// Messages of a session, each of which is five commands.
const MESSAGES: u64 = 2;
/// How long a turn may take, over all kills.
const TURN: Duration = Duration::from_secs(180);
/// How long a kill waits for its moment before it settles for another.
const MOMENT: Duration = Duration::from_millis(700);
/// How often a moment is looked for.
const CLOSELY: Duration = Duration::from_millis(1);
/// The file that is there while a command of `work.sh` runs.
const HALF: &str = "half";

/// Of so many kills one waits until everybody was told something: what is cut off too often is given up, however
/// slow the machine is.
const REST_EVERY: u64 = 10;
const _: () = assert!(2 * REST_EVERY < limit::INTERRUPTED_ATTEMPTS_MAX as u64, "no command is given up");
/// How long such a rest may last.
const REST: Duration = Duration::from_secs(60);

/// When the server is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// Whatever it is doing.
    Any(Duration),
    /// A command has begun, and a little later.
    Command(Duration),
    /// A command has just ended: its files are compared, kept and committed.
    Snapshot(Duration),
}

impl Moment {
    fn choose(chance: &mut Rng) -> Self {
        match chance.u8(0..4) {
            0..=1 => Self::Any(Duration::from_millis(chance.u64(0..300))),
            2 => Self::Command(Duration::from_millis(chance.u64(0..60))),
            _ => Self::Snapshot(Duration::from_millis(chance.u64(0..40))),
        }
    }

    /// Returns at the moment, or when it did not come.
    async fn come(self, directory: &Directory) {
        let (pause, wanted) = match self {
            Self::Any(pause) => return tokio::time::sleep(pause).await,
            Self::Command(pause) => (pause, [true].as_slice()),
            Self::Snapshot(pause) => (pause, [true, false].as_slice()),
        };
        let there = async {
            let Some(home) = some_command(directory).await else { return };
            for is_there in wanted {
                while home.join(HALF).exists() != *is_there {
                    tokio::time::sleep(CLOSELY).await;
                }
            }
        };
        // All of them may just be thinking.
        let _ = tokio::time::timeout(MOMENT, there).await;
        tokio::time::sleep(pause).await;
    }
}

/// The files of an environment in which a command runs.
async fn some_command(directory: &Directory) -> Option<PathBuf> {
    let copies = directory.path().join(".tenure/environments");
    loop {
        let homes = std::fs::read_dir(&copies).ok()?.flatten().map(|entry| entry.path().join("files"));
        if let Some(home) = homes.into_iter().find(|home| home.join(HALF).exists()) {
            return Some(home);
        }
        tokio::time::sleep(CLOSELY).await;
    }
}

/// A session as whoever opened it knows it.
struct Worked {
    id: String,
    work: u64,
    /// Every command that was told to be over, by its item: its text, what it said, how it ended.
    told: BTreeMap<String, Value>,
}

/// One session's work: what each command said, and the files after each root it committed.
#[derive(Debug, PartialEq)]
struct Record {
    said: Vec<Value>,
    files: Vec<Contents>,
}

/// Opens sessions and sees them through, one after the other, until it is told to close.
struct Worker {
    client: Client,
    mark: String,
    next: Arc<AtomicU64>,
    closing: Arc<AtomicBool>,
    /// How often it was told that something is over.
    told: Arc<AtomicU64>,
}

impl Worker {
    async fn work(self) -> Vec<Worked> {
        let mut worked = Vec::new();
        while worked.is_empty() || !self.closing.load(Ordering::Relaxed) {
            worked.push(self.session(self.next.fetch_add(1, Ordering::Relaxed)).await);
        }
        worked
    }

    async fn session(&self, number: u64) -> Worked {
        let work = number % WORKS;
        let script = STANDARD.encode(include_bytes!("work.sh"));
        let body = json!({
            "agent_id": "worker",
            "environment": {
                "type": "openai_hosted",
                "network": {"access": "disabled"},
                "files": [{"type": "inline", "path": "/workspace/work.sh", "data": script}],
                "setup_commands": [{"command": "sh work.sh 0 0"}],
                "env": {remains::MARK: self.mark},
            },
        });
        let (status, session) = self.client.post(SESSIONS, &body, &format!("session {number}")).await;
        assert_eq!(status, 201, "{session}");
        let id = session["id"].as_str().expect("an id").to_owned();
        let mut worked = Worked { id, work, told: BTreeMap::new() };
        for message in 0..MESSAGES {
            let content = json!([{"type": "input_text", "text": format!("work {work}")}]);
            let body = json!({"events": [{
                "type": "agent.session.input.message",
                "input": [{"role": "user", "content": content}],
            }]});
            let path = format!("{SESSIONS}/{}/events", worked.id);
            let (status, answer) =
                self.client.post(&path, &body, &format!("message {number} {message}")).await;
            assert_eq!(status, 202, "{answer}");
            self.look_until_done(&mut worked, message).await;
        }
        worked
    }

    /// Looks at the session's items until the turn is over; whatever it was told before must stay as it was.
    async fn look_until_done(&self, worked: &mut Worked, message: u64) {
        let deadline = Instant::now() + TURN;
        let path = format!("{SESSIONS}/{}", worked.id);
        loop {
            let turns = self.client.list(&format!("{path}/turns")).await;
            let items = self.client.list(&format!("{path}/items")).await;
            let mut seen = told(&items);
            for (item, before) in &worked.told {
                let now = seen.remove(item).unwrap_or_else(|| panic!("{} lost {before}", worked.id));
                assert_eq!(now, *before, "{} tells it otherwise", worked.id);
            }
            if !seen.is_empty() {
                self.told.fetch_add(1, Ordering::Relaxed);
            }
            worked.told.extend(seen);
            let ended = turns.iter().filter(|turn| turn["status"] == "completed").count() as u64;
            if ended > message {
                return;
            }
            let failed = turns.iter().find(|turn| turn["status"] == "failed");
            assert!(failed.is_none(), "{failed:?} in {items:?}");
            assert!(Instant::now() < deadline, "{} does not go on: {items:#?}", worked.id);
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// The commands among `items` that are over.
fn told(items: &[Value]) -> BTreeMap<String, Value> {
    let commands = items.iter().filter(|item| item["type"] == "command_execution");
    let over = commands.filter(|item| item["status"] != "in_progress");
    over.map(|item| (item["id"].as_str().expect("an id").to_owned(), said(item))).collect()
}

/// What a command is to everybody who reads of it, its time aside.
fn said(item: &Value) -> Value {
    json!([item["command"], item["output"], item["exit_code"], item["status"]])
}

/// A project whose agent works in an environment.
fn project() -> Directory {
    let directory = Directory::new();
    let settings = json!({
        "providers": {"scripted": {"type": "scripted", "script": "script.yaml"}},
        "models": {"scripted": {"provider": "scripted", "model": "scripted"}},
        "default_model": "scripted",
    });
    directory.write("tenure.yaml", &settings.to_string());
    directory.write("script.yaml", include_str!("hosted.yaml"));
    directory.write("agents/worker.md", "Work.\n");
    directory
}

/// Workers, and what is to be known of them.
struct Crew {
    workers: JoinSet<Vec<Worked>>,
    told: Vec<Arc<AtomicU64>>,
    closing: Arc<AtomicBool>,
}

impl Crew {
    fn employ(directory: &Directory, client: &Client, count: u64) -> Self {
        let (mut workers, mut told, next) = (JoinSet::new(), Vec::new(), Arc::new(AtomicU64::default()));
        let closing = Arc::new(AtomicBool::new(false));
        for _ in 0..count {
            let worker = Worker {
                client: client.clone(),
                mark: remains::mark(directory.path()),
                next: Arc::clone(&next),
                closing: Arc::clone(&closing),
                told: Arc::default(),
            };
            told.push(Arc::clone(&worker.told));
            workers.spawn(worker.work());
        }
        Self { workers, told, closing }
    }

    /// Returns when every worker was told something more.
    async fn rest(&self) {
        let before: Vec<u64> = self.told.iter().map(|told| told.load(Ordering::Relaxed)).collect();
        let began = Instant::now();
        let is_more = |(told, before): (&Arc<AtomicU64>, &u64)| told.load(Ordering::Relaxed) > *before;
        while !self.told.iter().zip(&before).all(is_more) {
            assert!(began.elapsed() < REST, "nothing goes on while nothing is killed");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What all of them did, once they have finished what they do.
    async fn finish(self) -> Vec<Worked> {
        self.closing.store(true, Ordering::Relaxed);
        self.workers.join_all().await.into_iter().flatten().collect()
    }
}

/// What happened over all kills.
#[derive(Debug, Default)]
struct Tally {
    /// Kills that met processes of sandboxes.
    within: usize,
    processes: usize,
    /// The longest that any of them lived on.
    outlived: Duration,
    sessions: usize,
    commands: usize,
    repeated: usize,
}

/// Kills the server at one moment after the other; gives the one that is left running.
async fn torment(
    directory: &Directory,
    crew: &Crew,
    kills: u64,
    address: &watch::Sender<Option<String>>,
    tally: &mut Tally,
) -> Process {
    let mut chance = Rng::with_seed(number("TENURE_KILL_SEED", SEED));
    let mut server = Process::listening(directory.path(), &SERVE).await;
    for kill in 0..kills {
        address.send_replace(Some(server.address.clone()));
        if kill % REST_EVERY == REST_EVERY - 1 {
            crew.rest().await;
        }
        Moment::choose(&mut chance).come(directory).await;
        server.kill().await;
        let killed = Began::now();
        address.send_replace(None);
        let processes = remains::count(directory.path());
        tally.within += usize::from(processes > 0);
        tally.processes += processes;
        let gone = remains::gone(directory.path(), killed);
        // The next one finds what the last one left, or begins while it still is on its way out.
        let outlived = if chance.bool() {
            let outlived = gone.await;
            assert_eq!(remains::count(directory.path()), 0, "what was started while it died is gone too");
            server = Process::listening(directory.path(), &SERVE).await;
            outlived
        } else {
            let (outlived, next) = tokio::join!(gone, Process::listening(directory.path(), &SERVE));
            server = next;
            outlived
        };
        tally.outlived = tally.outlived.max(outlived);
    }
    address.send_replace(Some(server.address.clone()));
    server
}

/// The work of every session as its journal and the store have it.
async fn records(directory: &Directory, worked: &[Worked], tally: &mut Tally) -> Vec<(u64, Record)> {
    let store = SqliteStore::open(&directory.path().join(".tenure")).expect("opens");
    let integrity = store.integrity().await.expect("readable");
    assert_eq!(integrity.problems, Vec::<String>::new());
    let project = hooks::project(&store).await;
    let mut records = Vec::new();
    for session in worked {
        let key = SessionKey { project, session: session.id.parse().expect("an id") };
        let roots = roots(&store, key, tally).await;
        let mut files = Vec::new();
        for root in roots {
            files.push(contents(&store, project, root).await);
        }
        tally.sessions += 1;
        tally.commands += session.told.len();
        let said = session.told.values().cloned().collect();
        records.push((session.work, Record { said, files }));
    }
    records
}

/// Every root that was committed in a session, in order.
async fn roots(store: &dyn Store, key: SessionKey, tally: &mut Tally) -> Vec<WorkspaceRoot> {
    let recorded = store.events(key, Version::ZERO, usize::MAX).await.expect("readable");
    let (mut state, mut roots): (Option<Session>, Vec<WorkspaceRoot>) = (None, Vec::new());
    for part in appends(&recorded) {
        let next = Session::follow(key, state.as_ref(), part).expect("it follows").after;
        for one in part {
            let Event::AttemptStarted { effect_id, attempt, .. } = &one.event else { continue };
            let effect = next.pending().find(|effect| effect.id == *effect_id);
            let is_command = effect.is_some_and(|effect| matches!(effect.kind, EffectKind::Command { .. }));
            tally.repeated += usize::from(is_command && *attempt > 1);
        }
        if let Some(root) = next.workspace_root().filter(|root| roots.last() != Some(root)) {
            roots.push(root);
        }
        state = Some(next);
    }
    roots
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_and_their_files_survive_kills_and_sandboxes_do_not() {
    let (kills, seed, began) =
        (number("TENURE_BOX_KILLS", KILLS), number("TENURE_KILL_SEED", SEED), Instant::now());
    println!("seed {seed}, {kills} kills");

    let calm = project();
    let server = Process::listening(calm.path(), &SERVE).await;
    let worked = Crew::employ(&calm, &Client::of(&server.address), WORKS).finish().await;
    server.ask_to_end();
    assert_eq!(server.ended().await.0, Some(0));
    let expected: BTreeMap<u64, Record> =
        records(&calm, &worked, &mut Tally::default()).await.into_iter().collect();
    for record in expected.values() {
        let files = record.files.last().expect("files");
        assert!(files.contains_key("/outputs/log") && !files.contains_key("/wrong"), "{files:#?}");
    }
    println!("{} works without kills after {:.1} s", expected.len(), began.elapsed().as_secs_f64());

    let directory = project();
    let (address, addresses) = watch::channel(None);
    let crew = Crew::employ(&directory, &Client::new(addresses), WORKERS);
    let mut tally = Tally::default();
    let server = torment(&directory, &crew, kills, &address, &mut tally).await;
    println!("healed after {:.1} s", began.elapsed().as_secs_f64());
    let worked = crew.finish().await;
    server.ask_to_end();
    assert_eq!(server.ended().await.0, Some(0));
    assert_eq!(remains::count(directory.path()), 0, "a server that ends leaves nothing");

    for (work, record) in records(&directory, &worked, &mut tally).await {
        assert_eq!(record, expected[&work], "work {work} came out otherwise");
    }
    println!("{tally:?}, {:.1} s", began.elapsed().as_secs_f64());
    assert!(tally.within > 0 && tally.repeated > 0, "too little was cut off: {tally:?}");
}
