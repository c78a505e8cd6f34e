use std::collections::BTreeMap;

use crate::seed::SqlNames;

/// What a transaction does to a table of the shape that [`Changing::create`](super::Changing::create) gives it. Each says what is
/// there afterwards, whatever was there before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// There is this row under its number, and no other.
    Set(Line),
    /// The row of this number has this in `n`, and the rest as it was.
    Update {
        id: i64,
        n: Option<i64>,
    },
    /// It goes under another number, instead of what is there.
    Move {
        id: i64,
        to: i64,
    },
    Delete {
        id: i64,
    },
    /// Rows go. First in its transaction, or two of them may wait for each other.
    Truncate,
}

/// A row: a number, another, and a text of any length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub id: i64,
    pub n: Option<i64>,
    pub v: Option<String>,
}

impl Edit {
    /// In SQL.
    pub fn statements(&self, sql: &dyn SqlNames, table: &str) -> Vec<String> {
        let table = sql.quoted(table);
        let (id_, n_) = (sql.quoted("id"), sql.quoted("n"));
        let delete = |id: &i64| format!("DELETE FROM {table} WHERE {id_} = {id}");
        let number = |n: &Option<i64>| n.map_or("NULL".to_string(), |n| n.to_string());
        match self {
            Self::Set(Line { id, n, v }) => {
                let v = v.as_ref().map_or("NULL".to_string(), |v| sql.text(v));
                let insert = format!("INSERT INTO {table} VALUES ({id}, {}, {v})", number(n));
                vec![delete(id), insert]
            }
            Self::Update { id, n } => {
                vec![format!(
                    "UPDATE {table} SET {n_} = {} WHERE {id_} = {id}",
                    number(n)
                )]
            }
            Self::Move { id, to } if id == to => Vec::new(),
            Self::Move { id, to } => {
                let update = format!("UPDATE {table} SET {id_} = {to} WHERE {id_} = {id}");
                vec![delete(to), update]
            }
            Self::Delete { id } => vec![delete(id)],
            Self::Truncate => vec![format!("TRUNCATE TABLE {table}")],
        }
    }

    /// To plain rows, by their numbers.
    pub fn apply(&self, rows: &mut BTreeMap<i64, Line>) {
        match self {
            Self::Set(line) => {
                rows.insert(line.id, line.clone());
            }
            Self::Update { id, n } => {
                if let Some(row) = rows.get_mut(id) {
                    row.n = *n;
                }
            }
            Self::Move { id, to } if id == to => {}
            Self::Move { id, to } => {
                let row = rows.remove(id);
                rows.remove(to);
                rows.extend(row.map(|row| (*to, Line { id: *to, ..row })));
            }
            Self::Delete { id } => {
                rows.remove(id);
            }
            Self::Truncate => rows.clear(),
        }
    }
}
