//! Random values and predicates over columns.

use crate::dialect::{either, ours_alone};
use crate::draw::Draw;
use crate::query::Writer;
use crate::world::{Kind, TEXTS};

/// Columns as a query names them.
pub type Scope = Vec<(String, Kind)>;

/// Values over these columns.
pub struct Value<'a> {
    pub scope: &'a Scope,
}

const PATTERNS: &[&str] = &[
    "%", "a%", "_", "%a", "%a%", "a_", "\\%", "\\_", "%\\%%", "a\\%b", "", "A%", "_%", "😀%",
    "%_ ", "ä%", "%'%", "%\\\\", "__", "a", "a\\", "%\u{301}", "a\n", "%\"%", "i%", "ß",
];

/// A constant in the engine's SQL.
pub fn constant(draw: &mut Draw, kind: Kind) -> String {
    let sql: &[&'static str] = match kind {
        Kind::Text => return quoted(one(draw, TEXTS)),
        Kind::Int => &[
            "1",
            "0",
            "2",
            "-1",
            "7",
            "2147483647",
            "9223372036854775807",
            "CAST(NULL AS BIGINT)",
            "2147483648",
        ],
        Kind::Decimal => &[
            "CAST('1.00' AS DECIMAL(10, 2))",
            "CAST('0.1' AS DECIMAL(10, 2))",
            "CAST('0' AS DECIMAL(5, 1))",
            "CAST('-0.000001' AS DECIMAL(20, 6))",
            "CAST('12.3' AS DECIMAL(10, 2))",
            "CAST(NULL AS DECIMAL(10, 2))",
            "1",
        ],
        Kind::Float => &[
            "0.5",
            "0.0",
            "CAST('NaN' AS DOUBLE)",
            "-0.0",
            "CAST('Infinity' AS DOUBLE)",
            "0.1",
            "-1.5",
            "1e308",
            "CAST(NULL AS DOUBLE)",
            "1",
            "CAST('-0' AS DOUBLE)",
            "CAST(0.1 AS REAL)",
            "CAST('-Infinity' AS DOUBLE)",
        ],
        Kind::Boolean => &["true", "false", "CAST(NULL AS BOOLEAN)"],
        Kind::Date => &[
            "DATE '2024-02-29'",
            "DATE '1970-01-01'",
            "DATE '1969-12-31'",
            "DATE '0001-01-01'",
            "CAST(NULL AS DATE)",
            "DATE '9999-12-31'",
        ],
        Kind::Timestamp => &[
            "TIMESTAMP '2024-02-29 12:34:56'",
            "TIMESTAMP '1970-01-01 00:00:00'",
            "DATE '2024-02-29'",
            "TIMESTAMP '1969-12-31 23:59:59.999999'",
            "TIMESTAMP '2024-02-29 12:34:56.789012'",
            "CAST(NULL AS TIMESTAMP)",
        ],
        Kind::Time => &[
            // A TIME literal has nanoseconds, which DataFusion does not compare with microseconds.
            "arrow_cast('12:34:56', 'Time64(Microsecond)')",
            "arrow_cast('00:00:00', 'Time64(Microsecond)')",
            "arrow_cast('23:59:59.999999', 'Time64(Microsecond)')",
            "arrow_cast(NULL, 'Time64(Microsecond)')",
        ],
        Kind::Binary => &["X'61'", "X''", "X'00'", "X'ff00'"],
    };
    let sql = one(draw, sql);
    // DuckDB's integers are as narrow as they can be, its numbers with a point are decimals.
    match kind {
        Kind::Int | Kind::Decimal | Kind::Float if is_number(sql) => {
            let number = if sql.contains(['.', 'e']) {
                "DOUBLE"
            } else {
                "BIGINT"
            };
            either(sql, &format!("CAST('{sql}' AS {number})"))
        }
        Kind::Time => {
            let time = sql.trim_start_matches("arrow_cast(").split(", ").next();
            either(sql, &format!("CAST({} AS TIME)", time.unwrap_or_default()))
        }
        Kind::Binary => either(sql, &format!("unhex({})", &sql[1..])),
        _ => sql.into(),
    }
}

fn is_number(sql: &str) -> bool {
    sql.parse::<f64>().is_ok()
}

fn one(draw: &mut Draw, among: &[&'static str]) -> &'static str {
    among[draw.below(among.len())]
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Without the spaces around it: DuckDB's own `trim` takes all that Unicode calls a space.
fn trimmed(function: &str, text: &str) -> String {
    format!("{function}({text}{})", either("", ", ' '"))
}

impl Value<'_> {
    /// A value of this kind.
    pub fn of(&self, w: &mut Writer<'_>, kind: Kind, depth: usize) -> String {
        let columns: Vec<_> = self
            .scope
            .iter()
            .filter(|c| c.1 == kind)
            .map(|c| c.0.clone())
            .collect();
        if depth == 0 || w.draw.chance(50) {
            return match columns.is_empty() || w.draw.chance(20) {
                true => constant(w.draw, kind),
                false => w.draw.one_of(&columns).clone(),
            };
        }
        let mut of = |kind| self.of(w, kind, depth - 1);
        let (a, b) = (of(kind), of(kind));
        match w.draw.below(12) {
            0 => format!("coalesce({a}, {b})"),
            1 => format!("nullif({a}, {b})"),
            2 => {
                let when = self.predicate(w, depth - 1);
                let otherwise = if w.draw.chance(70) {
                    format!(" ELSE {b}")
                } else {
                    String::new()
                };
                format!("CASE WHEN {when} THEN {a}{otherwise} END")
            }
            3 => {
                let by = self.of(w, kind, 0);
                format!("CASE {a} WHEN {by} THEN {b} ELSE {a} END")
            }
            _ => self.computed(w, kind, depth, &a, &b),
        }
    }

    fn computed(&self, w: &mut Writer<'_>, kind: Kind, depth: usize, a: &str, b: &str) -> String {
        let choice = w.draw.below(12);
        let mut of = |kind| self.of(w, kind, depth - 1);
        match kind {
            Kind::Int => match choice {
                0 => format!("({a} + {b})"),
                1 => format!("({a} - {b})"),
                2 => format!("({a} * {b})"),
                3 => either(&format!("({a} / {b})"), &format!("({a} // {b})")),
                4 => format!("({a} % {b})"),
                5 => format!("character_length({})", of(Kind::Text)),
                6 => format!("strpos({}, {})", of(Kind::Text), of(Kind::Text)),
                7 => format!("{}({})", either("octet_length", "strlen"), of(Kind::Text)),
                8 => format!("abs({a})"),
                9 => {
                    let of = of(if a.len().is_multiple_of(2) {
                        Kind::Date
                    } else {
                        Kind::Timestamp
                    });
                    let parts = [
                        "year", "month", "day", "quarter", "week", "dow", "doy", "hour", "minute",
                        "second",
                    ];
                    format!("date_part('{}', {of})", w.draw.one_of(&parts))
                }
                10 if a.len().is_multiple_of(2) => {
                    format!("CAST({} AS BIGINT)", of(Kind::Decimal))
                }
                10 => format!("CAST({} AS BIGINT)", of(Kind::Boolean)),
                _ => format!("(- {a})"),
            },
            Kind::Text => match choice {
                0 => format!("{}({a})", either("lower", "unicode_lower")),
                1 => format!("{}({a})", either("upper", "unicode_upper")),
                2 => format!("({a} || {b})"),
                3 => format!("concat({a}, {b})"),
                4 => trimmed("trim", a),
                5 => {
                    let function = *w.draw.one_of(&["btrim", "ltrim", "rtrim"]);
                    let theirs = function.trim_start_matches('b');
                    format!("{}({a}, {b})", either(function, theirs))
                }
                6 => {
                    let start: i32 = *w.draw.one_of(&[1, 0, 2, -1]);
                    let length = *w.draw.one_of(&[1, 0, 2, 9]);
                    // A start before the text is, for DuckDB, one from its end.
                    let from = start.max(1);
                    let theirs = format!("{from}, {}", (start + length - from).max(0));
                    let ours = format!("{start}, {length}");
                    format!("substr({a}, {})", either(&ours, &theirs))
                }
                7 => format!("left({a}, {})", w.draw.one_of(&[1, 0, 2, -1, 5])),
                8 => format!("right({a}, {})", w.draw.one_of(&[1, 0, 2, -1, 5])),
                9 => format!("replace({a}, {b}, {})", quoted(one(w.draw, TEXTS))),
                10 => {
                    let kinds = [Kind::Int, Kind::Date, Kind::Decimal, Kind::Boolean];
                    let kind = kinds[a.len() % 4];
                    let value = of(kind);
                    let text = format!("CAST({value} AS VARCHAR)");
                    // A year of five digits has a sign here, as in ISO 8601.
                    match kind {
                        Kind::Date => {
                            let sign = format!(
                                "CASE WHEN {value} > DATE '9999-12-31' THEN '+' ELSE '' END"
                            );
                            either(&text, &format!("({sign} || {text})"))
                        }
                        _ => text,
                    }
                }
                _ => {
                    let function = *w.draw.one_of(&["ltrim", "rtrim"]);
                    trimmed(function, a)
                }
            },
            Kind::Decimal => match choice {
                0..3 => format!("({a} + {b})"),
                3..5 => format!("({a} - {b})"),
                5..7 => format!("({a} * {b})"),
                7 => ours_alone(&format!("({a} / {b})"), "DuckDB divides decimals as floats"),
                8 => format!("abs({a})"),
                9 => format!("CAST({} AS DECIMAL(20, 2))", of(Kind::Int)),
                10 => {
                    let rounded = format!("{}({a})", w.draw.one_of(&["round", "ceil", "floor"]));
                    // coalesce(x, round(x)) of DECIMAL(38, 6) has no digit behind the point there.
                    ours_alone(
                        &rounded,
                        "DuckDB has wide decimals rounded and not in one type",
                    )
                }
                _ => format!("CAST({a} AS DECIMAL(12, 1))"),
            },
            Kind::Float => match choice {
                0..2 => format!("({a} + {b})"),
                2 => format!("({a} - {b})"),
                3 => format!("({a} * {b})"),
                4 => format!("({a} / {b})"),
                5 => format!("abs({a})"),
                6 => format!("CAST({} AS DOUBLE)", of(Kind::Int)),
                7 => format!("CAST({} AS DOUBLE)", of(Kind::Decimal)),
                8 => format!("CAST({a} AS REAL)"),
                9 => format!("(- {a})"),
                _ => format!("{}({a})", w.draw.one_of(&["round", "ceil", "floor"])),
            },
            // Which operator binds tighter, dialects do not agree on.
            Kind::Boolean => format!("({})", self.predicate(w, depth)),
            Kind::Date => match choice {
                0..6 => format!("CAST({} AS DATE)", of(Kind::Timestamp)),
                6..9 => {
                    // The sum is a timestamp.
                    format!("CAST({a} + INTERVAL '1 day' AS DATE)")
                }
                _ => format!("CAST(date_trunc('month', {a}) AS DATE)"),
            },
            Kind::Timestamp => match choice {
                0..4 => format!("CAST({} AS TIMESTAMP)", of(Kind::Date)),
                4..6 => {
                    format!("({a} + INTERVAL '1 hour')")
                }
                _ => {
                    let parts = [
                        "year", "quarter", "month", "week", "day", "hour", "minute", "second",
                    ];
                    format!("date_trunc('{}', {a})", w.draw.one_of(&parts))
                }
            },
            Kind::Time | Kind::Binary => a.to_string(),
        }
    }

    pub fn predicate(&self, w: &mut Writer<'_>, depth: usize) -> String {
        if depth > 0 {
            let mut deeper = || self.predicate(w, depth - 1);
            match (deeper(), deeper(), w.draw.below(10)) {
                (a, b, 7) => return format!("({a} AND {b})"),
                (a, b, 8) => return format!("({a} OR {b})"),
                (a, _, 9) => {
                    let form = *w.draw.one_of(&[
                        "NOT (x)",
                        "(x) IS TRUE",
                        "(x) IS NOT TRUE",
                        "(x) IS FALSE",
                        "(x) IS NULL",
                    ]);
                    return form.replace('x', "\u{0}").replace('\u{0}', &a);
                }
                _ => {}
            }
            if depth > 1 && w.draw.chance(20) {
                let subquery = w.subquery(self.scope);
                // Part of a condition, it is a value of each row: DataFusion's mark join.
                return match w.draw.below(10) {
                    0..6 => subquery,
                    6..9 => format!("({} OR {subquery})", self.predicate(w, 0)),
                    _ => format!("(({subquery}) = ({}))", self.predicate(w, 0)),
                };
            }
        }
        let (column, kind) = w.draw.one_of(self.scope).clone();
        let depth = depth.min(1);
        let left = if w.draw.chance(70) {
            column
        } else {
            self.of(w, kind, depth)
        };
        let not = if w.draw.chance(30) { "NOT " } else { "" };
        match w.draw.below(12) {
            0..5 => {
                let operator = *w.draw.one_of(&[
                    "=",
                    "<>",
                    "<",
                    "<=",
                    ">",
                    ">=",
                    "IS DISTINCT FROM",
                    "IS NOT DISTINCT FROM",
                ]);
                // sqlparser reads what follows DISTINCT FROM up to the end, an AND included.
                format!("({left} {operator} {})", self.of(w, kind, depth))
            }
            5 => format!("{left} IS {not}NULL"),
            6 => format!(
                "{left} {not}BETWEEN {} AND {}",
                self.of(w, kind, 0),
                self.of(w, kind, 0)
            ),
            7 | 8 => {
                let list: Vec<_> = (0..1 + w.draw.below(4))
                    .map(|_| constant(w.draw, kind))
                    .collect();
                let null = if w.draw.chance(15) { ", NULL" } else { "" };
                format!("{left} {not}IN ({}{null})", list.join(", "))
            }
            _ if kind == Kind::Boolean => left,
            _ if kind == Kind::Text && w.draw.chance(25) => {
                let function = *w.draw.one_of(&["starts_with", "ends_with"]);
                format!("{not}{function}({left}, {})", self.of(w, kind, 0))
            }
            _ if kind == Kind::Text => {
                let operator = *w.draw.one_of(&["LIKE", "LIKE", "ILIKE"]);
                let pattern = quoted(one(w.draw, PATTERNS));
                // In DuckDB nothing escapes unless that is said.
                let like = format!(
                    "{left} {not}{operator} {pattern}{}",
                    either("", " ESCAPE '\\'")
                );
                match operator {
                    "ILIKE" => ours_alone(&like, "case is folded by other tables"),
                    _ => like,
                }
            }
            _ => format!("{left} = {}", self.of(w, kind, 0)),
        }
    }
}
