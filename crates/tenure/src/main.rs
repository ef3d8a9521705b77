//! The `tenure` binary: configuration, wiring and the command line. The only place that reads the
//! process's environment and names concrete adapters.

mod cli;
mod mock;
mod server;

fn main() -> std::process::ExitCode {
    cli::main(std::env::args_os(), cli::World::of_process())
}
