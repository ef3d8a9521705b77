//! A PostgreSQL server for tests: a private one that needs no port and no rights, or one that is there.
//!
//! `TENURE_TEST_POSTGRES` names a server by the URL of one of its databases, whose user may create others.
//! Without it, a server is made in a temporary directory, reachable only through a Unix socket in it. A shell
//! owns that server and ends it when its standard input does, so a test that is killed leaves nothing behind.
//! PostgreSQL refuses to run as root; root's tests run it as the user `postgres`.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Names a server that is there.
const URL_VARIABLE: &str = "TENURE_TEST_POSTGRES";
/// Where Debian's packages put what is not on the path.
const DEBIAN: &str = "/usr/lib/postgresql";
/// The user that root's tests run the server as.
const USER: &str = "postgres";

/// Makes a cluster in a directory of its own, says where it is, serves until standard input ends, and removes
/// everything. `$1` are further settings of the server, `$2` commands that run before it starts.
const SCRIPT: &str = r#"
trap '' INT TERM
directory=$(mktemp -d /tmp/tenure-postgres.XXXXXX) || exit 1
log="$directory/log"
{
    initdb -D "$directory/data" -U postgres -A trust -E UTF8 --locale=C --no-sync &&
    (cd "$directory/data" && eval "$2") &&
    pg_ctl -D "$directory/data" -w -l "$log" -o "-k $directory -c listen_addresses='' -c max_connections=200 $1" start
} >"$directory/out" 2>&1
status=$?
if [ $status = 0 ]; then echo "$directory"; read -r _; pg_ctl -D "$directory/data" -w -m immediate stop >/dev/null 2>&1
else cat "$directory/out" "$log" >&2; fi
rm -rf "$directory"
exit $status
"#;

/// A server. It ends when the last reference to it is dropped.
#[derive(Debug)]
pub struct Postgres {
    /// The URL of its databases without their name, and what comes after the name.
    url: (String, String),
    /// Absent for a server that is not ours.
    process: Option<Process>,
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// Taken to end it.
    input: Option<ChildStdin>,
    directory: PathBuf,
}

impl Postgres {
    /// A server that this process's tests share while any of them uses it. It does not sync, because nothing
    /// here outlives the power.
    ///
    /// # Panics
    /// There is no PostgreSQL to be found, or it does not start.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Self::start("-c fsync=off"));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// A server with `settings`, as the server's command line takes them; or the one that is there, as it is.
    ///
    /// # Panics
    /// As [`Postgres::shared`].
    #[must_use]
    pub fn start(settings: &str) -> Self {
        match std::env::var(URL_VARIABLE) {
            Ok(url) => Self { url: split(&url), process: None },
            Err(_) => Self::private(settings, ""),
        }
    }

    /// A private server with `settings`, whatever is there. `prepare` is run by a shell in its data directory
    /// before it starts.
    ///
    /// # Panics
    /// As [`Postgres::shared`].
    #[must_use]
    pub fn private(settings: &str, prepare: &str) -> Self {
        let mut child = as_user(&["sh", "-c", SCRIPT, "sh", settings, prepare])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell starts");
        let mut directory = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut directory).expect("the shell says where it is");
        assert!(!directory.is_empty(), "PostgreSQL did not start; is the package `postgresql` installed?");
        let directory = PathBuf::from(directory.trim_end());
        let socket = directory.display().to_string().replace('/', "%2F");
        let url = (format!("postgres://postgres@{socket}/"), String::new());
        let input = child.stdin.take();
        Self { url, process: Some(Process { child, input, directory }) }
    }

    /// A new, empty database. It is dropped with the value.
    ///
    /// # Panics
    /// It cannot be created.
    #[must_use]
    pub fn database(self: &Arc<Self>) -> Database {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tenure_test_{}_{count}", std::process::id());
        self.run("createdb", &["-T", "template0", "-E", "UTF8", &name]);
        Database { server: Arc::clone(self), name }
    }

    /// Ends the server as a crash would and starts it again. A server that is not ours only loses its
    /// connections.
    ///
    /// # Panics
    /// It does not come back.
    pub fn restart(&self) {
        let Some(process) = &self.process else { return self.terminate("true") };
        let directory = process.directory.display();
        let (data, log) = (format!("{directory}/data"), format!("{directory}/log"));
        let args = ["pg_ctl", "-D", &data, "-w", "-l", &log, "-m", "immediate", "restart"];
        let output = as_user(&args).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(output.is_ok_and(|status| status.success()), "PostgreSQL does not come back");
    }

    /// Ends about `percent` of the connections to a database.
    ///
    /// # Panics
    /// `psql` cannot be run.
    pub fn cut(&self, database: &Database, percent: u32) {
        self.terminate(&format!("datname = '{}' AND random() * 100 < {percent}", database.name));
    }

    fn terminate(&self, which: &str) {
        let sql = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {which}"
        );
        let mut command = Command::new("psql");
        command.env("PATH", path()).args(["-X", "-q", "-c", &sql, &self.url("postgres")]);
        let status = command.stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "psql: {which}");
    }

    /// The data directory of a private server.
    #[must_use]
    pub fn data_directory(&self) -> Option<PathBuf> {
        self.process.as_ref().map(|process| process.directory.join("data"))
    }

    fn url(&self, database: &str) -> String {
        let (before, after) = &self.url;
        format!("{before}{database}{after}")
    }

    fn run(&self, program: &str, args: &[&str]) {
        let maintenance = format!("--maintenance-db={}", self.url("postgres"));
        let mut command = Command::new(program);
        let output = command.env("PATH", path()).arg(maintenance).args(args).output();
        let output = output.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.input.take());
        // The shell has trapped what else could end it, and ends with the server.
        let _ = self.child.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.process.take();
    }
}

/// A database of a server.
#[derive(Debug)]
pub struct Database {
    server: Arc<Postgres>,
    name: String,
}

impl Database {
    /// How to reach it.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // One of our own server goes with the server.
        if self.server.process.is_none() && !std::thread::panicking() {
            self.server.run("dropdb", &["--force", "--if-exists", &self.name]);
        }
    }
}

/// Where PostgreSQL's programs are, before where others are.
///
/// # Panics
/// A directory of Debian's packages cannot be read.
#[must_use]
pub fn path() -> std::ffi::OsString {
    let mut versions: Vec<PathBuf> = match Path::new(DEBIAN).read_dir() {
        Ok(entries) => entries.map(|entry| entry.expect("lists").path().join("bin")).collect(),
        Err(_) => Vec::new(),
    };
    // The newest first: names are numbers of two digits.
    versions.sort();
    versions.reverse();
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all = versions.into_iter().chain(std::env::split_paths(&others));
    std::env::join_paths(all).expect("no directory has a colon in its name")
}

/// A command as a user that PostgreSQL accepts.
fn as_user(args: &[&str]) -> Command {
    let is_root =
        std::fs::metadata("/proc/self").is_ok_and(|it| std::os::unix::fs::MetadataExt::uid(&it) == 0);
    let mut command = if is_root {
        let mut command = Command::new("runuser");
        command.args(["-u", USER, "--"]);
        command
    } else {
        Command::new("env")
    };
    command.args(args).env("PATH", path()).current_dir("/");
    command
}

/// A URL before and after the name of its database.
fn split(url: &str) -> (String, String) {
    let (address, query) = url.split_at(url.find('?').unwrap_or(url.len()));
    let begin = address.find("://").map_or(0, |at| at + 3);
    let path = address[begin..].find('/').map_or(address.len(), |at| begin + at);
    (format!("{}/", &address[..path]), query.to_owned())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_url_is_split_at_the_database() {
        for (url, before, after) in [
            ("postgres://u:p@h:1/d?a=b", "postgres://u:p@h:1/", "?a=b"),
            ("postgres://u@h/d", "postgres://u@h/", ""),
            ("postgres://u@h", "postgres://u@h/", ""),
            ("postgres://h?x=/y", "postgres://h/", "?x=/y"),
        ] {
            assert_eq!(split(url), (before.to_owned(), after.to_owned()), "{url}");
        }
    }
}
