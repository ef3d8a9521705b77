//! The `tenure` binary: configuration, wiring and the command line. The only place that reads the
//! process's environment and names concrete adapters.

mod cli;
mod contracts;
mod mock;
mod proofs;
mod server;

fn main() -> std::process::ExitCode {
    // Before anything else: a supervisor is this program, started again by a server.
    if std::env::args_os().nth(1).is_some_and(|word| word == server::SUPERVISOR) {
        tenure_sandbox::launcher::main();
    }
    cli::main(std::env::args_os(), cli::World::of_process())
}
