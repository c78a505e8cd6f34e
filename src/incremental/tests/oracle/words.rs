//! What random queries are made of: tables, expressions, conditions.

use fastrand::Rng;

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Type {
    Int,
    Text,
    Decimal,
    Float,
    Date,
    Time,
}

pub(super) use Type::{Date, Decimal, Float, Int, Text, Time};

/// What stands in FROM, and what can be said of it.
pub(super) struct From {
    pub(super) sql: String,
    pub(super) columns: Vec<(String, Type)>,
}

impl From {
    pub(super) fn of(&self, of: Type) -> Vec<&str> {
        let columns = self.columns.iter().filter(|(_, other)| *other == of);
        columns.map(|(name, _)| name.as_str()).collect()
    }
}

pub(super) struct Writer {
    pub(super) random: Rng,
    names: usize,
    /// Queries of FROM, with their columns: one may be there again.
    pub(super) known: Vec<(String, Vec<(String, Type)>)>,
}

impl Writer {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Rng::with_seed(seed),
            names: 0,
            known: Vec::new(),
        }
    }

    pub(super) fn one_in(&mut self, n: u32) -> bool {
        self.random.u32(0..n) == 0
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.random.usize(0..all.len())]
    }

    /// One that is nowhere else.
    pub(super) fn name(&mut self, of: &str) -> String {
        self.names += 1;
        format!("{of}{}", self.names)
    }

    pub(super) fn table(&mut self) -> From {
        let (table, columns): (&str, &[(&str, Type)]) = match self.random.u8(0..4) {
            0 => (
                "t",
                &[
                    ("id", Int),
                    ("a", Int),
                    ("b", Int),
                    ("s", Text),
                    ("d", Decimal),
                    ("f", Float),
                    ("day", Date),
                ],
            ),
            1 => (
                "u",
                &[
                    ("id", Int),
                    ("a", Int),
                    ("s", Text),
                    ("f", Float),
                    ("at", Time),
                ],
            ),
            2 => ("v", &[("a", Int), ("s", Text), ("d", Decimal)]),
            _ => (
                "w",
                &[("s", Text), ("a", Int), ("day", Date), ("until", Time)],
            ),
        };
        let name = self.name("r");
        From {
            sql: format!("{table} AS {name}"),
            columns: columns
                .iter()
                .map(|(c, of)| (format!("{name}.{c}"), *of))
                .collect(),
        }
    }

    /// An expression of a type, of what there is.
    pub(super) fn expr(&mut self, from: &From, of: Type, depth: usize) -> String {
        let columns = from.of(of);
        if !columns.is_empty() && (depth == 0 || !self.one_in(3)) {
            return self.pick(&columns).to_string();
        }
        if depth == 0 {
            return match of {
                Int => self.pick(&["1", "2", "0"]).to_string(),
                Text => self.pick(&["'a'", "''", "'1'"]).to_string(),
                Decimal => "CAST(1.50 AS DECIMAL(10, 2))".to_string(),
                Float => self
                    .pick(&["CAST(0.5 AS DOUBLE)", "CAST('NaN' AS DOUBLE)"])
                    .to_string(),
                Date => "DATE '1970-02-01'".to_string(),
                Time => "TIMESTAMP '1970-03-01 00:30:00'".to_string(),
            };
        }
        let depth = depth - 1;
        match (of, self.random.u8(0..7)) {
            (Int, 0) => {
                let (a, b) = (self.expr(from, Int, depth), self.expr(from, Int, depth));
                format!("({a} {} {b})", self.pick(&["+", "-", "*"]))
            }
            (Int, 1) => format!("char_length({})", self.expr(from, Text, depth)),
            (Int, 2) if self.one_in(3) => format!("(6 / {})", self.expr(from, Int, depth)),
            (Int, 3) if self.one_in(3) => {
                format!("CAST({} AS BIGINT)", self.expr(from, Text, depth))
            }
            (Text, 0) => {
                let (a, b) = (self.expr(from, Text, depth), self.expr(from, Text, depth));
                format!("({a} || {b})")
            }
            (Text, 1) => format!("upper({})", self.expr(from, Text, depth)),
            (Text, 2) => format!("CAST({} AS VARCHAR)", self.expr(from, Int, depth)),
            (Decimal, 0) => {
                let a = self.expr(from, Decimal, depth);
                format!("CAST({a} * 2 AS DECIMAL(10, 2))")
            }
            (Float, 0) => format!("({} + 1.5)", self.expr(from, Float, depth)),
            (Float, 1) => format!("CAST({} AS DOUBLE)", self.expr(from, Int, depth)),
            (Float, 2) => format!("(-{})", self.expr(from, Float, depth)),
            (_, 4) => {
                let (condition, a) = (self.condition(from, depth), self.expr(from, of, depth));
                let b = self.expr(from, of, depth);
                format!("CASE WHEN {condition} THEN {a} ELSE {b} END")
            }
            (_, 5) => {
                let (a, b) = (self.expr(from, of, depth), self.expr(from, of, depth));
                format!("coalesce({a}, {b})")
            }
            (_, 6) => {
                let (a, b) = (self.expr(from, of, depth), self.expr(from, of, depth));
                format!("nullif({a}, {b})")
            }
            _ => self.expr(from, of, depth),
        }
    }

    pub(super) fn any_type(&mut self) -> Type {
        let types = [Int, Int, Int, Text, Text, Decimal, Float, Float, Date, Time];
        types[self.random.usize(0..types.len())]
    }

    pub(super) fn condition(&mut self, from: &From, depth: usize) -> String {
        let of = self.any_type();
        let a = self.expr(from, of, depth);
        match self.random.u8(0..9) {
            0 => format!("({a} IS NULL)"),
            1 => format!("({a} IS NOT NULL)"),
            2 => {
                let (a, b) = (self.condition(from, 0), self.condition(from, 0));
                format!("({a} {} {b})", self.pick(&["AND", "OR"]))
            }
            3 => format!("(NOT {})", self.condition(from, 0)),
            4 => {
                let (b, c) = (self.expr(from, of, depth), self.expr(from, of, 0));
                format!("({a} IN ({b}, {c}))")
            }
            _ => {
                let b = self.expr(from, of, depth);
                format!(
                    "({a} {} {b})",
                    self.pick(&["=", "<>", "<", ">=", ">", "IS DISTINCT FROM"])
                )
            }
        }
    }

    /// A moment that is computed of the clock.
    fn moment(&mut self) -> &'static str {
        self.pick(&[
            "now()",
            "current_timestamp",
            "current_date",
            "now() - INTERVAL '1 day'",
            "now() + INTERVAL '90 minutes'",
            "now() - INTERVAL '1 month'",
            "INTERVAL '1 year 1 month' + now()",
            "current_date - 1",
            "current_date - INTERVAL '1 month'",
            "CAST(now() AS DATE)",
            "CAST(now() AS TIMESTAMP)",
            "CAST(now() AT TIME ZONE 'Europe/Berlin' AS DATE)",
            "date_trunc('day', now())",
            "date_trunc('month', now())",
            "date_trunc('hour', now() - INTERVAL '1 month')",
            "date_bin(INTERVAL '15 minutes', now())",
        ])
    }

    /// A condition of the clock. None: there is nothing to be compared with it.
    pub(super) fn timed(&mut self, from: &From) -> Option<String> {
        let of = match (from.of(Date).is_empty(), from.of(Time).is_empty()) {
            (true, true) => return None,
            (false, true) => Date,
            (true, false) => Time,
            (false, false) => [Date, Time][self.random.usize(0..2)],
        };
        let depth = usize::from(self.one_in(4));
        let (a, b) = (self.expr(from, of, depth), self.expr(from, of, 0));
        let (now, then) = (self.moment(), self.moment());
        let compare = self.pick(&["<", "<=", ">", ">=", "="]);
        Some(match self.random.u8(0..8) {
            0 => format!("{now} {compare} {a}"),
            1 => format!("{a} BETWEEN {now} AND {then}"),
            2 => format!("{now} BETWEEN {a} AND {b}"),
            3 => format!("({a} IS NULL OR {a} {compare} {now})"),
            4 => format!("({} OR {a} {compare} {now})", self.condition(from, 0)),
            5 => format!("{a} {compare} {now} AND {b} > {then}"),
            _ => format!("{a} {compare} {now}"),
        })
    }

    /// Columns of both that can be equal; None if there are none.
    pub(super) fn equality(&mut self, a: &From, b: &From) -> Option<String> {
        let mut pairs = Vec::new();
        for (left, of) in &a.columns {
            let others = b.columns.iter().filter(|(_, other)| other == of);
            pairs.extend(others.map(|(right, _)| format!("{left} = {right}")));
        }
        if pairs.is_empty() {
            return None;
        }
        let pair = pairs.swap_remove(self.random.usize(0..pairs.len()));
        if self.one_in(8) && !a.of(Int).is_empty() {
            let (x, y) = (self.expr(a, Int, 1), self.expr(b, Int, 1));
            return Some(format!("{x} = {y}"));
        }
        Some(pair)
    }

    pub(super) fn aggregate(&mut self, from: &From) -> (String, Type) {
        let int = self.expr(from, Int, 1);
        let filter = match self.one_in(5) {
            true => format!(" FILTER (WHERE {})", self.condition(from, 0)),
            false => String::new(),
        };
        let (call, of) = match self.random.u8(0..18) {
            0 => ("count(*)".to_string(), Int),
            1 => (format!("count({int})"), Int),
            2 => (format!("sum({int})"), Int),
            3 => (format!("sum({})", self.expr(from, Float, 1)), Float),
            4 => (format!("avg({})", self.expr(from, Float, 1)), Float),
            5 => (format!("avg({int})"), Float),
            6 => {
                let of = self.any_type();
                (format!("min({})", self.expr(from, of, 1)), of)
            }
            7 => {
                let of = self.any_type();
                (format!("max({})", self.expr(from, of, 1)), of)
            }
            8 => {
                let of = self.any_type();
                let x = self.expr(from, of, 1);
                (format!("count(DISTINCT {x})"), Int)
            }
            9 => (format!("sum(DISTINCT {int})"), Int),
            10 => (format!("median({int})"), Int),
            11 => (format!("stddev({})", self.expr(from, Float, 0)), Float),
            12 => (format!("bit_xor({int})"), Int),
            13 => {
                let text = self.expr(from, Text, 0);
                return (format!("string_agg({text}, ',' ORDER BY {text})"), Text);
            }
            14 => (format!("var_pop({})", self.expr(from, Float, 0)), Float),
            15 => {
                let condition = self.condition(from, 0);
                let what = self.pick(&["count(DISTINCT", "count(", "sum(DISTINCT"]);
                (format!("{what} CAST({condition} AS INT))"), Int)
            }
            16 => (format!("avg(DISTINCT {int})"), Float),
            _ => (format!("count(DISTINCT {})", self.expr(from, Text, 0)), Int),
        };
        (format!("{call}{filter}"), of)
    }
}
