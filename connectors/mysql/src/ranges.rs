//! Ranges of a whole number that have about as many rows each.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use belvedere_connector::{BinaryOp, Expr, ExprKind, Literal, Rel};

/// How many pieces are counted at once.
const PIECES: usize = 64;
/// How often pieces with too many rows are cut again: one that is 2^64 wide is known to the number by then.
const ROUNDS: usize = 11;
/// Pieces of an even range, so that ranges differ by a part of one at most.
const FINENESS: u64 = 8;

/// A half-open range of a key; without an end it goes on for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    from: Option<i128>,
    to: Option<i128>,
}

impl Range {
    /// The ranges that cuts divide all numbers into: every number is in exactly one.
    pub fn between(cuts: &[i128]) -> Vec<Self> {
        let from = std::iter::once(None).chain(cuts.iter().copied().map(Some));
        let to = cuts.iter().copied().map(Some).chain([None]);
        from.zip(to).map(|(from, to)| Self { from, to }).collect()
    }

    /// The rows of a row-wise relation over one table whose key is in the range.
    pub fn of(&self, rel: &Rel, key: &Field) -> Rel {
        match rel {
            Rel::Scan { table, schema } => {
                let known = schema.index_of(key.name()).ok();
                let mut fields = schema.fields().to_vec();
                if known.is_none() {
                    fields.push(Arc::new(key.clone()));
                }
                let at = known.unwrap_or(schema.fields().len());
                let rows = Rel::Scan {
                    table: table.clone(),
                    schema: Arc::new(Schema::new(fields)),
                };
                let rows = Rel::Filter {
                    input: Box::new(rows),
                    predicates: self.predicates(at, key.data_type()),
                };
                match known {
                    Some(_) => rows,
                    None => Rel::Project {
                        input: Box::new(rows),
                        columns: columns_of(schema),
                    },
                }
            }
            Rel::Filter { input, predicates } => Rel::Filter {
                input: Box::new(self.of(input, key)),
                predicates: predicates.clone(),
            },
            Rel::Project { input, columns } => Rel::Project {
                input: Box::new(self.of(input, key)),
                columns: columns.clone(),
            },
            // Not row-wise: no part of it is a part of the answer.
            other => other.clone(),
        }
    }

    fn predicates(&self, column: usize, data_type: &DataType) -> Vec<Expr> {
        let limit = |op, value: i128| Expr {
            kind: ExprKind::Binary {
                op,
                left: Box::new(Expr::column(column, data_type.clone(), false)),
                right: Box::new(Expr::literal(number(value, data_type), data_type.clone())),
            },
            data_type: DataType::Boolean,
            nullable: false,
        };
        let from = self.from.map(|value| limit(BinaryOp::GtEq, value));
        let to = self.to.map(|value| limit(BinaryOp::Lt, value));
        from.into_iter().chain(to).collect()
    }
}

/// A value of a whole number's column: a cut is never outside what the column can hold.
fn number(value: i128, data_type: &DataType) -> Literal {
    match data_type.is_unsigned_integer() {
        true => Literal::UInt(value as u64),
        false => Literal::Int(value as i64),
    }
}

fn columns_of(schema: &Schema) -> Vec<(Expr, String)> {
    let column = |(i, field): (usize, &Arc<Field>)| {
        let expr = Expr::column(i, field.data_type().clone(), field.is_nullable());
        (expr, field.name().clone())
    };
    schema.fields().iter().enumerate().map(column).collect()
}

/// The numbers from `least` to `greatest`, both of which are part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    pub least: i128,
    pub greatest: i128,
}

impl Piece {
    /// The part of it that a relation's own conditions on the key leave; all of it where none is left.
    pub fn asked_for(self, rel: &Rel, key: &Field) -> Self {
        let (input, predicates) = match rel {
            Rel::Filter { input, predicates } => (input, &predicates[..]),
            Rel::Project { input, .. } => (input, &[][..]),
            _ => return self,
        };
        let schema = input.schema();
        let is_key = |expr: &Expr| {
            let field = expr.as_column().and_then(|i| schema.fields().get(i));
            field.is_some_and(|field| field.name() == key.name())
        };
        let mut left = self.asked_for(input, key);
        for predicate in predicates {
            let ExprKind::Binary {
                op,
                left: column,
                right,
            } = &predicate.kind
            else {
                continue;
            };
            let limit = match &right.kind {
                ExprKind::Literal(Literal::Int(limit)) => i128::from(*limit),
                ExprKind::Literal(Literal::UInt(limit)) => i128::from(*limit),
                _ => continue,
            };
            if !is_key(column) {
                continue;
            }
            match op {
                BinaryOp::Gt => left.least = left.least.max(limit + 1),
                BinaryOp::GtEq => left.least = left.least.max(limit),
                BinaryOp::Lt => left.greatest = left.greatest.min(limit - 1),
                BinaryOp::LtEq => left.greatest = left.greatest.min(limit),
                _ => {}
            }
        }
        match left.least <= left.greatest {
            true => left,
            false => self,
        }
    }

    fn cut(self, into: usize) -> Vec<Self> {
        let width = self.greatest - self.least + 1;
        let into = width.min(into as i128);
        let start = |i: i128| self.least + width * i / into;
        (0..into)
            .map(|i| Self {
                least: start(i),
                greatest: start(i + 1) - 1,
            })
            .collect()
    }
}

/// Looks for the cuts that put about as many rows into each of so many ranges; fewer where the rows of one number are more
/// than that.
#[derive(Debug)]
pub(crate) struct Search {
    ranges: u64,
    rounds: usize,
    known: Vec<(Piece, u64)>,
    /// Pieces whose rows are to be counted; they take the place of the pieces known that have too many.
    open: Vec<Piece>,
}

impl Search {
    pub fn new(all: Piece, ranges: usize) -> Self {
        Self {
            ranges: ranges as u64,
            rounds: 1,
            known: vec![(all, 0)],
            open: all.cut(PIECES),
        }
    }

    /// The pieces to count now; none at the end.
    pub fn pieces(&self) -> &[Piece] {
        &self.open
    }

    /// About how many rows each of them has.
    pub fn counted(&mut self, rows: &[u64]) {
        let mut counted = std::mem::take(&mut self.open)
            .into_iter()
            .zip(rows.iter().copied())
            .peekable();
        let mut known = Vec::new();
        for found in &self.known {
            let before = known.len();
            while let Some(part) = counted.next_if(|(piece, _)| piece.greatest <= found.0.greatest)
            {
                known.push(part);
            }
            if known.len() == before {
                known.push(*found);
            }
        }
        self.known = known;
        if self.rounds < ROUNDS {
            self.rounds += 1;
            self.open = self.finer();
        }
    }

    /// What pieces with too many rows consist of.
    fn finer(&self) -> Vec<Piece> {
        let total: u64 = self.known.iter().map(|(_, rows)| rows).sum();
        let many = total / (self.ranges * FINENESS);
        let heavy: Vec<Piece> = self
            .known
            .iter()
            .filter(|(piece, rows)| *rows > many && piece.greatest > piece.least)
            .map(|(piece, _)| *piece)
            .collect();
        let each = (PIECES / heavy.len().max(1)).max(2);
        heavy
            .into_iter()
            .flat_map(|piece| piece.cut(each))
            .collect()
    }

    /// The starts of pieces at which the ranges are nearest to even.
    pub fn cuts(&self) -> Vec<i128> {
        let total: u64 = self.known.iter().map(|(_, rows)| rows).sum();
        let mut cuts = Vec::new();
        let mut before = 0;
        for (piece, rows) in &self.known {
            let made = cuts.len() as u64;
            let due = total * (made + 1) / self.ranges;
            // Most of the piece is behind the place: it belongs to the next range.
            if before > 0 && made + 1 < self.ranges && before + rows / 2 >= due {
                cuts.push(piece.least);
            }
            before += rows;
        }
        cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of each range that the cuts of these keys make.
    fn rows(keys: &[i128], ranges: usize) -> Vec<usize> {
        let mut keys = keys.to_vec();
        keys.sort_unstable();
        let (least, greatest) = (keys[0], keys[keys.len() - 1]);
        let below = |limit: i128| keys.partition_point(|key| *key < limit);
        let mut search = Search::new(Piece { least, greatest }, ranges);
        let mut rounds = 0;
        while !search.pieces().is_empty() {
            rounds += 1;
            let pieces = search.pieces();
            assert!(pieces.len() <= 2 * PIECES.max(ranges * FINENESS as usize));
            let within = |piece: &Piece| (below(piece.greatest + 1) - below(piece.least)) as u64;
            let rows: Vec<u64> = pieces.iter().map(within).collect();
            search.counted(&rows);
        }
        let cuts = search.cuts();
        assert!(rounds <= ROUNDS);
        assert!(cuts.is_sorted_by(|a, b| a < b));
        assert!(cuts.iter().all(|cut| least < *cut && *cut <= greatest));
        let found = Range::between(&cuts);
        let within = |range: &Range| {
            let holds = |key: &&i128| {
                range.from.is_none_or(|from| from <= **key) && range.to.is_none_or(|to| **key < to)
            };
            keys.iter().filter(holds).count()
        };
        let rows: Vec<usize> = found.iter().map(within).collect();
        assert_eq!(rows.iter().sum::<usize>(), keys.len());
        rows
    }

    fn is_even(rows: &[usize], ranges: usize) -> bool {
        let (least, most) = (rows.iter().min(), rows.iter().max());
        rows.len() == ranges
            && most
                .zip(least)
                .is_some_and(|(most, least)| *most < least * 3 / 2)
    }

    #[test]
    fn ranges_are_even_whatever_the_keys() {
        let plain: Vec<i128> = (1..=100_000).collect();
        let far = [&plain[..], &[i128::from(u64::MAX)]].concat();
        let low = [&plain[..], &[i128::from(i64::MIN), i128::from(i64::MAX)]].concat();
        let squares: Vec<i128> = (0..100_000).map(|i| i * i).collect();
        let clusters: Vec<i128> = (0..100_000)
            .map(|i| (i / 10_000) * 1_000_000_007 + i % 10_000)
            .collect();
        for keys in [plain, far, low, squares, clusters] {
            for ranges in [2, 3, 4, 8] {
                let rows = rows(&keys, ranges);
                assert!(is_even(&rows, ranges), "{rows:?}");
            }
        }
    }

    #[test]
    fn few_keys_give_few_ranges() {
        assert_eq!(rows(&[5; 1000], 4), [1000]);
        assert_eq!(rows(&[i128::from(u64::MAX)], 4), [1]);
        // A key of several columns, whose first has two values.
        let two: Vec<i128> = (0..1000).map(|i| i % 2).collect();
        assert_eq!(rows(&two, 4), [500, 500]);
        assert_eq!(rows(&[1, 2, 3], 8).iter().sum::<usize>(), 3);
    }
}
