//! Whether an `ALTER TABLE` may have changed rows.

use std::ops::Range;

use arrow::datatypes::Schema;

use super::statement::{Statement, Token};

/// Anywhere in it: rows come and go, or are converted.
const UNSURE: &[&str] = &["PARTITION", "PARTITIONING", "IGNORE", "VERSIONING"];
const INDEXES: &[&str] = &[
    "INDEX",
    "KEY",
    "UNIQUE",
    "FULLTEXT",
    "SPATIAL",
    "FOREIGN",
    "CONSTRAINT",
    "CHECK",
];
/// What is said of the whole table, its rows being as they were. Character sets are those of columns to come: of those that are
/// there it is `CONVERT TO`.
const OPTIONS: &[&str] = &[
    "ALGORITHM",
    "AUTO_INCREMENT",
    "AVG_ROW_LENGTH",
    "CHARACTER",
    "CHARSET",
    "CHECKSUM",
    "COLLATE",
    "COMMENT",
    "DEFAULT",
    "DISABLE",
    "ENABLE",
    "ENGINE",
    "FORCE",
    "KEY_BLOCK_SIZE",
    "LOCK",
    "MAX_ROWS",
    "MIN_ROWS",
    "ROW_FORMAT",
    "STATS_AUTO_RECALC",
    "STATS_PERSISTENT",
    "STATS_SAMPLE_PAGES",
];

/// Whether rows are as they were, as far as these columns of them are read. What is not known may have changed them. So may the type
/// of a column that is not read: one that is may be generated of it.
pub fn keeps_rows(statement: &Statement, read: &Schema) -> bool {
    let Some(start) = start(statement) else {
        return false;
    };
    let clauses = clauses(statement, start);
    let is_harmless = |clause: &Range<usize>| is_harmless(statement, clause, read);
    let columns = |words: &[&str]| -> Vec<String> {
        let those = clauses.iter().filter(|c| statement.is(c.start, words));
        let columns = those.filter_map(|clause| column(statement, clause));
        columns.map(str::to_lowercase).collect()
    };
    // One that goes and one that comes in its place.
    let gone = columns(&["DROP", "RENAME"]);
    let is_replaced = columns(&["ADD"]).iter().any(|name| gone.contains(name));
    !statement.is_doubtful
        && !statement.has(UNSURE)
        && has_same_engine(statement)
        && clauses.iter().all(is_harmless)
        && !is_replaced
}

/// Behind the table's name.
fn start(statement: &Statement) -> Option<usize> {
    let table = (1..4).find(|i| statement.is(*i, &["TABLE"]))?;
    let mut at = table + 1;
    while statement.is(at, &["IF", "EXISTS"]) {
        at += 1;
    }
    at += match statement.is_symbol(at + 1, '.') {
        true => 3,
        false => 1,
    };
    if statement.is(at, &["NOWAIT"]) {
        at += 1;
    } else if statement.is(at, &["WAIT"]) {
        at += 2;
    }
    Some(at)
}

/// What stands between commas that are in no parentheses.
fn clauses(statement: &Statement, start: usize) -> Vec<Range<usize>> {
    let (mut all, mut from, mut depth) = (Vec::new(), start, 0_i32);
    for at in start..statement.len() {
        match statement.token(at) {
            Some(Token::Symbol('(')) => depth += 1,
            Some(Token::Symbol(')')) => depth -= 1,
            Some(Token::Symbol(',')) if depth == 0 => {
                all.push(from..at);
                from = at + 1;
            }
            _ => {}
        }
    }
    all.push(from..statement.len());
    all
}

fn is_harmless(statement: &Statement, clause: &Range<usize>, read: &Schema) -> bool {
    let is = |at: usize, words: &[&str]| statement.is(clause.start + at, words);
    let has = |words: &[&str]| clause.clone().any(|at| statement.is(at, words));
    let is_unread = |name: Option<&str>| {
        name.is_some_and(|name| {
            let mut fields = read.fields().iter();
            !fields.any(|field| field.name().to_lowercase() == name.to_lowercase())
        })
    };
    match statement.word(clause.start).to_ascii_uppercase().as_str() {
        // What was NULL in a column of the key may be 0 then.
        "ADD" if has(&["PRIMARY"]) => false,
        "ADD" | "DROP" if is(1, INDEXES) => true,
        "DROP" if is(1, &["PRIMARY"]) => true,
        "ADD" | "DROP" if is(1, &["PERIOD", "SYSTEM"]) => false,
        "ADD" | "DROP" => is_unread(column(statement, clause)),
        "RENAME" if is(1, &["INDEX", "KEY"]) => true,
        // `RENAME COLUMN a TO b`
        "RENAME" if is(1, &["COLUMN"]) => {
            let names = [column(statement, clause), statement.name(clause.end - 1)];
            names.into_iter().all(is_unread)
        }
        // Of what is inserted from now on, and whether an index is used.
        "ALTER" => has(&[
            "DEFAULT",
            "VISIBLE",
            "INVISIBLE",
            "INDEX",
            "CHECK",
            "CONSTRAINT",
        ]),
        "" => clause.is_empty(),
        _ => is(0, OPTIONS),
    }
}

/// The column that a clause adds, drops or renames. None: it is something else, or several.
fn column<'a>(statement: &'a Statement, clause: &Range<usize>) -> Option<&'a str> {
    let mut at = clause.start + 1;
    if statement.is(at, INDEXES) {
        return None;
    }
    while statement.is(at, &["COLUMN", "IF", "NOT", "EXISTS"]) {
        at += 1;
    }
    let name = (at < clause.end).then(|| statement.name(at));
    name.flatten()
}

/// Tables are made anew by `ENGINE = InnoDB`, with the rows that they have; another one may keep others.
fn has_same_engine(statement: &Statement) -> bool {
    let mut engines = (0..statement.len()).filter(|at| statement.is(*at, &["ENGINE"]));
    engines.all(|at| {
        let name = at + 1 + usize::from(statement.is_symbol(at + 1, '='));
        statement.is(name, &["InnoDB"])
    })
}
