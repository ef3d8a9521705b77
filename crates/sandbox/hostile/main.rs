//! What the tests run inside: one probe for each row of the attack table in `docs/sandbox.md`.
//!
//! A probe prints what the kernel answered, one word for each thing it tried. It does not judge: the same
//! failure can be a proof or a coincidence, and the driver knows which answer it planted.
#![allow(unsafe_code, clippy::unwrap_used)]

mod calls;
mod consume;
mod files;
mod processes;
mod sockets;

use std::io;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, args)) = args.split_first() else { panic!("no probe is named") };
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    println!("{}", probe(name, &args));
}

fn probe(name: &str, args: &[&str]) -> String {
    match (name, args) {
        ("forks", []) => consume::forks(),
        ("threads", []) => consume::threads(),
        ("memory", [processes]) => consume::memory(processes.parse().unwrap()),
        ("memfds", []) => consume::memfds(),
        ("write", [path]) => consume::write(path),
        ("many", [directory, count, bytes]) => {
            consume::many(directory, count.parse().unwrap(), bytes.parse().unwrap())
        }
        ("unlinked", [directory, count, bytes]) => {
            consume::unlinked(directory, count.parse().unwrap(), bytes.parse().unwrap())
        }
        ("sparse", [path]) => consume::sparse(path),
        ("spin", []) => consume::spin(),
        ("spin-children", []) => consume::spin_children(),
        ("sleep", []) => consume::sleep(),
        ("ignore", []) => consume::ignore_signals(),
        ("stop", []) => consume::stop(),
        ("output", [mebibytes]) => consume::output(mebibytes.parse().unwrap()),
        ("descriptors", []) => consume::descriptors(),
        ("pipes", []) => consume::pipes(),
        ("raise-limits", []) => consume::raise_limits(),
        ("priority", []) => consume::priority(),

        ("read", paths) => files::read(paths),
        ("create", paths) => files::create(paths),
        ("open", paths) => files::open(paths),
        ("links", [secret]) => files::links(secret),
        ("hard-links", paths) => files::hard_links(paths),
        ("devices", []) => files::devices(),
        ("odd", []) => files::odd(),
        ("set-id", []) => files::set_id(),
        ("privileges", []) => files::privileges(),
        ("environment", []) => files::environment(),
        ("inherited", []) => files::inherited(),
        ("terminal", []) => files::terminal(),

        ("calls", []) => calls::forbidden(),
        ("namespaces", []) => calls::namespaces(),
        ("clone3", []) => calls::clone3(),
        ("x32", []) => calls::x32(),
        ("int80", []) => calls::int80(),

        ("listed", []) => processes::listed(),
        ("trace", [victim]) => processes::trace(victim.parse().unwrap()),
        ("kill", [victim]) => processes::kill(victim.parse().unwrap()),
        ("kill-all", []) => processes::kill_all(),
        ("kill-parent", []) => processes::kill_parent(),
        ("kill-self", []) => processes::kill_self(),
        ("daemon", [_token]) => processes::daemon(),
        ("persist", [_token]) => processes::persist(),
        ("abort", []) => processes::abort(),
        ("whoami", []) => processes::whoami(),
        ("memfd-exec", args) => processes::memfd_exec(args),
        ("loader-exec", args) => processes::loader_exec(args),

        ("outside", []) => sockets::outside(),
        ("tcp", [port]) => sockets::tcp(port.parse().unwrap()),
        ("unix", [stream, datagram, name]) => sockets::unix(stream, datagram, name),
        ("families", []) => sockets::families(),
        ("bind", [port]) => sockets::bind(port.parse().unwrap()),
        ("proxy", [text]) => sockets::proxy(text),
        _ => panic!("there is no probe `{name}` with these arguments"),
    }
}

/// `ok`, or the name of the errno.
fn said<T>(result: io::Result<T>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(error) => error.raw_os_error().map_or_else(|| error.to_string(), |errno| name(errno).to_owned()),
    }
}

/// The answer to a raw call.
fn answer(result: libc::c_long) -> String {
    said(if result == -1 { Err(io::Error::last_os_error()) } else { Ok(()) })
}

fn name(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::ESRCH => "ESRCH",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EEXIST => "EEXIST",
        libc::EXDEV => "EXDEV",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::EFBIG => "EFBIG",
        libc::ENOSPC => "ENOSPC",
        libc::EROFS => "EROFS",
        libc::ELOOP => "ELOOP",
        libc::ENOSYS => "ENOSYS",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EADDRINUSE => "EADDRINUSE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::ENXIO => "ENXIO",
        libc::EBADF => "EBADF",
        libc::EFAULT => "EFAULT",
        libc::ENOTTY => "ENOTTY",
        libc::ECHILD => "ECHILD",
        libc::EBUSY => "EBUSY",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
        libc::EIO => "EIO",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        libc::EISDIR => "EISDIR",
        libc::ENOTDIR => "ENOTDIR",
        _ => Box::leak(format!("errno {errno}").into_boxed_str()),
    }
}

/// The distinct answers, in the order of the alphabet.
fn distinct(answers: impl IntoIterator<Item = String>) -> String {
    let answers: std::collections::BTreeSet<String> = answers.into_iter().collect();
    answers.into_iter().collect::<Vec<_>>().join(" ")
}

/// Waits for ever.
fn pause() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}
