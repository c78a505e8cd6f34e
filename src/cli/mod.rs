//! The binary's commands. So far `sql -c`: statements in, aligned rows out.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;

use crate::{Engine, Error, Result, Session};

/// One SQL over the systems a company runs on.
#[derive(Debug, Parser)]
#[command(name = "belvedere", version, after_help = "Example:\n  belvedere sql \
    -c \"CREATE SOURCE shop FROM 'sqlite:shop.db'\" -c 'SELECT count(*) FROM shop.orders'")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Execute statements and print their answers.
    Sql {
        /// Where definitions are kept; without it they are forgotten at the end.
        #[arg(long, value_name = "DIR")]
        data: Option<PathBuf>,
        /// A statement, or several with ';' between them. May be repeated.
        #[arg(short = 'c', value_name = "SQL", required = true)]
        commands: Vec<String>,
    },
}

/// Run the command line of this process. Errors go to standard error, in one line each.
pub async fn run() -> ExitCode {
    let Command::Sql { data, commands } = Arguments::parse().command;
    match sql(data, &commands).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

async fn sql(data: Option<PathBuf>, commands: &[String]) -> Result<()> {
    let mut builder = Engine::builder();
    if let Some(path) = data {
        builder = builder.data_dir(path);
    }
    let engine = builder.open().await?;
    let session = engine.session();
    for text in commands {
        for statement in belvedere_sql::parse(text)? {
            print(&session, &statement.text).await?;
        }
    }
    drop(session);
    engine.close().await
}

async fn print(session: &Session, sql: &str) -> Result<()> {
    let answer = session.execute(sql).await?;
    for notice in &answer.notices {
        eprintln!("notice: {notice}");
    }
    let schema = answer.schema.clone();
    let mut batches = answer.stream.try_collect::<Vec<_>>().await?;
    if batches.is_empty() {
        batches.push(datafusion::arrow::array::RecordBatch::new_empty(schema));
    }
    let table = pretty_format_batches(&batches).map_err(|e| Error::Internal(e.to_string()))?;
    println!("{table}");
    Ok(())
}
