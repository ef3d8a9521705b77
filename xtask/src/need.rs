//! What the tests need beside Rust, installed by package name when it is missing.

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

/// Installs what is missing and says so; does nothing where nothing is.
///
/// # Errors
/// Something is missing and cannot be installed.
pub(crate) fn ensure() -> Outcome {
    let fuzz = root().join("fuzz/Cargo.toml").exists().then_some(&FUZZ_NEED);
    let mut apt = Apt { updated: false };
    for need in NEEDS.iter().chain(fuzz) {
        need.ensure(&mut apt)?;
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
