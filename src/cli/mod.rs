//! The binary: its commands and its shell.
//!
//! Every command sends statements to a [`Target`](target::Target), an engine in this process or a running server, and
//! prints what it answers; a [`Failure`](failure::Failure) ends it, in one form for all. Nothing here knows how a
//! statement is planned or a source is read.
//!
//! | file | owns |
//! |---|---|
//! | `args.rs` | the command line and its help |
//! | `failure.rs` | an error as it is printed, and the exit code |
//! | `floats.rs` | floats that JSON has no number for |
//! | `target.rs` | [`Target`](target::Target): in this process, or `--connect` |
//! | `password.rs` | asking for a password |
//! | `script.rs` | `sql -c`, `sql -f`: statements in turn, Ctrl-C |
//! | `shell/` | `sql`: the interactive shell |
//! | `output.rs` | answers as table, CSV, JSON, Arrow, Parquet |
//! | `table.rs` | rows as aligned text that fits |
//! | `progress.rs` | what takes longer than a second |
//! | `apply.rs` | `apply` and `check` |
//! | `serve.rs` | `serve` |
//! | `audit.rs` | `audit verify` |
//! | `demo/` | `demo`: the company, its systems, the tour |

mod apply;
mod args;
mod audit;
mod demo;
mod failure;
mod floats;
mod output;
mod password;
mod progress;
mod script;
mod serve;
mod shell;
mod table;
mod target;

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};

use args::{Arguments, Command};
use failure::{Failure, Result};

/// Plans are recursive; a thread's stack must hold the deepest one that is taken.
const STACK_BYTES: usize = 16 << 20;

/// Run the command line of this process.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            failure.exit_code()
        }
    }
}

fn run(command: Command) -> Result<()> {
    let log = tracing_subscriber::EnvFilter::try_from_env("BELVEDERE_LOG");
    let log = log.unwrap_or_else(|_| {
        tracing_subscriber::EnvFilter::new(match &command {
            // The heads of the audit are to be found elsewhere than in the audit.
            Command::Serve(_) => "error,belvedere::access::audit=info",
            _ => "error",
        })
    });
    tracing_subscriber::fmt()
        .with_env_filter(log)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let runtime = runtime()?;
    let result = match command {
        Command::Demo(arguments) => runtime.block_on(demo::run(arguments)),
        Command::Serve(arguments) => runtime.block_on(serve::run(arguments)),
        Command::Sql(arguments) => script::run(&runtime, arguments),
        Command::Apply(arguments) => runtime.block_on(apply::apply(arguments)),
        Command::Check(arguments) => runtime.block_on(apply::check(arguments)),
        Command::Audit(arguments) => audit::run(arguments),
    };
    // A read that does not notice its cancellation must not keep the process.
    runtime.shutdown_background();
    result
}

fn runtime() -> Result<Runtime> {
    let runtime = Builder::new_multi_thread()
        .enable_all()
        .thread_stack_size(STACK_BYTES)
        .build();
    runtime.map_err(|e| Failure::new(format!("no threads can be started: {e}")))
}

fn report(failure: &Failure) {
    if failure.is_unheard() {
        return;
    }
    let text = failure.render();
    let color = std::io::stderr().is_terminal()
        && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    match text.strip_prefix("error:").filter(|_| color) {
        Some(rest) => eprintln!("\x1b[1;31merror:\x1b[0m{rest}"),
        None => eprintln!("{text}"),
    }
}
