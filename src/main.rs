use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    belvedere::cli::run().await
}
