//! A random query over the tables: from choices to SQL.

use crate::dialect::{either, ours, ours_alone, theirs};
use crate::draw::Draw;
use crate::expr::{Scope, Value, constant};
use crate::world::{Kind, Table};

pub struct Query {
    pub sql: String,
    /// In DuckDB's dialect, or why it cannot be asked.
    pub third: Result<String, String>,
    /// Its rows have one right order.
    pub ordered: bool,
    /// Another query that has its rows, in some order.
    pub same: Option<String>,
}

/// Writes one query.
pub struct Writer<'a> {
    pub draw: &'a mut Draw,
    pub tables: &'a [Table],
    names: usize,
}

/// What a SELECT gives: columns `c0`, `c1` …
pub struct Select {
    pub sql: String,
    pub kinds: Vec<Kind>,
}

pub fn query(draw: &mut Draw, tables: &[Table]) -> Query {
    Writer {
        draw,
        tables,
        names: 0,
    }
    .query()
}

impl Writer<'_> {
    fn query(&mut self) -> Query {
        if self.draw.chance(12) {
            return match self.draw.chance(50) {
                false => self.partitioned(),
                true => self.counted(),
            };
        }
        let mut select = self.set_operation(2);
        let ordered = !select.kinds.is_empty() && self.draw.chance(45);
        if ordered {
            select = self.ordered(select, true);
        }
        Query {
            sql: ours(&select.sql),
            third: theirs(&select.sql),
            ordered,
            same: None,
        }
    }

    /// A predicate is true, false or NULL of each row: with those of all three there are all rows (ternary logic
    /// partitioning, as in SQLancer).
    fn partitioned(&mut self) -> Query {
        let (from, scope) = self.from(1);
        let all = self.plain(&from, "", &scope);
        let rows = all.sql.replacen("SELECT DISTINCT ", "SELECT ", 1);
        let predicate = Value { scope: &scope }.predicate(self, 2);
        let parts = [
            format!("{rows} WHERE {predicate}"),
            format!("{rows} WHERE NOT ({predicate})"),
            format!("{rows} WHERE ({predicate}) IS NULL"),
        ];
        let parts = parts.join(" UNION ALL ");
        Query {
            sql: ours(&parts),
            third: theirs(&parts),
            ordered: false,
            same: Some(ours(&rows)),
        }
    }

    /// As many rows pass a filter as there are for which its predicate, as a value that no rule of filters meets, is true
    /// (non-optimizing reference engine construction).
    fn counted(&mut self) -> Query {
        let (from, scope) = self.from(1);
        let predicate = Value { scope: &scope }.predicate(self, 2);
        let filtered = format!("SELECT count(*) AS c0 FROM {from} WHERE {predicate}");
        let valued = format!("SELECT count(CASE WHEN {predicate} THEN 1 END) AS c0 FROM {from}");
        Query {
            sql: ours(&filtered),
            third: theirs(&filtered),
            ordered: false,
            same: Some(ours(&valued)),
        }
    }

    /// With LIMIT ties break by the remaining columns; without, the keys are all the columns.
    fn ordered(&mut self, select: Select, outermost: bool) -> Select {
        let limit = !outermost || self.draw.chance(70);
        let width = select.kinds.len();
        let count = 1 + self.draw.below(width);
        let first = self.draw.below(width);
        let mut keys = Vec::new();
        for i in 0..if limit { count } else { width } {
            let direction = *self.draw.one_of(&["", " DESC"]);
            let nulls = *self.draw.one_of(&["", " NULLS FIRST", " NULLS LAST"]);
            keys.push(format!("c{}{direction}{nulls}", (first + i) % width));
        }
        // That the remaining columns break ties is the engine's own promise.
        let ties = (keys.len()..width).map(|i| format!(", c{}", (first + i) % width));
        let mut ties: Vec<_> = ties.collect();
        ties.sort();
        let mut sql = format!(
            "SELECT * FROM ({}) AS o ORDER BY {}{}",
            select.sql,
            keys.join(", "),
            either("", &ties.concat())
        );
        if limit {
            sql += &format!(" LIMIT {}", self.draw.one_of(&[3, 1, 2, 5, 8]));
            if self.draw.chance(20) {
                sql += " OFFSET 1";
            }
        }
        Select { sql, ..select }
    }

    fn set_operation(&mut self, depth: usize) -> Select {
        let first = self.select(depth, None);
        if first.kinds.is_empty() || !self.draw.chance(20) {
            return first;
        }
        let second = self.select(depth.saturating_sub(1), Some(&first.kinds));
        let operator = *self.draw.one_of(&[
            "UNION ALL",
            "UNION",
            "EXCEPT",
            "INTERSECT",
            "UNION ALL",
            "EXCEPT ALL",
            "INTERSECT ALL",
        ]);
        Select {
            sql: format!("{} {operator} {}", first.sql, second.sql),
            kinds: first.kinds,
        }
    }

    /// A SELECT, of these kinds if given.
    fn select(&mut self, depth: usize, wanted: Option<&[Kind]>) -> Select {
        let (from, scope) = self.from(depth);
        let filter = match self.draw.chance(65) {
            true => {
                let predicate = Value { scope: &scope }.predicate(self, depth + 1);
                format!(" WHERE {predicate}")
            }
            false => String::new(),
        };
        if let Some(kinds) = wanted {
            let values: Vec<_> = kinds
                .iter()
                .map(|kind| Value { scope: &scope }.of(self, *kind, 1))
                .collect();
            return Select {
                sql: format!("SELECT {} FROM {from}{filter}", named(&values)),
                kinds: kinds.to_vec(),
            };
        }
        match self.draw.below(10) {
            0..5 => self.plain(&from, &filter, &scope),
            5..8 => self.grouped(&from, &filter, &scope),
            _ => self.windowed(&from, &filter, &scope),
        }
    }

    pub fn plain(&mut self, from: &str, filter: &str, scope: &Scope) -> Select {
        let distinct = if self.draw.chance(25) {
            "DISTINCT "
        } else {
            ""
        };
        let (mut values, mut kinds) = (Vec::new(), Vec::new());
        for _ in 0..1 + self.draw.below(4) {
            let (sql, kind) = self.key(scope);
            values.push(sql);
            kinds.push(kind);
        }
        Select {
            sql: format!("SELECT {distinct}{} FROM {from}{filter}", named(&values)),
            kinds,
        }
    }

    /// A column, or sometimes an expression.
    fn key(&mut self, scope: &Scope) -> (String, Kind) {
        if self.draw.chance(4) {
            return (format!("({})", self.subquery(scope)), Kind::Boolean);
        }
        let column = self.draw.one_of(scope).clone();
        match self.draw.chance(35) {
            true => (Value { scope }.of(self, column.1, 2), column.1),
            false => column,
        }
    }

    fn grouped(&mut self, from: &str, filter: &str, scope: &Scope) -> Select {
        let (mut values, mut kinds, mut keys) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..self.draw.below(3) {
            let (sql, kind) = self.key(scope);
            keys.push(sql.clone());
            values.push(sql);
            kinds.push(kind);
        }
        for _ in 0..1 + self.draw.below(3) {
            let (sql, kind) = self.aggregate(scope);
            values.push(sql);
            kinds.push(kind);
        }
        let mut sql = format!("SELECT {} FROM {from}{filter}", named(&values));
        for key in &mut keys {
            // A number stands for the column at that place, in both.
            if ours(key).parse::<u64>().is_ok() {
                *key = ours(key);
            }
        }
        if !keys.is_empty() {
            sql += &format!(" GROUP BY {}", keys.join(", "));
            if self.draw.chance(30) {
                let (value, kind) = self.aggregate(scope);
                let operator = *self.draw.one_of(&[">", "=", "<=", "<>"]);
                sql += &format!(" HAVING {value} {operator} {}", constant(self.draw, kind));
            }
        }
        Select { sql, kinds }
    }

    fn aggregate(&mut self, scope: &Scope) -> (String, Kind) {
        let (column, kind) = self.key(scope);
        let distinct = if self.draw.chance(15) {
            "DISTINCT "
        } else {
            ""
        };
        let filter = match self.draw.chance(15) {
            true => format!(" FILTER (WHERE {})", Value { scope }.predicate(self, 1)),
            false => String::new(),
        };
        match (self.draw.below(6), kind) {
            (0, _) => (format!("count(*){filter}"), Kind::Int),
            (1, _) => (format!("count({distinct}{column}){filter}"), Kind::Int),
            (2, Kind::Int | Kind::Decimal | Kind::Float) => {
                let sum = format!("sum({distinct}{column}){filter}");
                let exact = format!("exact_sum(list({distinct}{column}){filter})");
                match kind {
                    Kind::Float => (either(&sum, &exact), kind),
                    // Integers wrap into 64 bits; where they would, DuckDB has no answer.
                    Kind::Int => (either(&sum, &format!("CAST({sum} AS BIGINT)")), kind),
                    // A common type of 38 digits has fewer behind the point there: a union, a comparison rounds.
                    _ => (
                        ours_alone(&sum, "DuckDB's sum of decimals is as wide as can be"),
                        kind,
                    ),
                }
            }
            (3, Kind::Decimal) => {
                let average = format!("avg({column}){filter}");
                let why = "DuckDB's average of decimals is a float";
                (ours_alone(&average, why), kind)
            }
            (3, Kind::Int | Kind::Float) => {
                let function = *self.draw.one_of(&["avg", "var", "stddev_pop"]);
                let value = format!("{function}({distinct}{column}){filter}");
                // Of whole numbers it is that of their exact sum, unless those are told apart.
                let exact = match kind {
                    Kind::Int if distinct.is_empty() => format!(
                        "(CAST(sum({column}){filter} AS DOUBLE) / CAST(count({column}){filter} AS DOUBLE))"
                    ),
                    _ => format!("exact_average(list({distinct}CAST({column} AS DOUBLE)){filter})"),
                };
                let value = match function {
                    "avg" => either(&value, &exact),
                    _ => ours_alone(&value, "DuckDB's variance depends on the order of rows"),
                };
                (value, Kind::Float)
            }
            (2 | 3, Kind::Boolean) => {
                let function = *self.draw.one_of(&["bool_and", "bool_or"]);
                (format!("{function}({column}){filter}"), kind)
            }
            (4, kind) if kind != Kind::Boolean => (format!("min({column}){filter}"), kind),
            (_, kind) if kind != Kind::Boolean => (format!("max({column}){filter}"), kind),
            _ => (format!("count({distinct}{column})"), Kind::Int),
        }
    }

    pub fn name(&mut self) -> String {
        self.names += 1;
        format!("q{}", self.names)
    }

    /// Relations, joined; and their columns.
    fn from(&mut self, depth: usize) -> (String, Scope) {
        let (mut from, mut scope) = self.relation(depth);
        let more = [0, 0, 1, 1, 2][self.draw.below(5)].min(depth);
        for _ in 0..more {
            let (relation, columns) = self.relation(depth - 1);
            let kind = *self.draw.one_of(&[
                "JOIN",
                "LEFT JOIN",
                "RIGHT JOIN",
                "FULL JOIN",
                "LEFT SEMI JOIN",
                "LEFT ANTI JOIN",
                "CROSS JOIN",
            ]);
            let word = match kind {
                "LEFT SEMI JOIN" | "LEFT ANTI JOIN" => either(kind, &kind[5..]),
                _ => kind.into(),
            };
            let both = [scope.clone(), columns].concat();
            if kind == "CROSS JOIN" {
                (from, scope) = (format!("{from} CROSS JOIN {relation}"), both);
                continue;
            }
            let condition = self.condition(&both, scope.len());
            from = format!("{from} {word} {relation} ON {condition}");
            if !kind.starts_with("LEFT SEMI") && !kind.starts_with("LEFT ANTI") {
                scope = both;
            }
        }
        (from, scope)
    }

    /// Mostly equal columns of both sides, perhaps with more.
    fn condition(&mut self, both: &Scope, left: usize) -> String {
        let mut pairs = Vec::new();
        for (l, kind) in &both[..left] {
            for (r, other) in &both[left..] {
                if kind == other {
                    pairs.push(format!("{l} = {r}"));
                }
            }
        }
        let mut condition = match pairs.is_empty() {
            true => Value { scope: both }.predicate(self, 1),
            false => self.draw.one_of(&pairs).clone(),
        };
        if self.draw.chance(35) {
            condition = format!(
                "{condition} AND {}",
                Value { scope: both }.predicate(self, 1)
            );
        }
        condition
    }

    fn relation(&mut self, depth: usize) -> (String, Scope) {
        let name = self.name();
        if depth > 0 && self.draw.chance(20) {
            let mut select = self.set_operation(depth - 1);
            if self.draw.chance(20) {
                select = self.ordered(select, false);
            }
            let columns = select
                .kinds
                .iter()
                .enumerate()
                .map(|(i, kind)| (format!("{name}.c{i}"), *kind));
            return (format!("({}) AS {name}", select.sql), columns.collect());
        }
        let table = self.draw.one_of(self.tables);
        let columns = table
            .columns
            .iter()
            .map(|c| (format!("{name}.{}", c.name), c.native.kind));
        (format!("{} AS {name}", table.name), columns.collect())
    }

    /// A predicate over a subquery, perhaps correlated with the outer columns.
    pub fn subquery(&mut self, outer: &Scope) -> String {
        let (relation, columns) = self.relation(0);
        let column = self.draw.one_of(outer).clone();
        let of_kind: Vec<_> = columns
            .iter()
            .filter(|c| c.1 == column.1)
            .cloned()
            .collect();
        let correlated = match of_kind.is_empty() {
            true => String::new(),
            false => format!("{} = {}", self.draw.one_of(&of_kind).0, column.0),
        };
        let inner = Value { scope: &columns }.predicate(self, 1);
        let filter = match (correlated.is_empty(), self.draw.chance(50)) {
            (true, _) => format!(" WHERE {inner}"),
            (false, true) => format!(" WHERE {correlated} AND {inner}"),
            (false, false) => format!(" WHERE {correlated}"),
        };
        let not = if self.draw.chance(40) { "NOT " } else { "" };
        match self.draw.below(3) {
            0 => format!("{not}EXISTS (SELECT 1 FROM {relation}{filter})"),
            1 if !of_kind.is_empty() => {
                let inner = Value { scope: &columns }.of(self, column.1, 1);
                let filter = if self.draw.chance(50) {
                    filter
                } else {
                    String::new()
                };
                format!(
                    "{} {not}IN (SELECT {inner} FROM {relation}{filter})",
                    column.0
                )
            }
            _ => {
                let (value, kind) = self.aggregate(&columns);
                let operator = *self.draw.one_of(&["=", "<", ">=", "<>"]);
                let left = Value { scope: outer }.of(self, kind, 1);
                format!("{left} {operator} (SELECT {value} FROM {relation}{filter})")
            }
        }
    }
}

fn named(values: &[String]) -> String {
    let named: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(i, value)| format!("{value} AS c{i}"))
        .collect();
    named.join(", ")
}
