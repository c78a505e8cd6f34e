use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use belvedere_sql::ident;
use reedline::{Completer, Span, Suggestion};

use super::SharedNames;
use crate::cli::failure::{Failure, Result};
use crate::cli::target::Target;

/// What can be typed: tables as a query names them, with their columns.
#[derive(Debug, Default)]
pub struct Names {
    sources: Vec<String>,
    tables: BTreeMap<String, Vec<String>>,
}

const KEYWORDS: &[&str] = &[
    "ALL",
    "ALTER",
    "ANALYZE",
    "AND",
    "AS",
    "ASC",
    "AVG",
    "BETWEEN",
    "BY",
    "CASCADE",
    "CASE",
    "CAST",
    "COMMENT",
    "COUNT",
    "CREATE",
    "CROSS",
    "CURRENT_DATE",
    "DATE",
    "DECIMAL",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "IF",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "MAX",
    "MIN",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "OWNS",
    "PARTITION",
    "REFRESH",
    "RENAME",
    "REPLACE",
    "RESET",
    "RIGHT",
    "SCHEMA",
    "SELECT",
    "SET",
    "SHOW",
    "SOURCE",
    "SOURCES",
    "SUM",
    "TABLES",
    "THEN",
    "TIMESTAMP",
    "TRUE",
    "UNION",
    "USING",
    "VALUES",
    "VIEW",
    "VIEWS",
    "WHEN",
    "WHERE",
    "WITH",
];

/// More is nobody's choice, and slow to draw.
const MOST: usize = 200;

impl Names {
    pub async fn read(target: &dyn Target) -> Result<Self> {
        let mut names = Self::default();
        for [source] in texts(target, "SELECT name FROM system.sources ORDER BY name").await? {
            names.sources.push(ident(source).to_string());
        }
        let sql = "SELECT source, schema, \"table\", name FROM system.columns ORDER BY source, schema, \"table\", ordinal";
        let columns: Vec<[String; 4]> = texts(target, sql).await?;
        let schemas = |source: &str| {
            let mut schemas: Vec<&str> = columns
                .iter()
                .filter(|c| c[0] == source)
                .map(|c| c[1].as_str())
                .collect();
            schemas.dedup();
            schemas.len()
        };
        for table in columns.chunk_by(|a, b| a[..3] == b[..3]) {
            let [source, schema, name, _] = &table[0];
            let parts: &[&String] = match (source.as_str(), schema.as_str()) {
                ("belvedere", "public") => &[name],
                ("belvedere", _) => &[schema, name],
                (_, "public" | "main") => &[source, name],
                (source_name, _) if schemas(source_name) == 1 => &[source, name],
                _ => &[source, schema, name],
            };
            let typed: Vec<String> = parts
                .iter()
                .map(|part| ident((*part).clone()).to_string())
                .collect();
            let columns = table
                .iter()
                .map(|column| ident(column[3].clone()).to_string())
                .collect();
            names.tables.insert(typed.join("."), columns);
        }
        Ok(names)
    }

    /// What may stand instead of the word that ends the text, best first, and that word.
    fn complete<'a>(&self, text: &'a str) -> (&'a str, Vec<String>) {
        let word_start = text
            .rfind(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '.' | '"' | '\\')))
            .map_or(0, |at| {
                at + text[at..].chars().next().map_or(1, char::len_utf8)
            });
        let word = &text[word_start..];
        let mut found: Vec<String> = Vec::new();
        let mut offer = |candidate: String| {
            if found.len() < MOST && starts(&candidate, word) && !found.contains(&candidate) {
                found.push(candidate);
            }
        };
        if word.starts_with('\\') {
            super::commands::NAMES
                .iter()
                .for_each(|name| offer((*name).to_string()));
            return (word, found);
        }
        if let Some((qualifier, _)) = word.rsplit_once('.') {
            let table = self.meant(text, qualifier);
            for column in table
                .and_then(|table| self.tables.get(table))
                .into_iter()
                .flatten()
            {
                offer(format!("{qualifier}.{column}"));
            }
        } else {
            for table in self.mentioned(text) {
                self.tables[table]
                    .iter()
                    .for_each(|column| offer(column.clone()));
            }
            self.sources.iter().for_each(|source| offer(source.clone()));
        }
        self.tables.keys().for_each(|table| offer(table.clone()));
        if !word.is_empty() {
            let lower = word.chars().any(char::is_lowercase);
            for keyword in KEYWORDS {
                offer(if lower {
                    keyword.to_lowercase()
                } else {
                    (*keyword).to_string()
                });
            }
        }
        (word, found)
    }

    /// The tables a statement reads, as far as it has been typed.
    fn mentioned(&self, text: &str) -> Vec<&str> {
        let words = text.split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | ';'));
        let known = words.filter_map(|word| self.tables.get_key_value(word));
        known.map(|(table, _)| table.as_str()).collect()
    }

    /// The table a qualifier stands for: itself, or the one it is an alias of.
    fn meant(&self, text: &str, qualifier: &str) -> Option<&str> {
        if let Some((table, _)) = self.tables.get_key_value(qualifier) {
            return Some(table);
        }
        let words: Vec<&str> = text
            .split(|c: char| c.is_whitespace() || matches!(c, ',' | '(' | ')' | ';'))
            .filter(|word| !word.is_empty() && !word.eq_ignore_ascii_case("as"))
            .collect();
        let aliased = words
            .windows(2)
            .find(|pair| pair[1] == qualifier && self.tables.contains_key(pair[0]));
        let bare = || {
            self.tables
                .keys()
                .find(|table| table.rsplit('.').next() == Some(qualifier))
        };
        match aliased {
            Some(pair) => self
                .tables
                .get_key_value(pair[0])
                .map(|(table, _)| table.as_str()),
            None => bare().map(String::as_str),
        }
    }
}

fn starts(candidate: &str, word: &str) -> bool {
    candidate
        .get(..word.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(word))
}

/// Rows of texts.
async fn texts<const N: usize>(target: &dyn Target, sql: &str) -> Result<Vec<[String; N]>> {
    let mut rows = Vec::new();
    for batch in target.execute(sql).await?.collect().await? {
        let columns =
            columns::<N>(&batch).ok_or_else(|| Failure::new("a system table has other columns"))?;
        for row in 0..batch.num_rows() {
            rows.push(std::array::from_fn(|at| {
                columns[at].as_string::<i32>().value(row).to_string()
            }));
        }
    }
    Ok(rows)
}

fn columns<const N: usize>(batch: &RecordBatch) -> Option<[arrow::array::ArrayRef; N]> {
    let columns = batch
        .columns()
        .iter()
        .map(|column| cast(column, &DataType::Utf8).ok());
    columns.collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// Completes from the names as they are now.
pub struct NameCompleter(pub SharedNames);

impl Completer for NameCompleter {
    fn complete(&mut self, line: &str, pos: usize) -> Vec<Suggestion> {
        let Some(text) = line.get(..pos) else {
            return Vec::new();
        };
        let names = self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let (word, found) = names.complete(text);
        let span = Span::new(pos - word.len(), pos);
        found
            .into_iter()
            .map(|value| Suggestion {
                value,
                span,
                ..Suggestion::default()
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let table = |name: &str, columns: &[&str]| {
            (
                name.to_string(),
                columns.iter().map(|c| (*c).to_string()).collect(),
            )
        };
        Names {
            sources: vec!["crm".into(), "erp".into()],
            tables: [
                table("erp.item", &["sku", "name"]),
                table("erp.\"Odd\"", &["x"]),
                table("order_book", &["order_id", "customer"]),
            ]
            .into(),
        }
    }

    fn complete(text: &str) -> Vec<String> {
        names().complete(text).1
    }

    #[test]
    fn tables_sources_and_keywords() {
        assert_eq!(complete("sel"), ["select"]);
        assert_eq!(complete("SEL"), ["SELECT"]);
        assert_eq!(
            complete("SELECT * FROM er"),
            ["erp", "erp.\"Odd\"", "erp.item"]
        );
        assert_eq!(complete("SELECT * FROM erp.i"), ["erp.item"]);
        assert_eq!(complete("SELECT * FROM order_"), ["order_book"]);
    }

    #[test]
    fn columns_of_the_tables_that_are_read() {
        assert_eq!(complete("SELECT * FROM erp.item WHERE sk"), ["sku"]);
        assert_eq!(
            complete("SELECT * FROM erp.item AS i WHERE i.n"),
            ["i.name"]
        );
        assert_eq!(
            complete("SELECT * FROM erp.item i WHERE i."),
            ["i.sku", "i.name"]
        );
        assert_eq!(
            complete("SELECT * FROM order_book WHERE order_book.c"),
            ["order_book.customer"]
        );
    }

    #[test]
    fn odd_texts_do_no_harm() {
        for text in ["", "ü", "'ß", "…x", "a.b.c.d", "\"", "\\", "SELECT é."] {
            complete(text);
        }
        assert_eq!(complete("\\tim"), ["\\timing"]);
    }
}
