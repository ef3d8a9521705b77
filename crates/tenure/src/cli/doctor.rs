//! `tenure doctor`: is this machine, this project and its server in order?
//!
//! Each check is a name, what came of it and, unless all is well, what to do.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use tenure_project::{
    Detected, MinIsolation, PORT_DEFAULT, Project, Provider, Redacted, Settings, Unset, detect,
};
use tenure_sandbox::{Finding, Isolation, Tier};
use tenure_store_postgres::{BlobPlace, Inspection as Shared, Options, PostgresStore};
use tenure_store_sqlite::Inspection;

use super::Context;
use super::check::plural;
use super::client::Client;
use super::error::{CliError, Exit};
use super::output::{self, Column};
use crate::server::state::{Database, database_fix};

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Do not ask model providers whether they answer
    #[arg(long)]
    offline: bool,
    /// The PostgreSQL URL of a node [env: TENURE_DATABASE_URL, preferred: flags are visible to other users]
    /// [default: the file in the data directory]
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where payloads are, beside PostgreSQL, as for `serve`
    #[arg(long, value_name = "PLACE")]
    blobs: Option<String>,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    name: &'static str,
    verdict: Verdict,
    detail: String,
    fix: Option<String>,
}

impl Check {
    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, detail: detail.into(), fix: None }
    }

    fn warn(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warn, detail: detail.into(), fix: Some(fix.into()) }
    }

    fn fail(name: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Fail, detail: detail.into(), fix: Some(fix.into()) }
    }

    fn row(&self) -> Value {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        json!({"id": self.name, "verdict": verdict, "detail": self.detail, "fix": self.fix})
    }
}

/// Problems of a database that are told one by one.
const PROBLEMS_SHOWN_MAX: usize = 3;
/// Free bytes below which a check warns and fails.
const DISK_BYTES_WARN: u64 = 1024 * 1024 * 1024;
const DISK_BYTES_FAIL: u64 = 64 * 1024 * 1024;
/// How far the clock may be from another machine's, in seconds.
const CLOCK_SKEW_MAX: i64 = 60;
/// 2026-01-01: a clock before it was never set.
const CLOCK_EARLIEST: i64 = 1_767_225_600;
/// Time for a provider to answer.
const PROVIDER_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn doctor(cx: &mut Context, args: &DoctorArgs) -> Result<Exit, CliError> {
    let data = cx.data.clone();
    let project = Project::load(&cx.project, &cx.world.env, Unset::Error);
    let env = project.as_ref().map_or(&cx.world.env, |project| &project.env);
    let url = args.database.as_deref().or_else(|| env.find("TENURE_DATABASE_URL"));
    let url = url.map(|url| Redacted::new(url.trim().to_owned()));
    let mut checks = vec![versions(), data_directory(&data)];
    match Database::parse(url, args.blobs.as_deref(), env)? {
        Database::Embedded => checks.extend([lock(&data), database(&data).await]),
        Database::Postgres { url, blobs } => checks.push(shared_database(&url, blobs).await),
    }
    checks.push(disk(&data));
    checks.push(match &project {
        Ok(project) => Check::ok(
            "project",
            format!(
                "{}, {}",
                plural(project.agents.len(), "agent"),
                plural(project.warnings.len(), "warning")
            ),
        ),
        Err(error) => Check::fail("project", plural(error.problems().len(), "problem"), "tenure check"),
    });
    let settings = project.as_ref().map(|project| project.settings.clone()).unwrap_or_default();
    checks.push(isolation(settings.environments.min_isolation).await);
    let server = server(cx).await;
    let answers = server.verdict == Verdict::Ok;
    checks.push(server);
    if !answers {
        checks.push(port(&settings));
    }
    // Without a readable project its providers are not known, and guessing would mislead.
    let (providers, skew) = match &project {
        Ok(project) if !args.offline => providers(&settings, &project.env, cx.world.now).await,
        _ => (Vec::new(), None),
    };
    checks.extend(providers);
    checks.push(clock(cx.world.now, skew));

    let rows: Vec<Value> = checks.iter().map(Check::row).collect();
    let columns = [
        Column::at("CHECK", "/id"),
        Column::at("VERDICT", "/verdict"),
        Column::at("DETAIL", "/detail"),
        Column::at("FIX", "/fix"),
    ];
    output::list(&mut cx.world.out, cx.format, &columns, &rows)?;
    let failed = checks.iter().any(|check| check.verdict == Verdict::Fail);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// What commands of environments are isolated by, as a program saw it that was run so; and what else could be
/// had, or why not.
async fn isolation(min: MinIsolation) -> Check {
    const NAME: &str = "isolation";
    let surveys =
        tokio::task::spawn_blocking(|| (crate::server::survey_gvisor(), crate::server::survey())).await;
    let Ok((gvisor, others)) = surveys else {
        return Check::fail(NAME, "looking for it panicked", "report this");
    };
    let min = crate::server::tier(min);
    // Never the answer to a weaker demand.
    let survey = if min == Tier::Gvisor { &gvisor } else { &others };
    match survey.choose(min) {
        Ok(backend) => {
            let used = backend.isolation();
            let found = gvisor.findings().iter().chain(others.findings());
            Check::ok(
                NAME,
                format!("{used}{}", found.map(|finding| beside(used, finding)).collect::<String>()),
            )
        }
        Err(error) => {
            let fix = error.remedy().unwrap_or("see docs/sandbox.md").to_owned();
            Check::warn(NAME, format!("sessions cannot have environments: {error}"), fix)
        }
    }
}

/// What there is to say of a tier beside the one that is used.
fn beside(used: &Isolation, finding: &Finding) -> String {
    let note = finding.note.as_ref().map(|note| format!("; {}: {note}", finding.tier)).unwrap_or_default();
    match &finding.outcome {
        Ok(_) if finding.tier == used.tier => note,
        Ok(isolation) if finding.tier == Tier::Gvisor => {
            format!("; {isolation} works and is used where `min_isolation` asks for it{note}")
        }
        Ok(_) => String::new(),
        Err(why) => format!("; {} refused: {}", finding.tier, why.what),
    }
}

fn versions() -> Check {
    let system = rustix::system::uname();
    let kernel = format!("{} {}", system.sysname().to_string_lossy(), system.release().to_string_lossy());
    Check::ok(
        "versions",
        format!("tenure {}, SQLite {}, {kernel}", env!("CARGO_PKG_VERSION"), rusqlite::version()),
    )
}

fn data_directory(data: &Path) -> Check {
    const NAME: &str = "data directory";
    let shown = data.display();
    match std::fs::metadata(data) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Check::ok(NAME, format!("`{shown}` is made when the server starts"))
        }
        Err(error) => Check::fail(NAME, format!("`{shown}`: {error}"), format!("ls -ld '{shown}'")),
        Ok(found) if !found.is_dir() => {
            Check::fail(NAME, format!("`{shown}` is not a directory"), "name another one with `--data-dir`")
        }
        Ok(found) => {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = found.permissions().mode() & 0o777;
            if mode & 0o077 != 0 {
                Check::fail(
                    NAME,
                    format!("`{shown}` is open to others (mode {mode:o})"),
                    format!("chmod 700 '{shown}'"),
                )
            } else {
                Check::ok(NAME, format!("`{shown}`"))
            }
        }
    }
}

/// Whether a process holds the data directory.
fn lock(data: &Path) -> Check {
    const NAME: &str = "lock";
    let shown = data.display();
    match tenure_store_sqlite::held_by(data) {
        Ok(None) => Check::ok(NAME, "no process holds the data directory"),
        Ok(Some(holder)) => Check::ok(NAME, format!("{holder} holds the data directory")),
        Err(error) => Check::fail(NAME, error.to_string(), format!("ls -l '{shown}'")),
    }
}

/// Whether what is stored can be trusted. A server that runs is not disturbed.
async fn database(data: &Path) -> Check {
    const NAME: &str = "database";
    let directory = data.to_owned();
    let looked = tokio::task::spawn_blocking(move || tenure_store_sqlite::inspect(&directory)).await;
    match looked {
        Ok(Ok(found)) => database_verdict(data, &found),
        Ok(Err(error)) => Check::fail(NAME, said(&error), restore(data)),
        Err(_) => Check::fail(NAME, "the check itself broke off", "tenure doctor"),
    }
}

fn database_verdict(data: &Path, found: &Inspection) -> Check {
    match found {
        Inspection::Missing => missing(),
        Inspection::Older => older(),
        Inspection::Read(read) => sound(read.events, read.blobs, &read.problems, restore(data)),
    }
}

/// The same of a database that nodes share. Nodes that run are not disturbed.
async fn shared_database(url: &Redacted, blobs: BlobPlace) -> Check {
    const NAME: &str = "database";
    let looked = async {
        let options = Options::parse(url.expose())?;
        PostgresStore::inspect(&options.with_blobs(blobs)).await
    };
    match looked.await {
        Ok(Shared::Missing) => missing(),
        Ok(Shared::Older) => older(),
        Ok(Shared::Read(read)) => {
            let fix = "end the nodes, keep a copy with `pg_dump`, and restore a backup";
            sound(read.events, read.blobs, &read.problems, fix.to_owned())
        }
        Err(error) => Check::fail(NAME, said(&error), database_fix(error.kind())),
    }
}

fn missing() -> Check {
    Check::ok("database", "made when the server starts")
}

fn older() -> Check {
    Check::ok("database", "of an earlier release; the next start brings it up to date")
}

fn sound(events: u64, blobs: u64, problems: &[String], fix: String) -> Check {
    const NAME: &str = "database";
    let count = |count: u64, what| plural(usize::try_from(count).unwrap_or(usize::MAX), what);
    match problems {
        [] => {
            let (events, outputs) = (count(events, "event"), count(blobs, "stored output"));
            Check::ok(NAME, format!("sound: {events} and {outputs} read"))
        }
        found => {
            let shown = found[..found.len().min(PROBLEMS_SHOWN_MAX)].join("; ");
            let more = if found.len() > PROBLEMS_SHOWN_MAX { "; and more" } else { "" };
            Check::fail(NAME, format!("{}: {shown}{more}", plural(found.len(), "problem")), fix)
        }
    }
}

fn restore(data: &Path) -> String {
    format!("stop the server, keep a copy of '{}', and restore a backup", data.display())
}

/// An error and what is behind it.
fn said(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// Free space where the data is, or will be.
fn disk(data: &Path) -> Check {
    const NAME: &str = "disk";
    let existing = data.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    match rustix::fs::statvfs(existing) {
        Ok(stats) => {
            let free = stats.f_bavail.saturating_mul(stats.f_frsize);
            disk_verdict(NAME, free)
        }
        Err(error) => Check::warn(
            NAME,
            format!("free space is unknown: {error}"),
            format!("df '{}'", existing.display()),
        ),
    }
}

fn disk_verdict(name: &'static str, free: u64) -> Check {
    let detail = format!("{} MiB free", free / (1024 * 1024));
    const FIX: &str = "free some space, or move the data directory with `--data-dir`";
    match free {
        0..DISK_BYTES_FAIL => Check::fail(name, detail, FIX),
        DISK_BYTES_FAIL..DISK_BYTES_WARN => Check::warn(name, detail, FIX),
        _ => Check::ok(name, detail),
    }
}

/// Whether a server answers, and accepts the key.
async fn server(cx: &mut Context) -> Check {
    const NAME: &str = "server";
    let asked = async {
        let client: Client = cx.client()?;
        client.get(super::find::SESSIONS, &[("limit", "1")]).await.map(|_| client.base().to_owned())
    };
    match asked.await {
        Ok(base) => Check::ok(NAME, format!("answers at `{base}`")),
        Err(error) => {
            let detail = match error.cause {
                Some(cause) => format!("{}: {cause}", error.message),
                None => error.message,
            };
            // A project that is not running is not broken.
            let fix = error.fix.unwrap_or_else(|| "tenure logs last".to_owned());
            Check::warn(NAME, detail, fix)
        }
    }
}

/// Whether the server could listen where the project says.
fn port(settings: &Settings) -> Check {
    const NAME: &str = "port";
    let address = SocketAddr::new(settings.server.bind, settings.server.port);
    match TcpListener::bind(address) {
        Ok(_) => Check::ok(NAME, format!("{address} is free")),
        Err(error) => Check::fail(
            NAME,
            format!("{address}: {error}"),
            format!(
                "end the process that listens there, or set `server.port` in tenure.yaml (default {PORT_DEFAULT})"
            ),
        ),
    }
}

/// Whether each provider answers, and how far its clock is from ours.
async fn providers(settings: &Settings, env: &tenure_project::Env, now: i64) -> (Vec<Check>, Option<i64>) {
    let client = reqwest::Client::builder()
        .timeout(PROVIDER_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let Ok(client) = client else {
        return (
            vec![Check::fail(
                "providers",
                "cannot set up connections",
                "install the system's CA certificates",
            )],
            None,
        );
    };
    let mut wanted: Vec<(String, Provider)> =
        settings.providers.iter().map(|(name, provider)| (name.clone(), provider.clone())).collect();
    if wanted.is_empty() {
        match detect(env) {
            Detected::Configured { name, provider } | Detected::IfReachable { name, provider, .. } => {
                wanted.push((name.to_owned(), provider));
            }
        }
    }
    let mut checks = Vec::new();
    let mut skew = None;
    for (name, provider) in &wanted {
        let (base_url, api_key) = match provider {
            Provider::OpenAi { base_url, api_key, .. } => (base_url, api_key),
            Provider::Cloud(_) => {
                // What proves who asks is made for a call; a list of models is not worth one.
                checks.push(Check::ok("provider", format!("`{name}` is asked when a model is")));
                continue;
            }
            Provider::Scripted { .. } => {
                checks.push(Check::ok("provider", format!("`{name}` is scripted")));
                continue;
            }
        };
        let mut request = client.get(format!("{base_url}/models"));
        if let Some(key) = api_key {
            request = request.bearer_auth(key.expose());
        }
        match request.send().await {
            Ok(response) => {
                skew = skew.or(date(&response).map(|then| then - now));
                checks.push(provider_verdict(name, response.status().as_u16()));
            }
            Err(error) => {
                let reason = if error.is_timeout() { "does not answer in time" } else { "cannot be reached" };
                checks.push(Check::fail("provider", format!("`{name}` {reason}"), provider_fix(name)));
            }
        }
    }
    (checks, skew)
}

fn provider_fix(name: &str) -> String {
    match name {
        "ollama" => "start Ollama, set OPENAI_API_KEY, or add a provider to tenure.yaml".to_owned(),
        _ => format!("check `providers.{name}.base_url` in tenure.yaml and the network"),
    }
}

fn provider_verdict(name: &str, status: u16) -> Check {
    match status {
        200..300 | 404 | 405 => Check::ok("provider", format!("`{name}` answers")),
        401 | 403 => Check::fail(
            "provider",
            format!("`{name}` refuses the key"),
            format!("check the variable behind `providers.{name}.api_key`"),
        ),
        _ => Check::warn("provider", format!("`{name}` answers with status {status}"), "try again later"),
    }
}

/// The answer's `Date` (RFC 9110, section 6.6.1) in Unix seconds.
fn date(response: &reqwest::Response) -> Option<i64> {
    let text = response.headers().get("date")?.to_str().ok()?;
    jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp().as_second())
}

fn clock(now: i64, skew: Option<i64>) -> Check {
    const NAME: &str = "clock";
    const FIX: &str = "turn on time synchronisation, such as `timedatectl set-ntp true`";
    match skew {
        _ if now < CLOCK_EARLIEST => Check::fail(NAME, "the clock is years behind", FIX),
        Some(skew) if skew.abs() > CLOCK_SKEW_MAX => {
            Check::warn(NAME, format!("{} s away from a provider's clock", skew.abs()), FIX)
        }
        Some(_) => Check::ok(NAME, "agrees with a provider's clock"),
        None => Check::ok(NAME, "plausible; nothing to compare it with"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(check: &Check) -> (Verdict, bool) {
        (check.verdict, check.fix.is_some())
    }

    #[test]
    fn judges_what_it_measures() {
        assert_eq!(verdict(&disk_verdict("disk", 1 << 40)), (Verdict::Ok, false));
        assert_eq!(verdict(&disk_verdict("disk", 100 << 20)), (Verdict::Warn, true));
        assert_eq!(verdict(&disk_verdict("disk", 0)), (Verdict::Fail, true));
        assert_eq!(verdict(&clock(0, None)), (Verdict::Fail, true));
        assert_eq!(verdict(&clock(CLOCK_EARLIEST, Some(-61))), (Verdict::Warn, true));
        assert_eq!(verdict(&clock(CLOCK_EARLIEST, Some(2))), (Verdict::Ok, false));
        assert_eq!(verdict(&provider_verdict("p", 401)), (Verdict::Fail, true));
        assert_eq!(verdict(&provider_verdict("p", 503)), (Verdict::Warn, true));
    }

    #[test]
    fn wants_the_data_directory_closed_to_others() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        assert_eq!(data_directory(&data).verdict, Verdict::Ok);
        std::fs::create_dir(&data).expect("a directory");
        for (mode, expected) in [(0o700, Verdict::Ok), (0o755, Verdict::Fail)] {
            std::fs::set_permissions(&data, std::fs::Permissions::from_mode(mode)).expect("permissions");
            assert_eq!(data_directory(&data).verdict, expected, "{mode:o}");
        }
    }

    #[tokio::test]
    async fn reads_the_database_beside_its_holder() {
        let root = tempfile::tempdir().expect("a directory");
        let data = root.path().join("data");
        assert_eq!((lock(&data).verdict, database(&data).await.verdict), (Verdict::Ok, Verdict::Ok));
        assert!(!data.exists(), "looking makes nothing");

        let store = tenure_store_sqlite::SqliteStore::open(&data).expect("the store opens");
        let held = lock(&data);
        assert_eq!(held.verdict, Verdict::Ok);
        assert!(held.detail.contains(&format!("process {}", std::process::id())), "{}", held.detail);
        assert_eq!(database(&data).await.detail, "sound: 0 events and 0 stored outputs read");
        drop(store);

        let other = root.path().join("other");
        std::fs::create_dir(&other).expect("a directory");
        std::fs::write(other.join("tenure.db"), [b'x'; 4096]).expect("writes");
        assert_eq!(verdict(&database(&other).await), (Verdict::Fail, true));
    }

    #[tokio::test]
    async fn asks_the_database_of_a_node() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let nobody = Redacted::new(format!("postgres://tenure@127.0.0.1:{port}/tenure?sslmode=disable"));
        let check = shared_database(&nobody, BlobPlace::Database).await;
        assert_eq!(verdict(&check), (Verdict::Fail, true));
        assert!(check.fix.is_some_and(|fix| fix.contains("psql")), "{}", check.detail);
    }

    #[test]
    fn tells_a_taken_port() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut settings = Settings::default();
        settings.server.port = listener.local_addr().expect("an address").port();
        assert_eq!(port(&settings).verdict, Verdict::Fail);
        settings.server.port = 0;
        assert_eq!(port(&settings).verdict, Verdict::Ok);
    }
}
