//! A random query with a window, and what may be above one.

use crate::dialect::{either, ours_alone};
use crate::expr::Scope;
use crate::query::{Select, Writer};
use crate::world::Kind;

impl Writer<'_> {
    pub fn windowed(&mut self, from: &str, filter: &str, scope: &Scope) -> Select {
        let below = self.plain(from, filter, scope);
        let width = below.kinds.len();
        let Some((window, kind)) = self.window(&below.kinds) else {
            return below;
        };
        let name = self.name();
        let sql = format!(
            "SELECT {name}.*, {window} AS c{width} FROM ({}) AS {name}",
            below.sql
        );
        let select = Select {
            sql,
            kinds: [below.kinds, vec![kind]].concat(),
        };
        match self.draw.below(10) {
            0..3 => self.picked(select, width),
            3 => self.regrouped(select, width),
            _ => select,
        }
    }

    /// Its rows by the window's value.
    fn picked(&mut self, select: Select, width: usize) -> Select {
        let name = self.name();
        let condition = match select.kinds[width] {
            Kind::Int => format!("{name}.c{width} <= {}", self.draw.one_of(&[1, 2, 5])),
            _ => format!("{name}.c{width} IS NOT NULL"),
        };
        Select {
            sql: format!("SELECT * FROM ({}) AS {name} WHERE {condition}", select.sql),
            ..select
        }
    }

    fn regrouped(&mut self, select: Select, width: usize) -> Select {
        let name = self.name();
        let value = format!("{name}.c{width}");
        Select {
            sql: format!(
                "SELECT {value} AS c0, count(*) AS c1 FROM ({}) AS {name} GROUP BY {value}",
                select.sql
            ),
            kinds: vec![select.kinds[width], Kind::Int],
        }
    }

    /// A window over columns of these kinds whose value does not depend on the order of peers.
    fn window(&mut self, kinds: &[Kind]) -> Option<(String, Kind)> {
        let width = kinds.len();
        let (partition, order, value) = (
            self.draw.below(width),
            self.draw.below(width),
            self.draw.below(width),
        );
        let direction = *self
            .draw
            .one_of(&["", " DESC", " NULLS FIRST", " DESC NULLS LAST"]);
        let part = match self.draw.chance(50) {
            true => format!("PARTITION BY c{partition}"),
            false => String::new(),
        };
        let by = format!("{part} ORDER BY c{order}{direction}");
        let others = (0..width).filter(|i| *i != order);
        let others: String = others.map(|i| format!(", c{i}")).collect();
        // Zeros of two signs are peers in a system, and are not here.
        let total = match kinds.contains(&Kind::Float) {
            true => None,
            false => Some(format!("{by}{others}")),
        };
        // DataFusion has no range frame over bytes or times.
        let ranged = !matches!(kinds[order], Kind::Binary | Kind::Time);
        match self.draw.below(12) {
            0 => {
                // As for the order of a query.
                let by = format!("{by}{}", either("", &others));
                Some((format!("row_number() OVER ({by})"), Kind::Int))
            }
            1 => Some((format!("row_number() OVER ({by}{others})"), Kind::Int)),
            2 if ranged => Some((format!("rank() OVER ({by})"), Kind::Int)),
            3 if ranged => Some((format!("dense_rank() OVER ({by})"), Kind::Int)),
            4 => {
                let function = *self.draw.one_of(&["lag", "lead"]);
                let offset = *self.draw.one_of(&["", ", 2"]);
                let window = format!("{function}(c{value}{offset}) OVER ({})", total?);
                Some((window, kinds[value]))
            }
            5 => {
                let function = *self.draw.one_of(&["first_value", "last_value"]);
                let window = format!("{function}(c{value}) OVER ({})", self.rows(&total?));
                Some((window, kinds[value]))
            }
            6 => {
                let over = self.rows(&total?);
                self.aggregated(value, kinds[value], &over)
            }
            7 | 8 => self.aggregated(value, kinds[value], &part),
            _ if ranged => self.aggregated(value, kinds[value], &by),
            _ => None,
        }
    }

    /// A frame of rows.
    fn rows(&mut self, order: &str) -> String {
        let frame = *self.draw.one_of(&[
            "BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
            "BETWEEN 1 PRECEDING AND 1 FOLLOWING",
            "BETWEEN 2 PRECEDING AND 1 PRECEDING",
            "BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING",
            "BETWEEN 1 FOLLOWING AND 3 FOLLOWING",
        ]);
        format!("{order} ROWS {frame}")
    }

    fn aggregated(&mut self, value: usize, kind: Kind, over: &str) -> Option<(String, Kind)> {
        let of = |function: &str| format!("{function}(c{value}) OVER ({over})");
        match (self.draw.below(5), kind) {
            (0, _) => Some((format!("count(*) OVER ({over})"), Kind::Int)),
            // Sums of floats and their extremes depend on the order of peers, in DataFusion too.
            (1, _) | (_, Kind::Float) => Some((of("count"), Kind::Int)),
            (2, Kind::Int) => {
                let sum = of("sum");
                // Integers wrap into 64 bits; where they would, DuckDB has no answer.
                Some((either(&sum, &format!("CAST({sum} AS BIGINT)")), kind))
            }
            (2, Kind::Decimal) => {
                let why = "DuckDB's sum of decimals is as wide as can be";
                Some((ours_alone(&of("sum"), why), kind))
            }
            (_, Kind::Boolean | Kind::Time | Kind::Binary) => Some((of("count"), Kind::Int)),
            (2 | 3, _) => Some((of("min"), kind)),
            _ => Some((of("max"), kind)),
        }
    }
}
