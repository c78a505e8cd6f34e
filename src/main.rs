use std::process::ExitCode;

fn main() -> ExitCode {
    belvedere::cli::main()
}
