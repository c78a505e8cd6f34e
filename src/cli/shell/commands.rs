use belvedere_sql::{Statement, Value};
use clap::ValueEnum;

use super::Shell;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::Format;
use crate::cli::script::cancellable;

/// What is not SQL.
#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Quit,
    /// `\d`: all tables and views, or those of a source or schema (`\dt erp`).
    Tables(Option<String>),
    /// `\d name`
    Describe(String),
    Sources,
    Views,
    /// `\timing [on | off]`
    Timing(Option<bool>),
    /// `\rows n`; 0 is all.
    Rows(usize),
    Format(Format),
    /// `\i file`
    Include(String),
}

/// Whether the shell goes on.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Done,
    Quit,
}

/// For completion.
pub const NAMES: &[&str] = &[
    "\\?", "\\d", "\\ds", "\\dt", "\\dv", "\\format", "\\i", "\\q", "\\rows", "\\timing",
];

const HELP: &str = "\
  \\d               tables and views of all sources
  \\d NAME          the columns and keys of a table or view
  \\dt [SOURCE]     tables and views, of one source or schema
  \\ds              sources, and how they are
  \\dv              views
  \\timing [on|off] whether the number of rows and the time are shown
  \\rows N          rows shown of an answer; 0 for all
  \\format FORMAT   table, csv or json
  \\i FILE          execute the statements of a file
  \\q               leave (also Ctrl-D)

  Enter executes once the statement ends with ';'. Tab completes names, Ctrl-R searches what was typed before,
  Alt-Enter begins a new line. Ctrl-C cancels what runs, or what is typed.

  CREATE SOURCE erp FROM 'postgres://reader@erp-db/erp' WITH (password = 'env:ERP_PASSWORD');
  CREATE VIEW … AS SELECT …;    EXPLAIN SELECT …;    SHOW ALL;    SET statement_timeout = '30s';
";

/// Words that are commands without a backslash.
pub fn is_word(text: &str) -> bool {
    matches!(
        text.trim_end_matches(';')
            .trim_end()
            .to_lowercase()
            .as_str(),
        "help" | "quit" | "exit"
    )
}

impl Command {
    /// None: it is SQL.
    pub fn parse(text: &str) -> Result<Option<Self>> {
        let text = text.trim();
        if is_word(text) {
            let help = text.to_lowercase().starts_with("help");
            return Ok(Some(if help { Self::Help } else { Self::Quit }));
        }
        let Some(line) = text.strip_prefix('\\') else {
            return Ok(None);
        };
        let (name, argument) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let argument = argument.trim().trim_end_matches(';');
        let given = (!argument.is_empty()).then(|| argument.to_string());
        let needed = |what: &str| {
            given
                .clone()
                .ok_or_else(|| Failure::new(format!("\\{name} needs {what}: \\{name} {what}")))
        };
        Ok(Some(match name.trim_end_matches(';') {
            "?" | "h" | "help" => Self::Help,
            "q" | "quit" | "exit" => Self::Quit,
            "d" => given.map_or(Self::Tables(None), Self::Describe),
            "dt" => Self::Tables(given),
            "ds" => Self::Sources,
            "dv" => Self::Views,
            "timing" => Self::Timing(match argument {
                "" => None,
                "on" => Some(true),
                "off" => Some(false),
                _ => return Err(Failure::new("\\timing takes on or off")),
            }),
            "rows" => Self::Rows(
                needed("N")?
                    .parse()
                    .map_err(|_| Failure::new("\\rows takes a number"))?,
            ),
            "format" => match Format::from_str(&needed("table|csv|json")?, true) {
                Ok(format) if !format.is_binary() => Self::Format(format),
                _ => return Err(Failure::new("\\format takes table, csv or json")),
            },
            "i" => Self::Include(needed("FILE")?),
            _ => {
                return Err(Failure::new(format!("there is no command \\{name}"))
                    .help("\\? lists the commands"));
            }
        }))
    }
}

impl Shell<'_> {
    pub async fn command(&mut self, command: Command) -> Result<Outcome> {
        match command {
            Command::Help => print!("{HELP}"),
            Command::Quit => return Ok(Outcome::Quit),
            Command::Tables(None) => self.tables("true").await?,
            Command::Tables(Some(of)) => {
                let of = Value::String(of);
                self.tables(&format!(
                    "(source = {of} OR (source = 'belvedere' AND schema = {of}))"
                ))
                .await?;
            }
            Command::Describe(name) => self.describe(&name).await?,
            Command::Sources => self.ask("SHOW SOURCES").await?,
            Command::Views => self.ask("SHOW VIEWS").await?,
            Command::Timing(timing) => {
                self.output.timing = timing.unwrap_or(!self.output.timing);
                println!(
                    "timing is {}",
                    if self.output.timing { "on" } else { "off" }
                );
            }
            Command::Rows(rows) => self.output.limit = (rows > 0).then_some(rows),
            Command::Format(format) => self.output.format = format,
            Command::Include(path) => {
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| Failure::new(format!("{path} cannot be read: {e}")))?;
                self.statements(&text)
                    .await
                    .map_err(|failure| failure.inside(&path))?;
            }
        }
        Ok(Outcome::Done)
    }

    async fn tables(&self, condition: &str) -> Result<()> {
        self.ask(&format!(
            "SELECT source, schema, name, kind, row_estimate AS \"rows, about\", comment FROM system.tables \
             WHERE kind <> 'SYSTEM' AND {condition} ORDER BY source, schema, name"
        ))
        .await
    }

    async fn describe(&self, name: &str) -> Result<()> {
        let describe = format!("DESCRIBE {name}");
        // The name is the user's: what it cannot be is said as of any statement.
        let parsed =
            belvedere_sql::parse_one(&describe).map_err(|e| Failure::new(e.kind.to_string()))?;
        let Statement::Describe { name } = parsed.statement else {
            return Err(Failure::new("\\d takes the name of a table or view"));
        };
        self.ask(&describe).await?;
        let parts = name.fold();
        let (Some(table), Some(source)) = (parts.last().cloned(), parts.first().cloned()) else {
            return Ok(());
        };
        let keys = format!(
            "SELECT kind, columns, referenced_table AS \"references\", referenced_columns AS \"its columns\" \
             FROM system.keys WHERE \"table\" = {} AND source = {} ORDER BY kind DESC, name",
            Value::String(table),
            Value::String(source)
        );
        let answer = cancellable(self.target.execute(&keys)).await?;
        let (schema, batches) = (answer.schema.clone(), answer.collect().await?);
        let mut shown = crate::cli::table::Table::new(&schema);
        for batch in &batches {
            shown.add(batch, batch.num_rows())?;
        }
        if shown.rows() > 0 {
            println!("Keys\n{}", shown.render(self.output.look()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<Command> {
        Command::parse(text).unwrap()
    }

    #[test]
    fn commands() {
        assert_eq!(parse("SELECT 1;"), None);
        assert_eq!(parse("\\d"), Some(Command::Tables(None)));
        assert_eq!(
            parse("\\d erp.item;"),
            Some(Command::Describe("erp.item".into()))
        );
        assert_eq!(parse("\\dt erp"), Some(Command::Tables(Some("erp".into()))));
        assert_eq!(parse(" help "), Some(Command::Help));
        assert_eq!(parse("exit;"), Some(Command::Quit));
        assert_eq!(parse("\\timing off"), Some(Command::Timing(Some(false))));
        assert_eq!(parse("\\format json"), Some(Command::Format(Format::Json)));
        assert_eq!(parse("\\rows 0"), Some(Command::Rows(0)));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, says) in [
            ("\\x", "no command \\x"),
            ("\\rows", "needs N"),
            ("\\rows many", "takes a number"),
            ("\\format parquet", "table, csv or json"),
            ("\\i", "needs FILE"),
        ] {
            let failure = Command::parse(text).unwrap_err().render();
            assert!(failure.contains(says), "{failure}");
        }
    }
}
