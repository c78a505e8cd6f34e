//! Statements back to SQL. What is printed parses to the same AST.

use std::fmt::{self, Display, Formatter};

use sqlparser::ast::{Ident, Query};

use crate::ast::*;
use crate::exact::exact;
use crate::name::{write_ident, write_quoted};

/// A list between commas.
pub(crate) struct List<'a, T>(pub &'a [T]);

impl<T: Display> Display for List<'_, T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, item) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            item.fmt(f)?;
        }
        Ok(())
    }
}

/// An identifier through our own printer.
pub(crate) struct Id<'a>(pub &'a Ident);

impl Display for Id<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_ident(f, self.0)
    }
}

/// Identifiers between commas, in parentheses.
pub(crate) struct Columns<'a>(pub &'a [Ident]);

impl Display for Columns<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.0.iter().map(Id).collect();
        write!(f, "({})", List(&ids))
    }
}

/// A string literal through our own printer.
struct Text<'a>(&'a str);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_quoted(f, self.0, '\'')
    }
}

/// `word` if it was written, with a space behind it.
pub(crate) fn when(condition: bool, word: &'static str) -> &'static str {
    if condition { word } else { "" }
}

fn write_query(f: &mut Formatter<'_>, query: &Query) -> fmt::Result {
    f.write_str(&exact(query))
}

/// The query as it was written, if that is known.
fn write_verbatim(f: &mut Formatter<'_>, text: &Verbatim, query: &Query) -> fmt::Result {
    match &text.0 {
        Some(text) => f.write_str(text),
        None => write_query(f, query),
    }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Statement::CreateSource(s) => s.fmt(f),
            Statement::AlterSource(s) => s.fmt(f),
            Statement::DropSource(s) => s.fmt(f),
            Statement::RefreshSource { name } => write!(f, "REFRESH SOURCE {}", Id(name)),
            Statement::CreateView(s) => s.fmt(f),
            Statement::AlterView(s) => s.fmt(f),
            Statement::DropView(s) => s.fmt(f),
            Statement::RefreshView(s) => s.fmt(f),
            Statement::CreateIndex(s) => s.fmt(f),
            Statement::DropIndex(s) => s.fmt(f),
            Statement::CreateSchema(s) => s.fmt(f),
            Statement::AlterSchema(s) => s.fmt(f),
            Statement::DropSchema(s) => s.fmt(f),
            Statement::CommentOn(s) => s.fmt(f),
            Statement::CreateUser(s) => s.fmt(f),
            Statement::CreateRole(s) => s.fmt(f),
            Statement::AlterRole(s) => s.fmt(f),
            Statement::DropRole(s) => s.fmt(f),
            Statement::ReassignOwned(s) => s.fmt(f),
            Statement::Grant(s) => s.write(f, "GRANT", "TO"),
            Statement::Revoke(s) => s.write(f, "REVOKE", "FROM"),
            Statement::CreatePolicy(s) => s.fmt(f),
            Statement::DropPolicy(s) => s.write(f, "POLICY"),
            Statement::CreateMask(s) => s.fmt(f),
            Statement::DropMask(s) => s.write(f, "MASK"),
            Statement::CreateMapping(s) => s.fmt(f),
            Statement::DropMapping(s) => s.fmt(f),
            Statement::Show(s) => s.fmt(f),
            Statement::Describe { name } => write!(f, "DESCRIBE {name}"),
            Statement::DescribeQuery(query) => {
                f.write_str("DESCRIBE ")?;
                write_query(f, query)
            }
            Statement::Set(s) => s.fmt(f),
            Statement::ResetAll => f.write_str("RESET ALL"),
            Statement::Explain(s) => s.fmt(f),
            Statement::Copy(s) => s.fmt(f),
            Statement::Subscribe(s) => s.fmt(f),
            Statement::Transaction(s) => s.fmt(f),
            Statement::Declare(s) => s.fmt(f),
            Statement::Fetch(s) => s.fmt(f),
            Statement::Close { name: None } => f.write_str("CLOSE ALL"),
            Statement::Close { name: Some(name) } => write!(f, "CLOSE {}", Id(name)),
            Statement::Query(query) => write_query(f, query),
            Statement::Other(statement) => f.write_str(&exact(&**statement)),
        }
    }
}

impl Display for CreateSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CREATE {}SOURCE {}{} FROM {}",
            when(self.or_replace, "OR REPLACE "),
            when(self.if_not_exists, "IF NOT EXISTS "),
            Id(&self.name),
            Text(&self.url),
        )?;
        if !self.options.is_empty() {
            write!(f, " WITH {}", self.options)?;
        }
        Ok(())
    }
}

impl Display for AlterSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "ALTER SOURCE {} ", Id(&self.name))?;
        match &self.action {
            SourceAction::Owns { table, columns } => write!(f, "OWNS {table}{}", Columns(columns)),
            SourceAction::SetOptions(options) => write!(f, "SET {options}"),
            SourceAction::ResetOptions(names) => write!(f, "RESET {}", Columns(names)),
            SourceAction::RenameTo(name) => write!(f, "RENAME TO {}", Id(name)),
            SourceAction::OwnerTo(name) => write!(f, "OWNER TO {}", Id(name)),
        }
    }
}

impl Display for DropSource {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (exists, cascade) = (
            when(self.if_exists, "IF EXISTS "),
            when(self.cascade, " CASCADE"),
        );
        write!(f, "DROP SOURCE {exists}{}{cascade}", Id(&self.name))
    }
}

impl Display for CreateView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CREATE {}{}VIEW {}{}",
            when(self.or_replace, "OR REPLACE "),
            when(self.materialized, "MATERIALIZED "),
            when(self.if_not_exists, "IF NOT EXISTS "),
            self.name,
        )?;
        if !self.columns.is_empty() {
            write!(f, " {}", Columns(&self.columns))?;
        }
        if !self.options.is_empty() {
            write!(f, " WITH {}", self.options)?;
        }
        for check in &self.checks {
            write!(f, " CHECK {} AS (", Id(&check.name))?;
            write_verbatim(f, &check.text, &check.query)?;
            f.write_str(")")?;
        }
        f.write_str(" AS ")?;
        write_verbatim(f, &self.text, &self.query)
    }
}

impl Display for RefreshView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let full = if self.full { " FULL" } else { "" };
        write!(f, "REFRESH MATERIALIZED VIEW {}{full}", self.name)
    }
}

impl Display for CreateIndex {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exists = when(self.if_not_exists, "IF NOT EXISTS ");
        write!(f, "CREATE INDEX {exists}")?;
        if let Some(name) = &self.name {
            write!(f, "{} ", Id(name))?;
        }
        write!(f, "ON {} {}", self.on, Columns(&self.columns))
    }
}

impl Display for DropIndex {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exists = when(self.if_exists, "IF EXISTS ");
        write!(f, "DROP INDEX {exists}{}", List(&self.names))
    }
}

impl Display for AlterView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let exists = when(self.if_exists, "IF EXISTS ");
        write!(f, "ALTER {} {exists}{} ", self.called, self.name)?;
        match &self.action {
            ViewAction::RenameTo(name) => write!(f, "RENAME TO {}", Id(name)),
            ViewAction::OwnerTo(name) => write!(f, "OWNER TO {}", Id(name)),
            ViewAction::SetSchema(schema) => write!(f, "SET SCHEMA {schema}"),
            ViewAction::SetOptions(options) => write!(f, "SET {options}"),
            ViewAction::ResetOptions(names) => write!(f, "RESET {}", Columns(names)),
        }
    }
}

impl Display for Called {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Called::View => "VIEW",
            Called::MaterializedView => "MATERIALIZED VIEW",
            Called::Table => "TABLE",
        })
    }
}

impl Display for DropView {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (exists, cascade) = (
            when(self.if_exists, "IF EXISTS "),
            when(self.cascade, " CASCADE"),
        );
        let materialized = when(self.materialized, "MATERIALIZED ");
        write!(
            f,
            "DROP {materialized}VIEW {exists}{}{cascade}",
            List(&self.names)
        )
    }
}

impl Display for CreateSchema {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CREATE SCHEMA {}{}",
            when(self.if_not_exists, "IF NOT EXISTS "),
            self.name
        )
    }
}

impl Display for AlterSchema {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ALTER SCHEMA {} RENAME TO {}",
            self.name,
            Id(&self.rename_to)
        )
    }
}

impl Display for DropSchema {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (exists, cascade) = (
            when(self.if_exists, "IF EXISTS "),
            when(self.cascade, " CASCADE"),
        );
        write!(f, "DROP SCHEMA {exists}{}{cascade}", self.name)
    }
}

impl Display for CommentOn {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "COMMENT ON {} {} IS ", self.object, self.name)?;
        match &self.comment {
            Some(comment) => Text(comment).fmt(f),
            None => f.write_str("NULL"),
        }
    }
}

impl Display for CommentTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CommentTarget::Source => "SOURCE",
            CommentTarget::Schema => "SCHEMA",
            CommentTarget::Table => "TABLE",
            CommentTarget::View => "VIEW",
            CommentTarget::Column => "COLUMN",
        })
    }
}

impl Display for Show {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SHOW ")?;
        match self {
            Show::Setting(name) => name.fmt(f),
            Show::All => f.write_str("ALL"),
            Show::Sources => f.write_str("SOURCES"),
            Show::Schemas => f.write_str("SCHEMAS"),
            Show::Tables { from, like } | Show::Views { from, like } => {
                f.write_str(if matches!(self, Show::Tables { .. }) {
                    "TABLES"
                } else {
                    "VIEWS"
                })?;
                if let Some(schema) = from {
                    write!(f, " FROM {schema}")?;
                }
                if let Some(pattern) = like {
                    write!(f, " LIKE {}", Text(pattern))?;
                }
                Ok(())
            }
            Show::Columns(table) => write!(f, "COLUMNS FROM {table}"),
            Show::CreateView(view) => write!(f, "CREATE VIEW {view}"),
            Show::CreateSource(source) => write!(f, "CREATE SOURCE {}", Id(source)),
            Show::Capabilities(source) => write!(f, "CAPABILITIES FOR {}", Id(source)),
        }
    }
}

impl Display for Set {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SET ")?;
        match self.scope {
            Some(SetScope::Session) => f.write_str("SESSION ")?,
            Some(SetScope::Local) => f.write_str("LOCAL ")?,
            None => {}
        }
        write!(f, "{} = {}", self.name, self.value)
    }
}

impl Display for SetValue {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            SetValue::Default => f.write_str("DEFAULT"),
            SetValue::Values(values) => List(values).fmt(f),
        }
    }
}

impl Display for Explain {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "EXPLAIN {}{}",
            when(self.analyze, "ANALYZE "),
            when(self.verbose, "VERBOSE ")
        )?;
        if let Some(format) = &self.format {
            write!(f, "FORMAT {} ", Text(format))?;
        }
        self.statement.fmt(f)
    }
}

impl Display for CopyTo {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("COPY (")?;
        write_query(f, &self.query)?;
        match &self.to {
            Some(to) => write!(f, ") TO {}", Text(to))?,
            None => f.write_str(") TO STDOUT")?,
        }
        if !self.partition_by.is_empty() {
            write!(f, " PARTITIONED BY {}", Columns(&self.partition_by))?;
        }
        match self.force_quote.as_slice() {
            [] => {}
            [all] if *all == Ident::new("*") => f.write_str(" (FORCE_QUOTE *)")?,
            columns => write!(f, " (FORCE_QUOTE {})", Columns(columns))?,
        }
        if !self.options.is_empty() {
            write!(f, " WITH {}", self.options)?;
        }
        Ok(())
    }
}

impl Display for Subscribe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.to {
            Subscribed::Relation(name) => write!(f, "SUBSCRIBE TO {name}")?,
            Subscribed::Query { query, text } => {
                f.write_str("SUBSCRIBE TO (")?;
                write_verbatim(f, text, query)?;
                f.write_str(")")?;
            }
        }
        match self.options.is_empty() {
            true => Ok(()),
            false => write!(f, " WITH {}", self.options),
        }
    }
}

impl Display for Transaction {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Transaction::Begin => f.write_str("BEGIN"),
            Transaction::Commit => f.write_str("COMMIT"),
            Transaction::Rollback => f.write_str("ROLLBACK"),
            Transaction::Characteristics => f.write_str("SET TRANSACTION READ ONLY"),
            Transaction::Savepoint(name) => write!(f, "SAVEPOINT {}", Id(name)),
            Transaction::Release(name) => write!(f, "RELEASE SAVEPOINT {}", Id(name)),
            Transaction::RollbackTo(name) => write!(f, "ROLLBACK TO SAVEPOINT {}", Id(name)),
        }
    }
}

impl Display for Declare {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let binary = when(self.binary, "BINARY ");
        let hold = when(self.hold, "WITH HOLD ");
        write!(f, "DECLARE {} {binary}CURSOR {hold}FOR ", Id(&self.name))?;
        write_query(f, &self.query)
    }
}

impl Display for Fetch {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(if self.moves { "MOVE " } else { "FETCH " })?;
        match self.rows {
            Rows::Next(count) => write!(f, "{count}")?,
            Rows::All => f.write_str("ALL")?,
            Rows::Rewind => f.write_str("BACKWARD ALL")?,
        }
        write!(f, " FROM {}", Id(&self.name))
    }
}
