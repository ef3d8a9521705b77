//! Has the linker of a release keep one of functions that are the same, which most linkers can and GNU ld cannot.

use std::env;
use std::path::Path;
use std::process::Command;

/// Whose toolchain links with the LLD that comes with it.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if is("PROFILE", "release") && is("TARGET", TARGET) && is("HOST", TARGET) && links_with_its_own() {
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=safe");
    }
}

fn is(variable: &str, value: &str) -> bool {
    env::var(variable).is_ok_and(|found| found == value)
}

/// Whether nobody chose another linker and the toolchain has one.
fn links_with_its_own() -> bool {
    let is_set = |variable| env::var(variable).is_ok_and(|found| !found.is_empty());
    if is_set("RUSTC_LINKER") || is_set("CARGO_ENCODED_RUSTFLAGS") {
        return false;
    }
    let Some(rustc) = env::var_os("RUSTC") else { return false };
    let Ok(output) = Command::new(rustc).args(["--print", "sysroot"]).output() else { return false };
    let Ok(sysroot) = String::from_utf8(output.stdout) else { return false };
    Path::new(sysroot.trim()).join("lib/rustlib").join(TARGET).join("bin/gcc-ld/ld.lld").exists()
}
