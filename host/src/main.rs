//! The `selvedge` program.

fn main() -> std::process::ExitCode {
    selvedge_host::program::main()
}
