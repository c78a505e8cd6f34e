use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use belvedere_sql::{Name, Show, Spanned, Statement};
use datafusion::scalar::ScalarValue;
use tokio::runtime::Runtime;

use super::args::Sql;
use super::failure::{Failure, Result};
use super::output::{Format, Output};
use super::progress::Progress;
use super::shell;
use super::target::{self, Rows, Target};

/// `belvedere sql`: the shell if a person is there, else the statements given.
pub fn run(runtime: &Runtime, arguments: Sql) -> Result<()> {
    let given = !arguments.commands.is_empty() || !arguments.files.is_empty();
    let shell = !given && io::stdin().is_terminal();
    let texts = if shell {
        Vec::new()
    } else {
        texts(&arguments)?
    };
    let scripts = texts
        .iter()
        .map(Script::parse)
        .collect::<Result<Vec<_>>>()?;
    let answers = scripts
        .iter()
        .flat_map(|s| &s.statements)
        .filter(|s| is_query(&s.statement))
        .count();
    if arguments.format.is_binary() && answers > 1 {
        return Err(Failure::usage(format!(
            "{answers} answers do not fit in one file of this format"
        ))
        .help("Ask for one, or choose --format csv or json"));
    }
    if shell && arguments.format.is_binary() {
        return Err(Failure::usage("a shell cannot show answers in this format")
            .help("Give the statement with -c, or choose --format table, csv or json"));
    }
    let output = Output::new(arguments.format, arguments.output.clone())?;
    let target = runtime.block_on(cancellable(target::open(&arguments.place)))?;
    if shell {
        return shell::run(runtime, target.as_ref(), output);
    }
    runtime.block_on(async {
        for script in &scripts {
            for statement in &script.statements {
                let done = cancellable(execute(target.as_ref(), statement, &output)).await;
                done.map_err(|failure| script.located(failure, statement))?;
            }
        }
        Ok(())
    })
}

/// A text of statements and where it is from.
struct Text {
    /// None: the command line.
    file: Option<String>,
    sql: String,
}

struct Script<'a> {
    text: &'a Text,
    statements: Vec<Spanned>,
}

impl<'a> Script<'a> {
    /// All or nothing: a typing error in the last statement is known before the first one runs.
    fn parse(text: &'a Text) -> Result<Self> {
        match belvedere_sql::parse(&text.sql) {
            Ok(statements) => Ok(Self { text, statements }),
            Err(e) => {
                let failure = Failure::of(&e.into(), &text.sql);
                Err(match &text.file {
                    Some(file) => failure.inside(file),
                    None => failure,
                })
            }
        }
    }

    /// The failure of one statement, with its place in the file.
    fn located(&self, failure: Failure, statement: &Spanned) -> Failure {
        match &self.text.file {
            Some(file) => failure.inside(&format!("{file}, statement at line {}", statement.line)),
            None => failure,
        }
    }
}

fn texts(arguments: &Sql) -> Result<Vec<Text>> {
    let commands = arguments.commands.iter().map(|sql| {
        Ok(Text {
            file: None,
            sql: sql.clone(),
        })
    });
    let files = arguments.files.iter().map(|path| read(path));
    let mut texts: Vec<Text> = commands.chain(files).collect::<Result<_>>()?;
    if texts.is_empty() {
        texts.push(read(Path::new("-"))?);
    }
    Ok(texts)
}

fn read(path: &Path) -> Result<Text> {
    let (name, read) = match path.to_str() {
        Some("-") => {
            let mut text = String::new();
            (
                "standard input".to_string(),
                io::stdin().read_to_string(&mut text).map(|_| text),
            )
        }
        _ => (path.display().to_string(), std::fs::read_to_string(path)),
    };
    match read {
        Ok(sql) => Ok(Text {
            file: Some(name),
            sql,
        }),
        Err(e) => Err(Failure::usage(format!("{name} cannot be read: {e}"))),
    }
}

fn is_query(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Query(_)
            | Statement::Copy(_)
            | Statement::Subscribe(_)
            | Statement::Explain(_)
            | Statement::Show(_)
            | Statement::Describe { .. }
            | Statement::DescribeQuery(_)
    )
}

/// Execute one statement and print its answer.
pub async fn execute(target: &dyn Target, statement: &Spanned, output: &Output) -> Result<()> {
    let started = Instant::now();
    let answer = match &statement.statement {
        Statement::CreateView(view) if view.options.get("wait").is_some() => {
            filled(target, &statement.text, &view.name).await?
        }
        _ => {
            let _progress = Progress::work("working");
            target.execute(&statement.text).await?
        }
    };
    match output.format == Format::Table && is_text(&statement.statement) {
        true => output.text(answer).await,
        false => output.write(answer, started).await,
    }
}

/// Execute a statement that waits until a view is filled, and tell how far that is.
async fn filled(target: &dyn Target, text: &str, view: &Name) -> Result<Rows> {
    const PAUSE: Duration = Duration::from_secs(1);
    let name = view.fold().pop().unwrap_or_default();
    let progress = Progress::filling(&name);
    let mut work = target.execute(text);
    loop {
        tokio::select! {
            answer = &mut work => return answer,
            () = tokio::time::sleep(PAUSE), if progress.is_shown() => {
                if let Some((done, all)) = how_far(target, &name).await {
                    progress.tell(done, all);
                }
            }
        }
    }
}

/// Rows that are done of what a view reads, and all of them.
async fn how_far(target: &dyn Target, view: &str) -> Option<(u64, u64)> {
    let view = view.replace('\'', "''");
    let sql = format!("SELECT input_rows_done, input_rows FROM system.views WHERE name = '{view}'");
    let rows = target.execute(&sql).await.ok()?.collect().await.ok()?;
    let first = rows.first().filter(|rows| rows.num_rows() > 0)?;
    let number = |column: usize| {
        let column = first.column(column);
        let number = ScalarValue::try_from_array(column, 0).ok()?;
        number.to_string().parse().ok()
    };
    Some((number(0)?, number(1)?))
}

/// Whether the answer is a text in lines: a plan, a definition.
fn is_text(statement: &Statement) -> bool {
    matches!(
        statement,
        Statement::Explain(_) | Statement::Show(Show::CreateView(_) | Show::CreateSource(_))
    )
}

/// The work, ended by Ctrl-C: dropped, it is cancelled at the sources.
pub async fn cancellable<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(Failure::interrupted()),
    }
}
