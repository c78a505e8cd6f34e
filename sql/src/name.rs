//! Names as users write them, and the folding of names without quotes.

use std::fmt;

use sqlparser::ast::Ident;
use sqlparser::keywords::{
    ALL_KEYWORDS, ALL_KEYWORDS_INDEX, RESERVED_FOR_COLUMN_ALIAS, RESERVED_FOR_IDENTIFIER,
    RESERVED_FOR_TABLE_ALIAS, RESERVED_FOR_TABLE_FACTOR,
};

/// A name of one or more parts, as written: `erp.public."Item"`.
///
/// ```
/// use belvedere_sql::Name;
///
/// let name = Name::new(["erp", "public", "Item"]);
/// assert_eq!(name.to_string(), r#"erp.public."Item""#);
/// assert_eq!(name.fold(), ["erp", "public", "Item"]);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name(pub Vec<Ident>);

impl Name {
    /// A name that means exactly these parts; each is quoted where it would not be read back as it is.
    pub fn new<S: Into<String>>(parts: impl IntoIterator<Item = S>) -> Self {
        Self(parts.into_iter().map(ident).collect())
    }

    /// The parts as the catalog knows them: without quotes, and in lower case where there were none.
    pub fn fold(&self) -> Vec<String> {
        self.0.iter().map(fold).collect()
    }

    /// The folded parts joined by dots, the form in which settings are looked up.
    pub fn dotted(&self) -> String {
        self.fold().join(".")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, part) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            write_ident(f, part)?;
        }
        Ok(())
    }
}

impl From<Ident> for Name {
    fn from(part: Ident) -> Self {
        Self(vec![part])
    }
}

impl From<&Name> for sqlparser::ast::ObjectName {
    fn from(name: &Name) -> Self {
        name.0.clone().into()
    }
}

/// One part as the catalog knows it: lower case (ASCII, as DataFusion folds) unless it was quoted.
///
/// ```
/// use belvedere_sql::{Ident, fold};
///
/// assert_eq!(fold(&Ident::new("Item")), "item");
/// assert_eq!(fold(&Ident::with_quote('"', "Item")), "Item");
/// ```
pub fn fold(part: &Ident) -> String {
    match part.quote_style {
        Some(_) => part.value.clone(),
        None => part.value.to_ascii_lowercase(),
    }
}

/// An identifier that means exactly `value`, quoted only where it must be.
///
/// ```
/// assert_eq!(belvedere_sql::ident("item").to_string(), "item");
/// assert_eq!(belvedere_sql::ident("Item").to_string(), "\"Item\"");
/// assert_eq!(belvedere_sql::ident("order").to_string(), "\"order\"");
/// ```
pub fn ident(value: impl Into<String>) -> Ident {
    let value = value.into();
    let mut chars = value.chars();
    let plain = chars
        .next()
        .is_some_and(|c| c.is_ascii_lowercase() || c == '_')
        && chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if plain && !has_meaning(&value) {
        Ident::new(value)
    } else {
        Ident::with_quote('"', value)
    }
}

/// Whether sqlparser reads this word as something else than a name, somewhere in a query.
fn has_meaning(word: &str) -> bool {
    let upper = word.to_ascii_uppercase();
    let keyword = ALL_KEYWORDS
        .binary_search(&upper.as_str())
        .map(|at| ALL_KEYWORDS_INDEX[at]);
    is_reserved(word)
        || VALUES.contains(&upper.as_str())
        || keyword.is_ok_and(|keyword| {
            [
                RESERVED_FOR_TABLE_ALIAS,
                RESERVED_FOR_COLUMN_ALIAS,
                RESERVED_FOR_IDENTIFIER,
                RESERVED_FOR_TABLE_FACTOR,
            ]
            .iter()
            .any(|reserved| reserved.contains(&keyword))
        })
}

/// Words that sqlparser takes for a name but, in an expression, for a value or a function too.
const VALUES: &[&str] = &[
    "CUBE",
    "CURRENT_CATALOG",
    "CURRENT_DATE",
    "CURRENT_TIME",
    "CURRENT_TIMESTAMP",
    "CURRENT_USER",
    "EXISTS",
    "INTERVAL",
    "LATERAL",
    "LOCALTIME",
    "LOCALTIMESTAMP",
    "RETURNING",
    "ROLLUP",
    "SESSION_USER",
    "STRUCT",
    "TOP",
    "TRIM",
    "UNNEST",
    "USER",
];

/// Words that are never a name unless quoted. Taking them would turn a forgotten name (`CREATE VIEW AS SELECT …`) into
/// an error about something else, further right.
const RESERVED: &[&str] = &[
    "ALL",
    "AND",
    "ANY",
    "AS",
    "CASE",
    "CREATE",
    "DEFAULT",
    "DISTINCT",
    "ELSE",
    "EXCEPT",
    "FALSE",
    "FOR",
    "FROM",
    "GROUP",
    "HAVING",
    "IN",
    "INTERSECT",
    "INTO",
    "JOIN",
    "LIMIT",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "SELECT",
    "TABLE",
    "THEN",
    "TO",
    "TRUE",
    "UNION",
    "USING",
    "WHEN",
    "WHERE",
    "WITH",
];

pub(crate) fn is_reserved(word: &str) -> bool {
    RESERVED.iter().any(|r| r.eq_ignore_ascii_case(word))
}

/// sqlparser's own printer leaves a doubled quote inside a name alone, which changes the name; ours doubles each.
pub(crate) fn write_ident(f: &mut fmt::Formatter<'_>, part: &Ident) -> fmt::Result {
    match part.quote_style {
        Some(quote) => write_quoted(f, &part.value, quote),
        None => f.write_str(&part.value),
    }
}

/// Writes `text` between `quote`s, each quote inside doubled.
pub(crate) fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str, quote: char) -> fmt::Result {
    use fmt::Write;
    f.write_char(quote)?;
    for c in text.chars() {
        if c == quote {
            f.write_char(quote)?;
        }
        f.write_char(c)?;
    }
    f.write_char(quote)
}

#[cfg(test)]
mod tests {
    use sqlparser::ast::{Expr, SelectItem, SetExpr, TableFactor};

    use super::*;
    use crate::{Statement, parse_one};

    /// The expressions and tables of `SELECT n, t.n FROM a.n AS t JOIN n n ON n = 1 WHERE f(n) GROUP BY n`.
    fn query_with(name: &str) -> Option<(Vec<Expr>, Vec<String>)> {
        let sql = format!(
            "SELECT {name}, t.{name}, -{name} FROM a.{name} AS t, {name} WHERE f({name}) ORDER BY 1"
        );
        let Statement::Query(query) = parse_one(&sql).ok()?.statement else {
            return None;
        };
        let SetExpr::Select(select) = *query.body else {
            return None;
        };
        let mut exprs: Vec<_> = select.selection.into_iter().collect();
        for item in select.projection {
            let SelectItem::UnnamedExpr(expr) = item else {
                return None;
            };
            exprs.push(expr);
        }
        let mut tables = Vec::new();
        for table in select.from {
            let TableFactor::Table { name, .. } = table.relation else {
                return None;
            };
            tables.push(name.to_string());
        }
        Some((exprs, tables))
    }

    /// Unquoted where `ident` says so, each keyword reads as the name that it is when quoted.
    #[test]
    fn every_keyword_is_a_name_as_ident_writes_it() {
        for keyword in ALL_KEYWORDS.iter().map(|k| k.to_lowercase()) {
            let written = ident(keyword.clone());
            let (exprs, tables) =
                query_with(&written.to_string()).unwrap_or_else(|| panic!("{keyword}"));
            assert_eq!(exprs[1], Expr::Identifier(written.clone()), "{keyword}");
            assert_eq!(
                tables,
                [format!("a.{written}"), written.to_string()],
                "{keyword}"
            );
        }
    }

    #[test]
    fn usual_names_stay_bare() {
        for name in [
            "public",
            "name",
            "date",
            "type",
            "id",
            "year",
            "value",
            "status",
            "order_line",
            "item2",
            "_x",
        ] {
            assert_eq!(ident(name).quote_style, None, "{name}");
        }
        for name in [
            "Item", "2x", "a b", "a\"b", "", "naïve", "order", "user", "select", "end",
        ] {
            assert_eq!(ident(name).quote_style, Some('"'), "{name}");
        }
    }

    #[test]
    fn folding_is_ascii_and_only_without_quotes() {
        let name = Name(vec![
            Ident::new("ERP"),
            Ident::with_quote('"', "Item"),
            Ident::new("ÄPFEL"),
        ]);
        assert_eq!(name.fold(), ["erp", "Item", "Äpfel"]);
        assert_eq!(name.dotted(), "erp.Item.Äpfel");
    }

    #[test]
    fn quotes_in_names_are_doubled() {
        let name = Name::new(["a\"\"b", "\""]);
        assert_eq!(name.to_string(), ["\"a\"\"\"\"b\"", "\"\"\"\""].join("."));
        let Statement::Describe { name: read } =
            parse_one(&format!("DESCRIBE {name}")).unwrap().statement
        else {
            panic!()
        };
        assert_eq!(read, name);
    }
}
