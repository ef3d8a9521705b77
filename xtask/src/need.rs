//! What the tests need beside Rust, installed by package name when it is missing.

use std::path::Path;

use crate::Outcome;
use crate::run::{Cmd, root};

/// A program or a part of one, how to see whether it is there, and what brings it.
struct Need {
    what: &'static str,
    check: &'static [&'static str],
    packages: &'static [&'static str],
}

const NEEDS: &[Need] = &[
    // SQLite and the cryptography of TLS are C.
    Need { what: "a C compiler", check: &["cc", "--version"], packages: &["build-essential"] },
    Need {
        what: "Python with virtual environments",
        check: &["python3", "-c", "import venv, ensurepip, ssl"],
        packages: &["python3", "python3-venv"],
    },
    Need { what: "git", check: &["git", "--version"], packages: &["git"] },
    // The official executor is a package of npm's.
    Need { what: "npm", check: &["npm", "--version"], packages: &["npm"] },
    // The second way to build a sandbox's namespaces.
    Need { what: "bubblewrap", check: &["bwrap", "--version"], packages: &["bubblewrap"] },
    // The kernel of a sandbox that has one of its own.
    Need { what: "gVisor", check: &["runsc", "--version"], packages: &["runsc"] },
    // The solver that proves policies.
    Need { what: "cvc5", check: &["cvc5", "--version"], packages: &["cvc5"] },
    // Debian's packages keep the server's programs off the path, one directory for each version.
    Need {
        what: "PostgreSQL",
        check: &["sh", "-c", "command -v initdb || ls /usr/lib/postgresql/*/bin/initdb"],
        packages: &["postgresql"],
    },
];

/// The engine of the fuzzers is C++.
const FUZZ_NEED: Need =
    Need { what: "a C++ compiler", check: &["c++", "--version"], packages: &["build-essential"] };

/// The oldest PostgreSQL that the store works with. It refuses others itself, but late in a run.
const POSTGRES_VERSION_MIN: u32 = 15;
/// Prints the version of the PostgreSQL that the tests would take: the newest of Debian's packages, or the one
/// on the path.
const POSTGRES_VERSION: &str =
    "initdb=$(ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort | tail -n 1)
\"${initdb:-initdb}\" --version";
/// Names a server that is there, whose version is seen when it is used.
const POSTGRES_VARIABLE: &str = "TENURE_TEST_POSTGRES";

/// Installs what is missing and says so; does nothing where nothing is.
///
/// # Errors
/// Something is missing and cannot be installed, or is too old.
pub(crate) fn ensure() -> Outcome {
    let fuzz = root().join("fuzz/Cargo.toml").exists().then_some(&FUZZ_NEED);
    let mut apt = Apt { updated: false };
    for need in NEEDS.iter().chain(fuzz) {
        need.ensure(&mut apt)?;
    }
    if std::env::var_os(POSTGRES_VARIABLE).is_none() {
        let major = check_postgres(&Cmd::new("sh", &["-c", POSTGRES_VERSION]).output()?)?;
        ensure_pgvector(major, &mut apt)?;
    }
    for component in ["rustfmt", "clippy"] {
        let subcommand = if component == "rustfmt" { "fmt" } else { component };
        if !Cmd::cargo(&[subcommand, "--version"]).succeeds() {
            println!("{component} is missing");
            Cmd::new("rustup", &["component", "add", component]).run(None)?;
        }
    }
    Ok(())
}

/// The version that `initdb` says of itself, if it will do.
///
/// # Errors
/// It is too old, or no version.
fn check_postgres(said: &str) -> Result<u32, String> {
    let version = said.split_once("(PostgreSQL) ").map_or(said, |(_, version)| version);
    let digits = version.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(version.len());
    match version[..digits].parse::<u32>() {
        Ok(major) if major >= POSTGRES_VERSION_MIN => Ok(major),
        Ok(major) => Err(format!(
            "PostgreSQL {major} is too old, the tests need {POSTGRES_VERSION_MIN} or later: install one beside it \
             (the package `postgresql-common` brings /usr/share/postgresql-common/pgdg/apt.postgresql.org.sh, \
             which adds a source of newer ones; then `postgresql-{POSTGRES_VERSION_MIN}`), or name a server that \
             is there in {POSTGRES_VARIABLE}"
        )),
        Err(_) => {
            Err(format!("`initdb --version` does not say which PostgreSQL it is of: `{}`", said.trim()))
        }
    }
}

/// Installs what gives PostgreSQL indexes of vectors, where the system has a package of it. The store works without, and
/// its tests say so.
fn ensure_pgvector(major: u32, apt: &mut Apt) -> Outcome {
    let package = format!("postgresql-{major}-pgvector");
    let control = format!("/usr/share/postgresql/{major}/extension/vector.control");
    let has_package = || Cmd::new("apt-cache", &["show", "--quiet", &package]).succeeds();
    if Path::new(&control).exists() || !has_package() {
        return Ok(());
    }
    println!("pgvector is missing");
    apt.install(&[&package])
}

impl Need {
    fn is_there(&self) -> bool {
        let (program, args) = self.check.split_first().expect("every need names the program that checks it");
        Cmd::new(program, args).succeeds()
    }

    fn ensure(&self, apt: &mut Apt) -> Outcome {
        if self.is_there() {
            return Ok(());
        }
        println!("{} is missing", self.what);
        apt.install(self.packages)?;
        if self.is_there() {
            return Ok(());
        }
        Err(format!("{} is still missing after {} was installed", self.what, self.packages.join(", ")))
    }
}

/// The system's package manager, as root or through sudo without a password.
struct Apt {
    updated: bool,
}

impl Apt {
    fn install(&mut self, packages: &[&str]) -> Outcome {
        let by_hand = || format!("install {} by hand, then run this again", packages.join(", "));
        if !Cmd::new("apt-get", &["--version"]).succeeds() {
            return Err(format!("there is no apt-get here; {}", by_hand()));
        }
        let is_root = Cmd::new("sh", &["-c", "test \"$(id -u)\" = 0"]).succeeds();
        if !is_root && !Cmd::new("sudo", &["-n", "true"]).succeeds() {
            return Err(format!("neither root nor sudo without a password; {}", by_hand()));
        }
        if !self.updated {
            apt(is_root, &["update", "--quiet"])?;
            self.updated = true;
        }
        let args = [["install", "--yes", "--quiet", "--no-install-recommends"].as_slice(), packages].concat();
        apt(is_root, &args)
    }
}

fn apt(is_root: bool, args: &[&str]) -> Outcome {
    if is_root {
        return Cmd::new("apt-get", args).env("DEBIAN_FRONTEND", "noninteractive").run(None);
    }
    let command = [["-n", "DEBIAN_FRONTEND=noninteractive", "apt-get"].as_slice(), args].concat();
    Cmd::new("sudo", &command).run(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_postgres_is_refused_by_its_number() {
        for good in ["initdb (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "initdb (PostgreSQL) 18beta1\n"] {
            assert!(check_postgres(good).is_ok_and(|major| major >= 15), "{good}");
        }
        for (bad, says) in [
            ("initdb (PostgreSQL) 14.2 (Ubuntu 14.2-1ubuntu1)", "PostgreSQL 14 is too old"),
            ("initdb (PostgreSQL) 9.6.24", "PostgreSQL 9 is too old"),
            ("", "does not say"),
        ] {
            assert!(check_postgres(bad).is_err_and(|error| error.contains(says)), "{bad}");
        }
    }
}
