//! The interactive shell.
//!
//! It reads a statement (or a `\command`) at a time, sends it to the [`Target`] and prints the answer. Ctrl-C cancels
//! what runs, not the shell.
//!
//! | file | owns |
//! |---|---|
//! | `editor.rs` | the line editor: prompt, when a statement is complete, colours |
//! | `names.rs` | [`Names`](names::Names): what can be typed next |
//! | `commands.rs` | `\?`, `\d` and the like |

mod commands;
mod editor;
mod names;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use belvedere_sql::Statement;
use reedline::Signal;
use tokio::runtime::Runtime;

use super::failure::{Failure, Result};
use super::output::{Output, PAGE};
use super::script::{cancellable, execute};
use super::target::Target;
use commands::{Command, Outcome};
use names::Names;

/// Names as the completer sees them; read again after each definition.
type SharedNames = Arc<Mutex<Names>>;

pub struct Shell<'a> {
    target: &'a dyn Target,
    output: Output,
    names: SharedNames,
}

/// Read and execute until the user leaves.
pub fn run(runtime: &Runtime, target: &dyn Target, mut output: Output) -> Result<()> {
    let names = SharedNames::default();
    let mut editor = editor::editor(names.clone(), output.color());
    output.limit = Some(PAGE);
    let mut shell = Shell {
        target,
        output,
        names,
    };
    println!(
        "Belvedere {}, {}",
        env!("CARGO_PKG_VERSION"),
        target.describe()
    );
    println!("Statements end with ';'. \\? helps, Tab completes, Ctrl-D leaves.\n");
    runtime.block_on(shell.learn());
    loop {
        match editor.read_line(&editor::Prompt) {
            Ok(Signal::Success(text)) => {
                match runtime.block_on(cancellable(shell.entered(&text))) {
                    Ok(Outcome::Quit) => return Ok(()),
                    Ok(Outcome::Done) => {}
                    Err(failure) => {
                        super::report(&failure);
                        eprintln!();
                    }
                }
            }
            // What was typed is given up.
            Ok(Signal::CtrlC) => {}
            Ok(Signal::CtrlD) => return Ok(()),
            Ok(_) => {}
            Err(e) => return Err(Failure::new(format!("the terminal cannot be read: {e}"))),
        }
    }
}

impl Shell<'_> {
    /// What was typed: a command or statements.
    async fn entered(&mut self, text: &str) -> Result<Outcome> {
        if let Some(command) = Command::parse(text)? {
            return self.command(command).await;
        }
        self.statements(text).await.map(|()| Outcome::Done)
    }

    async fn statements(&mut self, text: &str) -> Result<()> {
        let statements = belvedere_sql::parse(text).map_err(|e| Failure::of(&e.into(), text))?;
        for statement in statements {
            execute(self.target, &statement, &self.output).await?;
            if !matches!(
                statement.statement,
                Statement::Query(_)
                    | Statement::Show(_)
                    | Statement::Explain(_)
                    | Statement::Subscribe(_)
            ) {
                self.learn().await;
            }
        }
        Ok(())
    }

    /// One of our own questions, its answer shown as any other.
    async fn ask(&self, sql: &str) -> Result<()> {
        let started = Instant::now();
        let answer = self.target.execute(sql).await?;
        self.output.write(answer, started).await
    }

    /// Read the names for completion. Without them the shell works all the same.
    async fn learn(&self) {
        if let Ok(names) = cancellable(Names::read(self.target)).await {
            *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        }
    }
}
