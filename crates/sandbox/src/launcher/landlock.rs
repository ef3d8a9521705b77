//! Landlock: which files exist for whoever comes after, whatever the mounts say; no signal and no abstract
//! Unix socket leads out.

use std::path::{Path, PathBuf};

use ::landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, Scope,
};

/// The newest version whose rights are used here; newer kernels know them too.
pub(crate) const VERSION_MAX: u32 = 6;
/// The first version that keeps signals in. Without it nothing but Landlock's absence of a process
/// namespace stands between a command and other processes of its user.
pub(crate) const VERSION_SCOPES: u32 = 6;

/// What is reachable.
pub(crate) struct Reach {
    /// Read and execute.
    pub(crate) readable: Vec<PathBuf>,
    /// Everything but making devices.
    pub(crate) writable: Vec<PathBuf>,
    /// Read and write, as devices.
    pub(crate) devices: Vec<PathBuf>,
    /// Whether TCP is refused here.
    pub(crate) tcp: Tcp,
}

/// Whether Landlock refuses TCP.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tcp {
    Refused,
    Elsewhere,
}

/// Confines this process for good, with every right that `version` knows. Paths that do not exist are left
/// out. Sets `no_new_privs`.
pub(crate) fn restrict(version: u32, reach: &Reach) -> Result<(), RulesetError> {
    let abi = abi(version);
    let all = AccessFs::from_all(abi);
    let mut ruleset =
        Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(all)?;
    if reach.tcp == Tcp::Refused && version >= 4 {
        ruleset = ruleset.handle_access(AccessNet::from_all(abi))?;
    }
    if version >= VERSION_SCOPES {
        ruleset = ruleset.scope(Scope::from_all(abi))?;
    }
    let mut created = ruleset.create()?;
    let devices = all & (AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev);
    let read = AccessFs::from_read(abi);
    let write = all & !(AccessFs::MakeChar | AccessFs::MakeBlock);
    for (paths, access) in [(&reach.readable, read), (&reach.writable, write), (&reach.devices, devices)] {
        for path in paths {
            let Ok(opened) = PathFd::new(path) else { continue };
            let access = if path.is_dir() { access } else { access & AccessFs::from_file(abi) };
            created = created.add_rule(PathBeneath::new(opened, access))?;
        }
    }
    created.restrict_self()?;
    Ok(())
}

fn abi(version: u32) -> ABI {
    match version {
        0..=1 => ABI::V1,
        2 => ABI::V2,
        3 => ABI::V3,
        4 => ABI::V4,
        5 => ABI::V5,
        6.. => ABI::V6,
    }
}

/// Directories of programs and libraries.
pub(crate) const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What programs need of `/etc`, without anything that a person or an administrator keeps there.
pub(crate) const ETC: &[&str] = &[
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/crypto-policies",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
];

/// What programs need of `/etc` to use the host's network.
pub(crate) const ETC_NETWORK: &[&str] = &["/etc/gai.conf", "/etc/hosts", "/etc/resolv.conf"];

/// Devices that hold nothing.
pub(crate) const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Paths as Landlock takes them.
pub(crate) fn paths(words: &[&str]) -> Vec<PathBuf> {
    words.iter().map(|word| Path::new(word).to_path_buf()).collect()
}
