//! The `selvedge` program, built along with the tests that start it.

fn main() -> std::process::ExitCode {
    selvedge_host::program::main()
}
