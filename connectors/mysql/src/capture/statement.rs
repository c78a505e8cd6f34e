//! What a statement in the log does to a table.

use belvedere_connector::{Captured, Code, Error, TableRef};

use super::alter;

/// A statement, in words.
#[derive(Debug)]
pub struct Statement {
    tokens: Vec<Token>,
    /// Of names that say no other.
    schema: String,
    /// Where its texts end depends on how the server reads a backslash.
    pub is_doubtful: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Word(String),
    /// In quotes: no word of the language.
    Name(String),
    Symbol(char),
}

/// What it does to one table.
#[derive(Debug)]
pub enum Effect {
    Nothing,
    /// All rows went.
    Truncate,
    /// It may have other columns now. Rows are as they were, as far as they are read.
    Look,
    /// That, and its rows may be others.
    Anew,
    Ends(Error),
}

/// How it bounds a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bound {
    Begin,
    Commit,
    Rollback,
    /// Part of the transaction did not happen.
    RollbackTo,
    /// The rest of the statement names what is prepared.
    XaCommit,
    XaRollback,
    /// A savepoint, or a part of what is said of a prepared transaction.
    Within,
    None,
}

impl Statement {
    pub fn parse(sql: &str, schema: &str) -> Self {
        Self {
            tokens: tokens(sql),
            schema: schema.to_string(),
            is_doubtful: sql.contains("\\'") || sql.contains("\\\""),
        }
    }

    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    pub fn token(&self, number: usize) -> Option<&Token> {
        self.tokens.get(number)
    }

    pub fn is_symbol(&self, number: usize, symbol: char) -> bool {
        self.token(number) == Some(&Token::Symbol(symbol))
    }

    pub fn word(&self, number: usize) -> &str {
        match self.tokens.get(number) {
            Some(Token::Word(word)) => word,
            _ => "",
        }
    }

    pub fn is(&self, number: usize, words: &[&str]) -> bool {
        let word = self.word(number);
        words.iter().any(|other| other.eq_ignore_ascii_case(word))
    }

    pub fn has(&self, words: &[&str]) -> bool {
        (0..self.tokens.len()).any(|i| self.is(i, words))
    }

    pub fn bound(&self) -> Bound {
        match self.word(0).to_ascii_uppercase().as_str() {
            "BEGIN" => Bound::Begin,
            "START" if self.is(1, &["TRANSACTION"]) => Bound::Begin,
            "COMMIT" => Bound::Commit,
            "ROLLBACK" if self.has(&["TO"]) => Bound::RollbackTo,
            "ROLLBACK" => Bound::Rollback,
            "SAVEPOINT" | "RELEASE" => Bound::Within,
            "XA" if self.is(1, &["START", "BEGIN"]) => Bound::Begin,
            "XA" if self.is(1, &["COMMIT"]) => Bound::XaCommit,
            "XA" if self.is(1, &["ROLLBACK"]) => Bound::XaRollback,
            "XA" => Bound::Within,
            _ => Bound::None,
        }
    }

    pub fn effect(&self, captured: &Captured, has_case: bool) -> Effect {
        let table = &captured.table;
        let missing = |message: &str| {
            Effect::Ends(Error::new(Code::TableMissing, message).at_table(&table.name))
        };
        let is_table = || (1..4).any(|i| self.is(i, &["TABLE", "TABLES"]));
        let drops_schema = self.is(0, &["DROP"]) && self.is(1, &["DATABASE", "SCHEMA"]);
        if drops_schema && self.names(&table.schema, has_case) {
            return missing("its database was dropped");
        }
        let Some(first) = self.mention(table, has_case) else {
            return Effect::Nothing;
        };
        match self.word(0).to_ascii_uppercase().as_str() {
            "TRUNCATE" => Effect::Truncate,
            "CREATE" | "DROP" if self.is(1, &["TEMPORARY"]) => Effect::Nothing,
            "DROP" if is_table() => missing("the table was dropped"),
            "RENAME" => missing("the table has another name now"),
            "CREATE" if is_table() => match self.is_first_name(first) {
                true if self.has(&["EXISTS"]) => Effect::Look,
                true => missing("the table was made anew"),
                false => Effect::Nothing,
            },
            "ALTER" if self.renames() => missing("the table has another name now"),
            "ALTER" if is_table() && self.has(&["TABLESPACE"]) => {
                let message = "files of the table were changed in a way that its log does not tell";
                Effect::Ends(Error::new(Code::NoChangeCapture, message).at_table(&table.name))
            }
            "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "MERGE" | "CALL" | "WITH" => {
                Effect::Ends(by_statement().at_table(&table.name))
            }
            // Of rights: it is what it was, also where we see less of it now.
            "GRANT" | "REVOKE" => Effect::Nothing,
            // Of views and others without rows.
            "ALTER" if !is_table() || alter::keeps_rows(self, &captured.schema) => Effect::Look,
            // Indexes, triggers, views.
            "CREATE" | "DROP" => Effect::Look,
            "ANALYZE" | "CHECK" | "FLUSH" | "OPTIMIZE" => Effect::Look,
            _ => Effect::Anew,
        }
    }

    fn same(a: &str, b: &str, has_case: bool) -> bool {
        match has_case {
            true => a == b,
            false => a.to_lowercase() == b.to_lowercase(),
        }
    }

    pub fn name(&self, number: usize) -> Option<&str> {
        match self.tokens.get(number)? {
            Token::Word(name) | Token::Name(name) => Some(name),
            Token::Symbol(_) => None,
        }
    }

    fn names(&self, name: &str, has_case: bool) -> bool {
        (0..self.tokens.len())
            .filter_map(|i| self.name(i))
            .any(|found| Self::same(found, name, has_case))
    }

    /// Where it is first named.
    fn mention(&self, table: &TableRef, has_case: bool) -> Option<usize> {
        let is_named = |i: &usize| {
            let same = |i: usize, name: &str| {
                self.name(i)
                    .is_some_and(|found| Self::same(found, name, has_case))
            };
            let is_qualified = *i >= 2 && self.tokens.get(i - 1) == Some(&Token::Symbol('.'));
            same(*i, &table.name)
                && match is_qualified {
                    true => same(i - 2, &table.schema),
                    false => Self::same(&self.schema, &table.schema, has_case),
                }
        };
        (1..self.tokens.len()).find(is_named)
    }

    /// Whether it is what is made, and not what that is made from.
    fn is_first_name(&self, number: usize) -> bool {
        let words = ["CREATE", "OR", "REPLACE", "TABLE", "IF", "NOT", "EXISTS"];
        let start = (0..number).find(|i| !self.is(*i, &words));
        start.is_none_or(|start| {
            start + 2 == number && self.tokens.get(start + 1) == Some(&Token::Symbol('.'))
        })
    }

    fn renames(&self) -> bool {
        let parts = ["COLUMN", "INDEX", "KEY", "CONSTRAINT"];
        (1..self.tokens.len()).any(|i| self.is(i, &["RENAME"]) && !self.is(i + 1, &parts))
    }
}

/// The error of a table whose rows were changed by a statement that is logged itself.
pub fn by_statement() -> Error {
    let message = "a statement is in the log instead of the rows it changed";
    Error::new(Code::NoChangeCapture, message).help(
        "Run at the source: SET GLOBAL binlog_format = ROW; sessions that are open keep theirs",
    )
}

/// Words, names in quotes and signs; without comments and texts.
fn tokens(sql: &str) -> Vec<Token> {
    let mut all = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => quoted(rest, first).1,
            '`' | '"' => {
                let (name, length) = quoted(rest, first);
                all.push(Token::Name(name));
                length
            }
            '#' => line(rest),
            '-' if rest.starts_with("-- ") || rest.starts_with("--\n") => line(rest),
            // What only some versions execute is taken for executed.
            '/' if rest.starts_with("/*!") || rest.starts_with("/*M!") => {
                let sign = rest.find('!').unwrap_or(0) + 1;
                let digits = rest[sign..].bytes().take_while(u8::is_ascii_digit).count();
                sign + digits
            }
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |end| end + 2),
            '*' if rest.starts_with("*/") => 2,
            c if is_word(c) => {
                let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
                all.push(Token::Word(rest[..length].to_string()));
                length
            }
            c => {
                all.push(Token::Symbol(c));
                c.len_utf8()
            }
        };
        rest = rest[length..].trim_start();
    }
    all
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

fn line(text: &str) -> usize {
    text.find('\n').unwrap_or(text.len())
}

/// What is in quotes, and its length with them.
fn quoted(text: &str, quote: char) -> (String, usize) {
    let mut name = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((i, c)) = chars.next() {
        if c == '\\' && quote != '`' {
            chars.next();
        } else if c != quote {
            name.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
            name.push(c);
            chars.next();
        } else {
            return (name, i + 1);
        }
    }
    (name, text.len())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    /// On `crm.bill`, of which `id` and `v` are read.
    fn effect(sql: &str) -> String {
        let field = |name: &str| Field::new(name, DataType::Utf8, true);
        let captured = Captured {
            table: TableRef {
                schema: "crm".into(),
                name: "bill".into(),
            },
            schema: Arc::new(Schema::new(vec![field("id"), field("v")])),
        };
        match Statement::parse(sql, "crm").effect(&captured, true) {
            Effect::Ends(e) => format!("{:?}", e.code),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn statements_do_to_tables() {
        for (sql, expected) in [
            ("TRUNCATE TABLE `bill`", "Truncate"),
            ("truncate crm.bill", "Truncate"),
            ("TRUNCATE other.bill", "Nothing"),
            ("TRUNCATE Bill", "Nothing"),
            ("TRUNCATE customer -- bill", "Nothing"),
            ("ALTER TABLE bill ADD x INT DEFAULT 5", "Look"),
            ("/*!40000 ALTER TABLE bill DISABLE KEYS */", "Look"),
            ("ALTER TABLE bill RENAME COLUMN a TO b", "Look"),
            ("ALTER TABLE bill RENAME old", "TableMissing"),
            ("ALTER TABLE bill DROP PARTITION p", "Anew"),
            (
                "ALTER TABLE other EXCHANGE PARTITION p WITH TABLE bill",
                "Anew",
            ),
            ("ALTER TABLE bill IMPORT TABLESPACE", "NoChangeCapture"),
            ("ALTER IGNORE TABLE bill ADD UNIQUE (x)", "Anew"),
            ("REPAIR TABLE bill", "Anew"),
            (
                "SET STATEMENT sql_mode = '' FOR ALTER TABLE bill FORCE",
                "Anew",
            ),
            ("OPTIMIZE TABLE bill", "Look"),
            (
                "CREATE TRIGGER t BEFORE INSERT ON bill FOR EACH ROW SET @x = 1",
                "Look",
            ),
            ("ALTER VIEW x AS SELECT * FROM bill", "Look"),
            ("RENAME TABLE x TO bill", "TableMissing"),
            ("DROP TABLE IF EXISTS a, bill", "TableMissing"),
            ("DROP TEMPORARY TABLE bill", "Nothing"),
            ("DROP DATABASE crm", "TableMissing"),
            ("CREATE OR REPLACE TABLE crm.bill (a INT)", "TableMissing"),
            ("CREATE TABLE x AS SELECT * FROM bill", "Nothing"),
            ("CREATE TABLE IF NOT EXISTS bill (a INT)", "Look"),
            ("INSERT INTO bill VALUES ('x')", "NoChangeCapture"),
            ("INSERT INTO x VALUES ('bill \\' bill')", "Nothing"),
            ("CREATE INDEX i ON bill (a)", "Look"),
            ("REVOKE SELECT ON bill FROM somebody", "Nothing"),
        ] {
            assert_eq!(effect(sql), expected, "{sql}");
        }
    }

    #[test]
    fn rows_are_others_after_some_of_what_alters_a_table() {
        for harmless in [
            "ADD x INT DEFAULT 5 AFTER id",
            "ADD COLUMN IF NOT EXISTS x INT",
            "ADD COLUMN x ENUM('a,b') NOT NULL, ADD INDEX i (x, v), ALGORITHM = INSTANT",
            "ADD CONSTRAINT c CHECK (v <> 'it, or not')",
            "ADD UNIQUE KEY (v), DROP INDEX `i`",
            "DROP INDEX i, ADD INDEX i (x)",
            "DROP COLUMN x, DROP PRIMARY KEY",
            "RENAME INDEX a TO b",
            "ALTER COLUMN v SET DEFAULT 'x'",
            "COMMENT = 'v, and more' AUTO_INCREMENT = 7",
            "ENGINE = InnoDB",
            "DEFAULT CHARACTER SET latin1",
            "RENAME COLUMN x TO y",
        ] {
            let sql = format!("ALTER TABLE `crm`.`bill` {harmless}");
            assert_eq!(effect(&sql), "Look", "{sql}");
        }
        for other in [
            "MODIFY x INT NOT NULL",
            "MODIFY V INT NOT NULL",
            "CHANGE x y INT",
            "DROP v, ADD v TEXT",
            "DROP x, ADD X INT",
            "ADD V TEXT",
            "ADD COLUMN (x INT)",
            "DROP COLUMN v",
            "RENAME COLUMN v TO x, RENAME COLUMN x TO v",
            "ADD PRIMARY KEY (x)",
            "ADD CONSTRAINT c PRIMARY KEY (x)",
            "ADD INDEX (x), CONVERT TO CHARACTER SET latin1",
            "ADD INDEX (x) PARTITION BY HASH (id)",
            "ADD SYSTEM VERSIONING",
            "ENGINE = Aria",
            "COMMENT 'x' ENGINE Memory",
            "COMMENT = 'a\\', MODIFY x INT COMMENT 'b', COMMENT 'c'",
            "SOMETHING new",
        ] {
            let sql = format!("ALTER TABLE bill {other}");
            assert_eq!(effect(&sql), "Anew", "{sql}");
        }
    }

    #[test]
    fn statements_bound_transactions() {
        for (sql, expected) in [
            ("BEGIN", Bound::Begin),
            ("COMMIT", Bound::Commit),
            ("ROLLBACK", Bound::Rollback),
            ("ROLLBACK TO `a`", Bound::RollbackTo),
            ("SAVEPOINT `a`", Bound::Within),
            ("XA START X'61',X'',1", Bound::Begin),
            ("XA COMMIT X'61',X'',1", Bound::XaCommit),
            ("TRUNCATE t", Bound::None),
        ] {
            assert_eq!(Statement::parse(sql, "").bound(), expected, "{sql}");
        }
    }
}
