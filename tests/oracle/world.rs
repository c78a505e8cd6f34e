//! Tables with hostile rows: what the queries of one round are about.

use crate::draw::Draw;

/// What the generator knows of a value's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Int,
    Text,
    Decimal,
    Float,
    Boolean,
    Date,
    Timestamp,
    Time,
    Binary,
}

/// A column type of a system, with constants in its SQL.
#[derive(Debug, Clone, Copy)]
pub struct Native {
    pub declared: &'static str,
    pub kind: Kind,
    pub values: Values,
}

#[derive(Debug, Clone, Copy)]
pub enum Values {
    Sql(&'static [&'static str]),
    /// From [`TEXTS`].
    Text,
    /// Those of them that ISO 8859-1 has.
    Latin1,
    /// Those of them without a space at the end.
    Unpadded,
}

/// Texts that some collation, escape or padding takes for each other, or for something else.
pub const TEXTS: &[&str] = &[
    "a",
    "",
    "A",
    "b",
    "aa",
    "ä",
    "Ä",
    "a ",
    " a",
    " ",
    "  ",
    "a\t",
    "ß",
    "ss",
    "SS",
    "é",
    "e\u{301}",
    "e",
    "'",
    "''",
    "\\",
    "\"",
    "%",
    "_",
    "a%b",
    "a_b",
    "\\%",
    "a\\",
    "1",
    "01",
    "1e3",
    "😀",
    "😀a",
    "İ",
    "ı",
    "I",
    "i",
    "ǆ",
    "ǅ",
    "\u{1}",
    "\n",
    "a\n",
    "NULL",
    "z",
    "Z",
    "ａ",
    "\u{a0}",
    "a\u{200b}",
    "ﬀ",
    "ff",
    "Σ",
    "ς",
    "σ",
    "\u{7f}",
    "\u{ffff}",
    "?",
    "$1",
    ":a",
    "--",
    "aä",
    "aÄ",
    "a b",
    "-0.0",
    "2024-02-29",
    "true",
];

pub struct Column {
    pub name: String,
    pub native: Native,
}

pub struct Table {
    /// As a query names it: `s.t0`.
    pub name: String,
    pub columns: Vec<Column>,
    /// The first column is its primary key, `id`.
    keyed: bool,
    /// Constants in the system's SQL.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    pub fn random(
        draw: &mut Draw,
        source: &str,
        n: usize,
        natives: &[Native],
        text: fn(&str) -> String,
    ) -> Self {
        let mut columns = Vec::new();
        let integer = natives.iter().find(|native| native.kind == Kind::Int);
        let key = integer.filter(|_| draw.chance(50));
        columns.extend(key.map(|native| Column {
            name: "id".into(),
            native: *native,
        }));
        for i in 0..3 + draw.below(5) {
            // Names that are told from others by case alone, and such that must be quoted, are the conformance suite's.
            columns.push(Column {
                name: format!("c{i}"),
                native: *draw.one_of(natives),
            });
        }
        let rows = (0..[0, 1, 5, 9, 14][draw.below(15).div_ceil(3).min(4)])
            .map(|row: i32| {
                let values = columns.iter().map(|column| match column.name.as_str() {
                    "id" => row.to_string(),
                    _ => constant(draw, &column.native, text),
                });
                values.collect()
            })
            .collect();
        Self {
            name: format!("{source}.t{n}"),
            columns,
            keyed: key.is_some(),
            rows,
        }
    }

    fn local_name(&self) -> &str {
        self.name
            .split_once('.')
            .map_or(&self.name, |(_, name)| name)
    }

    pub fn create(&self) -> String {
        let mut columns: Vec<_> = self
            .columns
            .iter()
            .map(|c| format!("{} {}", c.name, c.native.declared))
            .collect();
        if self.keyed {
            columns[0] += " NOT NULL PRIMARY KEY";
        }
        format!(
            "CREATE TABLE {} ({})",
            self.local_name(),
            columns.join(", ")
        )
    }

    /// Its rows instead of those there.
    pub fn fill(&self) -> Vec<String> {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| format!("({})", row.join(", ")))
            .collect();
        let mut statements = vec![format!("DELETE FROM {}", self.local_name())];
        if !rows.is_empty() {
            statements.push(format!(
                "INSERT INTO {} VALUES {}",
                self.local_name(),
                rows.join(", ")
            ));
        }
        statements
    }
}

fn constant(draw: &mut Draw, native: &Native, text: fn(&str) -> String) -> String {
    if draw.chance(15) {
        return "NULL".into();
    }
    // Half of the values from a few, so that rows meet.
    let few = draw.chance(50);
    let mut among =
        |all: &[&str]| all[draw.below(if few { all.len().min(4) } else { all.len() })].to_string();
    let fits = |fits: fn(&str) -> bool| {
        TEXTS
            .iter()
            .copied()
            .filter(|t| fits(t))
            .collect::<Vec<_>>()
    };
    match native.values {
        Values::Sql(constants) => among(constants),
        Values::Text => text(&among(TEXTS)),
        Values::Latin1 => text(&among(&fits(|t| t.chars().all(|c| u32::from(c) < 0x100)))),
        Values::Unpadded => text(&among(&fits(|t| !t.ends_with(' ')))),
    }
}
