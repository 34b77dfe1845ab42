//! The command line: see `dlc --help`.

fn main() -> std::process::ExitCode {
    dlc::cli::main()
}
