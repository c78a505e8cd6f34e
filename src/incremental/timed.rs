//! Rows that are there from some time on, or until some time: the clock itself makes changes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::mem;
use std::ops::Bound as End;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::CastExpr;

use super::PIECE_ROWS;
use super::bound::{Bound, FOREVER, Window, window, windows};
use super::dataflow::{Epoch, Operator, Sink};
use super::map::{Map, column};
use crate::store::{ZSet, batch};

/// Zones shift, and months end, at a quarter of an hour: between two of them a moment that is computed of the clock does not
/// go back.
const QUARTER: i64 = 15 * 60 * 1_000_000_000;
/// How far it is looked ahead: a day.
const QUARTERS: i64 = 96;
/// What a row takes besides its bytes: its place in the map, with the room beside it, and the pointer to them.
const ROW_BYTES: usize = 64;
/// Moments that are computed at once where one is looked for between two.
const SAMPLES: i64 = 64;

/// A filter by the clock: the rows whose key lies in a window that moves as time passes.
///
/// ```text
///            will not be again     there       waits to come
///   keys ──────────────────────┤▒▒▒▒▒▒▒▒▒▒▒▒▒├──────────────────▶
///                            from           to
/// ```
///
/// Rows whose turn to come or to go is yet to be are kept, ordered by their keys: what a tick costs is the rows that come and go
/// with it. Those that have gone for good, or are there for good, are not kept.
#[derive(Debug)]
pub(super) struct Timed {
    input: Box<dyn Operator>,
    /// The input's columns, and the key behind them.
    keyed: Map,
    bounds: Vec<Bound>,
    codec: Codec,
    /// By key and bytes, how often each row is there.
    rows: BTreeMap<(i64, Box<[u8]>), i64>,
    /// What they take in memory.
    row_bytes: usize,
    /// Rows before this key are not kept: nothing will change for them.
    kept_from: i128,
    /// Where the last epoch has left it.
    now: Option<Window>,
    /// When the first of these keys comes or goes.
    next: Option<(Edges, i64)>,
}

/// The keys that are next to come or go, at either end of the window.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Edges {
    from: Neighbours,
    to: Neighbours,
}

/// The keys that an end of the window passes first: as it goes on, and as it goes back, if it can.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Neighbours {
    on: Option<i64>,
    back: Option<i64>,
}

impl Timed {
    pub(super) fn new(
        input: Box<dyn Operator>,
        key: Arc<dyn PhysicalExpr>,
        bounds: Vec<Bound>,
    ) -> Result<Self> {
        let schema = input.schema().clone();
        let key: Arc<dyn PhysicalExpr> = Arc::new(CastExpr::new(key, DataType::Int64, None));
        let columns = (0..schema.fields().len())
            .map(|i| (column(&schema, i), schema.field(i).name().clone()))
            .chain([(key, "__key".to_string())]);
        Ok(Self {
            keyed: Map::new(&schema, None, columns.collect())?,
            bounds,
            codec: Codec::new(schema)?,
            input,
            rows: BTreeMap::new(),
            row_bytes: 0,
            kept_from: i128::MIN,
            now: None,
            next: None,
        })
    }

    /// The window has moved on: what comes and goes with that.
    fn turn(&self, before: Window, now: Window, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let from = (before.from.min(now.from), before.from.max(now.from));
        let to = (before.to.min(now.to), before.to.max(now.to));
        // A row that is passed by both ends is looked at once.
        let ranges = match from.0 < to.1 && to.0 < from.1 {
            true => vec![(from.0.min(to.0), from.1.max(to.1))],
            false => vec![from, to],
        };
        let passed = ranges
            .into_iter()
            .flat_map(|(from, to)| self.between(from, to));
        let (mut rows, mut weights) = (Vec::new(), Vec::new());
        for ((key, row), count) in passed {
            #[cfg(test)]
            super::reading::work::READ.with(|read| read.set(read.get() + 1));
            match (before.has(*key), now.has(*key)) {
                (true, false) => weights.push(-count),
                (false, true) => weights.push(*count),
                _ => continue,
            }
            rows.push(row.as_ref());
            if rows.len() == PIECE_ROWS {
                epoch.go_on()?;
                let piece = self.codec.decoded(&mem::take(&mut rows))?;
                out(ZSet::new(piece, mem::take(&mut weights))?)?;
            }
        }
        match rows.is_empty() {
            true => Ok(()),
            false => out(ZSet::new(self.codec.decoded(&rows)?, weights)?),
        }
    }

    /// Rows from a key on, before another.
    fn between(
        &self,
        from: i128,
        to: i128,
    ) -> impl DoubleEndedIterator<Item = (&(i64, Box<[u8]>), &i64)> {
        let rows = (from < to).then(|| {
            let start = place(from).map_or(End::Unbounded, End::Included);
            let end = place(to).map_or(End::Unbounded, End::Excluded);
            self.rows.range((start, end))
        });
        rows.into_iter().flatten()
    }

    /// Forget rows for which nothing will change any more.
    fn forget(&mut self, clock: i64) -> Result<()> {
        let (mut least, mut most) = (None, None);
        for bound in &self.bounds {
            let key = bound.never_before(clock)?;
            match bound.is_least {
                true => least = least.max(Some(key)),
                false => most = Some(most.map_or(key, |most: i128| most.min(key))),
            }
        }
        // Without an end they are there for good once they have come; else until that has passed.
        let settled = least.or(most).unwrap_or(i128::MIN);
        self.kept_from = self.kept_from.max(settled);
        while let Some(first) = self.rows.first_entry() {
            if i128::from(first.key().0) >= self.kept_from {
                break;
            }
            let ((_, row), _) = first.remove_entry();
            self.row_bytes -= bytes_of(&row);
        }
        Ok(())
    }

    /// What the input changes, under the window as it is now.
    fn take(&mut self, window: Window, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let has_end = self.bounds.iter().any(|bound| !bound.is_least);
        let Self {
            input,
            keyed,
            codec,
            rows,
            row_bytes,
            kept_from,
            ..
        } = self;
        input.step(epoch, &mut |piece| {
            let failed = &mut |message, weight| epoch.failed(message, weight);
            let piece = keyed.apply_each(&piece, failed)?;
            let mut columns = piece.rows().columns().to_vec();
            let keys = columns.pop().expect("the key is the last column");
            let keys: &Int64Array = keys.as_primitive();
            let chosen = |is_chosen: &dyn Fn(i64) -> bool| {
                let each = keys.iter().map(|key| key.is_some_and(is_chosen));
                each.collect::<Vec<bool>>()
            };
            // Before the last key there is always another moment: such a row has no end.
            let waits = chosen(&|key| i128::from(key) >= *kept_from && (has_end || key < i64::MAX));
            let (keys, weights) = (keys.values(), piece.weights());
            let is_there = chosen(&|key| window.has(key));
            let kept = codec.encoded(&filtered(&columns, &waits)?, &waits)?;
            let waiting = (0..waits.len()).filter(|&i| waits[i]);
            for (i, row) in waiting.zip(kept) {
                let bytes = bytes_of(&row);
                match rows.entry((keys[i], row)) {
                    Entry::Vacant(entry) => {
                        epoch.takes(bytes)?;
                        *row_bytes += bytes;
                        entry.insert(weights[i]);
                    }
                    Entry::Occupied(mut entry) => match entry.get() + weights[i] {
                        0 => {
                            *row_bytes -= bytes;
                            entry.remove();
                        }
                        count => *entry.get_mut() = count,
                    },
                }
            }
            let there: Vec<i64> = picked(weights, &is_there);
            match there.is_empty() {
                true => Ok(()),
                false => {
                    let columns = filtered(&columns, &is_there)?;
                    let rows = batch(&codec.schema, columns, there.len())?;
                    out(ZSet::new(rows, there)?)
                }
            }
        })
    }

    /// When something comes or goes next, unless the input changes before.
    fn due(&mut self, window: Window, clock: i64) -> Result<Option<i64>> {
        let edges = self.edges(window);
        if edges.is_empty() {
            self.next = None;
            return Ok(None);
        }
        if let Some((known, due)) = self.next
            && known == edges
            && due > clock
        {
            return Ok(Some(due));
        }
        let due = self.first(&edges, clock)?;
        self.next = Some((edges, due));
        Ok(Some(due))
    }

    fn edges(&self, window: Window) -> Edges {
        let key = |entry: Option<(&(i64, Box<[u8]>), &i64)>| entry.map(|((key, _), _)| *key);
        let neighbours = |end: i128, is_least: bool| {
            let mut bounds = self
                .bounds
                .iter()
                .filter(|bound| bound.is_least == is_least);
            let (is_there, goes_back) = (
                bounds.clone().next().is_some(),
                bounds.any(Bound::goes_back),
            );
            let on = is_there.then(|| key(self.between(end, FOREVER).next()));
            let back = goes_back.then(|| key(self.between(i128::MIN, end).next_back()));
            Neighbours {
                on: on.flatten(),
                back: back.flatten(),
            }
        };
        Edges {
            from: neighbours(window.from, true),
            to: neighbours(window.to, false),
        }
    }

    /// The first moment after this one at which one of these keys is passed. If it is not within a day: when to look again.
    fn first(&self, edges: &Edges, clock: i64) -> Result<i64> {
        let next = clock.div_euclid(QUARTER).saturating_add(1);
        let quarters = (next..next.saturating_add(QUARTERS)).map(|n| n.saturating_mul(QUARTER));
        let mut moments: Vec<i64> = quarters
            .flat_map(|at| [at - 1, at])
            .filter(|at| *at > clock)
            .collect();
        let mut before = clock;
        loop {
            let windows = windows(&self.bounds, &moments)?;
            let last = moments.len() - 1;
            let Some(found) = windows.iter().position(|window| edges.are_passed(*window)) else {
                return Ok(moments[last]);
            };
            if found > 0 {
                before = moments[found - 1];
            }
            let at = moments[found];
            if at - before <= 1 {
                return Ok(at);
            }
            let step = ((at - before) / SAMPLES).max(1);
            let between = (1..)
                .map(|n| before + n * step)
                .take_while(|moment| *moment < at);
            moments = between.chain([at]).collect();
        }
    }
}

impl Operator for Timed {
    fn schema(&self) -> &SchemaRef {
        &self.codec.schema
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        let now = window(&self.bounds, epoch.clock)?;
        if let Some(before) = self.now.replace(now) {
            self.turn(before, now, epoch, out)?;
        }
        self.forget(epoch.clock)?;
        self.take(now, epoch, out)?;
        if let Some(due) = self.due(now, epoch.clock)? {
            epoch.is_due(due);
        }
        Ok(())
    }

    fn bytes(&self) -> usize {
        self.input.bytes() + self.row_bytes
    }
}

fn bytes_of(row: &[u8]) -> usize {
    row.len() + ROW_BYTES
}

impl Edges {
    fn is_empty(&self) -> bool {
        let keys = [self.from.on, self.from.back, self.to.on, self.to.back];
        keys.iter().all(Option::is_none)
    }

    fn are_passed(&self, window: Window) -> bool {
        self.from.are_passed(window.from) || self.to.are_passed(window.to)
    }
}

impl Neighbours {
    fn are_passed(&self, end: i128) -> bool {
        self.on.is_some_and(|key| i128::from(key) < end)
            || self.back.is_some_and(|key| i128::from(key) >= end)
    }
}

/// The first place of a key among rows. None: it is beyond all.
fn place(key: i128) -> Option<(i64, Box<[u8]>)> {
    let key = i64::try_from(key.max(i64::MIN.into())).ok()?;
    Some((key, Box::default()))
}

fn picked(weights: &[i64], is_picked: &[bool]) -> Vec<i64> {
    let picked = weights.iter().zip(is_picked);
    picked
        .filter(|(_, picked)| **picked)
        .map(|(weight, _)| *weight)
        .collect()
}

fn filtered(columns: &[ArrayRef], is_kept: &[bool]) -> Result<Vec<ArrayRef>> {
    let mask = BooleanArray::from(is_kept.to_vec());
    let columns = columns.iter().map(|column| filter(column, &mask));
    Ok(columns.collect::<Result<_, _>>()?)
}

/// Rows as bytes: rows that are the same have the same.
#[derive(Debug)]
struct Codec {
    schema: SchemaRef,
    converter: RowConverter,
}

impl Codec {
    fn new(schema: SchemaRef) -> Result<Self> {
        let fields = schema.fields().iter();
        let fields = fields.map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        Ok(Self { schema, converter })
    }

    fn encoded(&self, columns: &[ArrayRef], is_kept: &[bool]) -> Result<Vec<Box<[u8]>>> {
        if columns.is_empty() {
            let len = is_kept.iter().filter(|kept| **kept).count();
            return Ok(vec![Box::default(); len]);
        }
        let rows = self.converter.convert_columns(columns)?;
        Ok(rows.iter().map(|row| row.data().into()).collect())
    }

    fn decoded(&self, rows: &[&[u8]]) -> Result<RecordBatch> {
        if self.schema.fields().is_empty() {
            return Ok(batch(&self.schema, Vec::new(), rows.len())?);
        }
        let parser = self.converter.parser();
        let columns = self
            .converter
            .convert_rows(rows.iter().map(|row| parser.parse(row)))?;
        // Dictionaries come back as what they stand for.
        let typed = columns.iter().zip(self.schema.fields());
        let typed = typed.map(
            |(column, field)| match column.data_type() == field.data_type() {
                true => Ok(column.clone()),
                false => cast(column, field.data_type()),
            },
        );
        let typed = typed.collect::<Result<_, _>>()?;
        Ok(batch(&self.schema, typed, rows.len())?)
    }
}
