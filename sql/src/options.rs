//! `WITH (name = value, …)`.

use std::fmt;

use sqlparser::ast::Ident;

use crate::name::{fold, write_ident, write_quoted};

/// The options of a definition, in the order written, each name once.
///
/// ```
/// use belvedere_sql::{parse_one, Options, Statement, Value};
///
/// let sql = "CREATE SOURCE erp FROM 'sqlite:erp.db' WITH (owner = 'ops', max_connections = 8, writable = true)";
/// let Statement::CreateSource(source) = parse_one(sql)?.statement else { unreachable!() };
/// assert_eq!(source.options.get("owner").and_then(Value::as_str), Some("ops"));
/// assert_eq!(source.options.get("max_connections").map(Value::text).as_deref(), Some("8"));
/// # Ok::<(), belvedere_sql::ParseError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options(pub Vec<(Ident, Value)>);

impl Options {
    /// The value of the option with this (folded) name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Folded names and values, in the order written.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Value)> {
        self.0.iter().map(|(name, value)| (fold(name), value))
    }

    /// Sets an option, in its old place if it had one: what `ALTER … SET (…)` does to a definition.
    pub fn set(&mut self, name: Ident, value: Value) {
        match self.0.iter_mut().find(|(n, _)| fold(n) == fold(&name)) {
            Some(entry) => entry.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// Takes an option out: what `ALTER … RESET (…)` does to a definition.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        let at = self.0.iter().position(|(n, _)| fold(n) == name)?;
        Some(self.0.remove(at).1)
    }

    /// Whether there is no option.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (i, (name, value)) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write_ident(f, name)?;
            write!(f, " = {value}")?;
        }
        f.write_str(")")
    }
}

/// The value of an option or a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `'text'`
    String(String),
    /// A number as written, with its sign: `-1.5e3`
    Number(String),
    /// `true` or `false`
    Boolean(bool),
    /// A bare word or quoted name: `on`, `public`, `"$user"`
    Word(Ident),
}

impl Value {
    /// The text of a string or word, as written.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            Value::Word(word) => Some(&word.value),
            Value::Number(_) | Value::Boolean(_) => None,
        }
    }

    /// A boolean, however it is usually written: `true`, `'on'`, `yes`, `1`, …
    pub fn as_bool(&self) -> Option<bool> {
        match self.text().to_ascii_lowercase().as_str() {
            "true" | "on" | "yes" | "1" => Some(true),
            "false" | "off" | "no" | "0" => Some(false),
            _ => None,
        }
    }

    /// The value as plain text, whatever its kind: what a setting stores and what `SHOW` prints.
    pub fn text(&self) -> String {
        match self {
            Value::String(text) => text.clone(),
            Value::Number(digits) => digits.clone(),
            Value::Boolean(b) => b.to_string(),
            Value::Word(word) => fold(word),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::String(text) => write_quoted(f, text, '\''),
            Value::Number(digits) => f.write_str(digits),
            Value::Boolean(b) => write!(f, "{b}"),
            Value::Word(word) => write_ident(f, word),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.to_owned())
    }
}
