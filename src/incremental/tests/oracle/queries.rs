//! Random queries.

use super::words::{Float, From, Int, Type, Writer};

/// A query of a seed.
pub(super) fn query(seed: u64) -> String {
    let mut writer = Writer::new(seed);
    let depth = writer.random.usize(1..4);
    writer.relation(depth).sql
}

/// A query, and its columns.
struct Relation {
    sql: String,
    columns: Vec<(String, Type)>,
}

impl Writer {
    fn source(&mut self, depth: usize) -> From {
        if depth == 0 || self.one_in(3) {
            return self.table();
        }
        let (sql, columns) = match self.known.is_empty() || !self.one_in(4) {
            true => {
                let inner = self.relation(depth - 1);
                self.known.push((inner.sql, inner.columns));
                self.known[self.known.len() - 1].clone()
            }
            false => self.known[self.random.usize(0..self.known.len())].clone(),
        };
        let name = self.name("r");
        let columns = columns.iter();
        let columns = columns.map(|(column, of)| (format!("{name}.{column}"), *of));
        From {
            sql: format!("({sql}) AS {name}"),
            columns: columns.collect(),
        }
    }

    fn joined(&mut self, depth: usize) -> From {
        let mut from = self.source(depth);
        let more = [0, 0, 1, 1, 2][self.random.usize(0..5)];
        for _ in 0..more {
            let next = self.source(depth.saturating_sub(1));
            let kind = self.pick(&[
                "JOIN",
                "JOIN",
                "JOIN",
                "LEFT JOIN",
                "RIGHT JOIN",
                "FULL JOIN",
            ]);
            let on = self.equality(&from, &next);
            let both = From {
                sql: String::new(),
                columns: from.columns.iter().chain(&next.columns).cloned().collect(),
            };
            let on = match on {
                Some(on) if self.one_in(3) => {
                    format!("{on} AND {}", self.condition(&both, 0))
                }
                Some(on) => on,
                None => self.condition(&both, 0),
            };
            from = From {
                sql: format!("{} {kind} {} ON {on}", from.sql, next.sql),
                ..both
            };
        }
        from
    }

    /// A condition with a subquery.
    fn membership(&mut self, from: &From, depth: usize) -> String {
        let inner = self.source(depth);
        let not = self.pick(&["", "NOT "]);
        match self.random.u8(0..4) {
            0 | 1 => {
                let on = self.equality(from, &inner);
                let on = on.unwrap_or_else(|| self.condition(&inner, 0));
                format!("{not}EXISTS (SELECT 1 FROM {} WHERE {on})", inner.sql)
            }
            2 => {
                let of = self.any_type();
                let (a, b) = (self.expr(from, of, 0), self.expr(&inner, of, 0));
                format!("{a} {not}IN (SELECT {b} FROM {})", inner.sql)
            }
            _ => {
                let a = self.expr(from, Int, 0);
                let b = self.expr(&inner, Int, 0);
                let what = self.pick(&["max", "min", "count", "sum"]);
                let compare = self.pick(&["<", ">=", "="]);
                let correlated = match self.one_in(2) {
                    true => self.equality(from, &inner),
                    false => None,
                };
                let on = correlated
                    .map(|on| format!(" WHERE {on}"))
                    .unwrap_or_default();
                format!("{a} {compare} (SELECT {what}({b}) FROM {}{on})", inner.sql)
            }
        }
    }

    fn filter(&mut self, from: &From, depth: usize) -> String {
        let mut conditions = Vec::new();
        if self.one_in(2) {
            conditions.push(self.condition(from, 1));
        }
        if self.one_in(4) {
            conditions.push(self.membership(from, depth.saturating_sub(1)));
        }
        if self.one_in(4) {
            conditions.extend(self.timed(from));
        }
        self.random.shuffle(&mut conditions);
        match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        }
    }

    fn relation(&mut self, depth: usize) -> Relation {
        match self.random.u8(0..12) {
            0..=3 => self.plain(depth),
            4..=6 => self.grouped(depth),
            7 if depth > 0 => self.set(depth),
            8 => self.windows(depth),
            9 => self.first(depth),
            10 => {
                let mut plain = self.plain(depth);
                plain.sql = plain.sql.replacen("SELECT", "SELECT DISTINCT", 1);
                plain
            }
            _ => self.plain(depth),
        }
    }

    fn select(&mut self, exprs: Vec<(String, Type)>, rest: &str) -> Relation {
        let (mut named, mut columns) = (Vec::new(), Vec::new());
        for (expr, of) in exprs {
            let name = self.name("c");
            named.push(format!("{expr} AS {name}"));
            columns.push((name, of));
        }
        Relation {
            sql: format!("SELECT {} FROM {rest}", named.join(", ")),
            columns,
        }
    }

    fn exprs(&mut self, from: &From, most: usize) -> Vec<(String, Type)> {
        let count = self.random.usize(1..=most);
        let exprs = (0..count).map(|_| {
            let of = self.any_type();
            (self.expr(from, of, 2), of)
        });
        exprs.collect()
    }

    fn plain(&mut self, depth: usize) -> Relation {
        let from = self.joined(depth);
        let mut exprs = self.exprs(&from, 4);
        if self.one_in(10) {
            let inner = self.source(depth.saturating_sub(1));
            let value = self.expr(&inner, Int, 0);
            let what = self.pick(&["max", "min", "count"]);
            exprs.push((format!("(SELECT {what}({value}) FROM {})", inner.sql), Int));
        }
        let filter = self.filter(&from, depth);
        self.select(exprs, &format!("{}{filter}", from.sql))
    }

    fn grouped(&mut self, depth: usize) -> Relation {
        let from = self.joined(depth);
        let filter = self.filter(&from, depth);
        let keys = self.random.usize(0..3);
        let mut exprs: Vec<(String, Type)> = Vec::new();
        for _ in 0..keys {
            let of = self.any_type();
            let key = self.expr(&from, of, 1);
            let is_constant = !key.contains(".") || exprs.iter().any(|(other, _)| *other == key);
            if !is_constant {
                exprs.push((key, of));
            }
        }
        let keys: Vec<String> = exprs.iter().map(|(key, _)| key.clone()).collect();
        for _ in 0..self.random.usize(1..4) {
            let aggregate = self.aggregate(&from);
            exprs.push(aggregate);
        }
        let group = match (keys.is_empty(), self.random.u8(0..6)) {
            (true, _) => String::new(),
            (false, 0) => format!(" GROUP BY ROLLUP({})", keys.join(", ")),
            (false, 1) => format!(" GROUP BY CUBE({})", keys.join(", ")),
            _ => format!(" GROUP BY {}", keys.join(", ")),
        };
        let having = match self.one_in(5) {
            true => format!(" HAVING count(*) {} 1", self.pick(&[">", "<=", "="])),
            false => String::new(),
        };
        self.select(exprs, &format!("{}{filter}{group}{having}", from.sql))
    }

    fn set(&mut self, depth: usize) -> Relation {
        let count = self.random.usize(1..4);
        let types: Vec<Type> = (0..count).map(|_| self.any_type()).collect();
        let mut part = || {
            let from = self.joined(depth - 1);
            let filter = self.filter(&from, depth - 1);
            let exprs = types.iter().map(|of| (self.expr(&from, *of, 1), *of));
            let exprs = exprs.collect();
            self.select(exprs, &format!("{}{filter}", from.sql))
        };
        let (first, second) = (part(), part());
        let how = self.pick(&[
            "UNION ALL",
            "UNION ALL",
            "UNION",
            "INTERSECT",
            "EXCEPT",
            "INTERSECT ALL",
            "EXCEPT ALL",
        ]);
        Relation {
            sql: format!("{} {how} {}", first.sql, second.sql),
            columns: first.columns,
        }
    }

    fn windows(&mut self, depth: usize) -> Relation {
        // Peers that differ in what a function reads would make it a matter of chance.
        let from = self.source(depth);
        let mut exprs: Vec<(String, Type)> = from.columns.clone();
        let order: Vec<String> = from.columns.iter().map(|(name, _)| name.clone()).collect();
        let order = order.join(", ");
        let partition = match self.one_in(4) {
            true => String::new(),
            false => {
                let of = self.any_type();
                format!("PARTITION BY {} ", self.expr(&from, of, 1))
            }
        };
        for _ in 0..self.random.usize(1..3) {
            let int = self.expr(&from, Int, 1);
            let some = self.expr(&from, Int, 0);
            let (call, of) = match self.random.u8(0..8) {
                0 => (
                    format!("row_number() OVER ({partition}ORDER BY {some})"),
                    Int,
                ),
                1 => (
                    format!("rank() OVER ({partition}ORDER BY {some} DESC)"),
                    Int,
                ),
                2 => (format!("sum({int}) OVER ({partition}ORDER BY {some})"), Int),
                3 => (format!("max({int}) OVER ({partition})"), Int),
                4 => (
                    format!("lag({int}) OVER ({partition}ORDER BY {order})"),
                    Int,
                ),
                5 => (
                    format!("first_value({int}) OVER ({partition}ORDER BY {order})"),
                    Int,
                ),
                6 => (
                    format!(
                        "count(*) OVER ({partition}ORDER BY {order} ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)"
                    ),
                    Int,
                ),
                _ => {
                    let float = self.expr(&from, Float, 0);
                    (format!("sum({float}) OVER ({partition})"), Float)
                }
            };
            exprs.push((call, of));
        }
        self.select(exprs, &from.sql)
    }

    fn first(&mut self, depth: usize) -> Relation {
        let from = self.joined(depth);
        let filter = self.filter(&from, depth);
        let exprs = self.exprs(&from, 3);
        let of = self.any_type();
        let (key, direction) = (
            self.expr(&from, of, 1),
            self.pick(&["", " DESC", " NULLS FIRST"]),
        );
        let offset = match self.one_in(3) {
            true => " OFFSET 1",
            false => "",
        };
        let limit = self.random.u8(1..4);
        let rest = format!(
            "{}{filter} ORDER BY {key}{direction} LIMIT {limit}{offset}",
            from.sql
        );
        self.select(exprs, &rest)
    }
}
