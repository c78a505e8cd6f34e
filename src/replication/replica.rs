//! One table of a source, kept here.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use belvedere_connector::{Captured, Change, Position, TableRef, Unchanged};

use super::pending::Pending;
use super::state::{Kept, State, Wanted};
use crate::store::{Error, Mapped, Pinned, Result, Table, ZSet, bytes_of};

pub(super) struct Replica {
    wanted: Wanted,
    table: Table,
    state: State,
    copy: Option<Copy>,
    /// It is copied though it is live: what it has may not be what its source has.
    is_renewed: bool,
    /// No copy of it is begun.
    is_held: bool,
    lost: Option<String>,
}

/// Rows as of a position, and what came after it.
struct Copy {
    at: Position,
    /// In memory.
    bytes: usize,
    rows: Vec<RecordBatch>,
    /// Changes of epochs that had not reached `at`, or for which the rows were not all there: those after `at` alone.
    held: Vec<Step>,
    is_done: bool,
}

/// What a transaction does to one table.
#[derive(Clone)]
pub(super) struct Step {
    /// Where the transaction before it ended.
    pub before: Position,
    pub end: Position,
    pub changes: Vec<Change>,
}

impl Replica {
    pub fn new(name: &str, wanted: Wanted) -> Self {
        Self {
            table: Table::new(wanted.shape(name)),
            wanted,
            state: State::Asked,
            copy: None,
            is_renewed: false,
            is_held: false,
            lost: None,
        }
    }

    /// # Errors
    /// If its content does not fit what it is of.
    pub fn restored(name: &str, kept: &Kept, epoch: u64) -> Result<Self> {
        let mut replica = Self::new(name, kept.wanted.clone());
        replica.state = kept.state.clone();
        replica.lost = kept.lost.clone();
        if let Some(content) = &kept.content {
            replica.table = Table::restore(kept.wanted.shape(name), epoch, content)?;
        }
        Ok(replica)
    }

    pub fn kept(&self) -> Kept {
        Kept {
            wanted: self.wanted.clone(),
            state: self.state.persisted(),
            content: (self.state.is_readable()).then(|| self.content().content()),
            lost: None,
        }
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }

    /// Its rows lie elsewhere now, too.
    pub fn remap(&mut self, mapped: &Mapped) {
        self.table.remap(mapped);
    }

    /// Why its content was not there after a restart, until it is again.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    pub fn captured(&self) -> &Captured {
        &self.wanted.captured
    }

    pub fn is_of(&self, table: &TableRef) -> bool {
        self.wanted.captured.table == *table
    }

    pub fn has(&self, column: &str) -> bool {
        let schema = &self.wanted.captured.schema;
        schema.column_with_name(column).is_some()
    }

    pub fn state(&self) -> &State {
        &self.state
    }

    /// The newest epoch's.
    pub fn content(&self) -> Pinned {
        self.table.snapshot()
    }

    pub fn is_uncopied(&self) -> bool {
        self.waits_for_copy() && self.copy.is_none() && !self.is_held
    }

    /// Whether a copy is to join it.
    pub fn waits_for_copy(&self) -> bool {
        matches!(self.state, State::Asked | State::Lost) || self.is_renewed
    }

    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether a copy of it has what was committed up to there.
    pub fn is_copied_behind(&self, position: &Position) -> bool {
        (self.copy.as_ref()).is_some_and(|copy| *position <= copy.at)
    }

    /// Whether there is a copy of it that has not joined, whole or not.
    pub fn has_copy(&self) -> bool {
        self.copy.is_some()
    }

    pub fn is_copying(&self) -> bool {
        self.copy.as_ref().is_some_and(|copy| !copy.is_done)
    }

    /// What its copy takes until it joins: it is put together then, once more.
    pub fn copy_bytes(&self) -> usize {
        self.copy.as_ref().map_or(0, |copy| 2 * copy.bytes)
    }

    /// Begin no copy, or begin one after all. What there is of one that is not whole is given up; what is live needs none.
    pub fn hold(&mut self, is_held: bool) {
        let is_live = self.state == State::Live;
        self.is_held = is_held && !is_live;
        if is_held {
            self.drop_copy();
            self.is_renewed = is_live && self.copy.is_some();
        }
    }

    pub fn begin_copy(&mut self, at: Position) {
        if self.is_uncopied() {
            self.copy = Some(Copy {
                at,
                bytes: 0,
                rows: Vec::new(),
                held: Vec::new(),
                is_done: false,
            });
        }
    }

    /// Rows of the copy, with all columns that were asked for. One that is whole, and waits for its epoch, is not of what is copied
    /// now for another replica of the table.
    pub fn copy_rows(&mut self, rows: &RecordBatch) {
        if let Some(copy) = self.copy.as_mut().filter(|copy| !copy.is_done) {
            match of_columns(rows, &self.wanted.captured.schema) {
                Ok(rows) => {
                    copy.bytes += bytes_of(&rows);
                    copy.rows.push(rows);
                }
                Err(e) => self.block(None, e.to_string()),
            }
        }
    }

    /// Find rows by these columns, too.
    ///
    /// # Errors
    /// If they are no columns of it.
    pub fn add_index(&mut self, columns: Vec<usize>) -> Result<()> {
        if self.table.shape().index_on(&columns).is_none() {
            self.table.add_index(&columns)?;
            self.wanted.indexes.push(columns);
        }
        Ok(())
    }

    pub fn end_copy(&mut self) {
        if let Some(copy) = &mut self.copy {
            copy.is_done = true;
        }
    }

    /// What is not done never will be.
    pub fn drop_copy(&mut self) {
        self.copy = self.copy.take().filter(|copy| copy.is_done);
    }

    /// What was done of a copy goes, too: what was received behind it is lost.
    pub fn drop_copies(&mut self) {
        self.copy = None;
    }

    /// The log that its content and its copy go on with is gone.
    pub fn lose(&mut self) {
        self.copy = None;
        if self.state == State::Live {
            self.state = State::Lost;
        }
    }

    /// Its rows may have changed with a transaction that ended there, and nothing tells how. A copy that is behind that has it.
    pub fn rewritten(&mut self, end: &Position) {
        let copy = self.copy.take().filter(|copy| *end <= copy.at);
        self.lose();
        self.copy = copy;
    }

    /// Copy it anew, if it is live. It goes on meanwhile.
    pub fn renew(&mut self) -> bool {
        self.is_renewed = self.state == State::Live;
        self.is_renewed
    }

    /// It cannot be had any more. What is there stays, as of `at`.
    pub fn block(&mut self, at: Option<Position>, reason: String) {
        self.copy = None;
        self.is_renewed = false;
        let at = at.filter(|_| self.state.is_readable());
        self.state = State::Blocked { at, reason };
    }

    /// Whether its copy joins an epoch that is at `position`.
    pub fn joins(&self, position: &Position) -> bool {
        self.copy
            .as_ref()
            .is_some_and(|copy| copy.is_done && copy.at <= *position)
    }

    /// Take an epoch's changes. With `is_joining` its copy becomes its content. `reached`: where its content is if
    /// nothing fits. What its content changed by, if it did.
    pub fn apply(
        &mut self,
        epoch: u64,
        steps: Vec<Step>,
        reached: Option<&Position>,
        is_joining: bool,
    ) -> Option<ZSet> {
        if self.wanted.is_watched {
            self.watch(steps, reached, is_joining);
            return None;
        }
        let mut pending = Pending::new(self.wanted.captured.schema.clone());
        if let Some(copy) = &mut self.copy {
            copy.hold(&steps);
        }
        let (rows, steps, from) = match self.copy.take_if(|_| is_joining) {
            Some(copy) => {
                pending.clear();
                self.is_renewed = false;
                (copy.rows, copy.held, Some(copy.at))
            }
            None if self.state == State::Live => (Vec::new(), steps, reached.cloned()),
            // Changes before a copy has begun are in its rows.
            None => return None,
        };
        let rows = rows.into_iter().map(|rows| Change::Rows {
            weights: vec![1; rows.num_rows()],
            rows,
        });
        let schema = &self.wanted.captured.schema;
        let pushed = rows.into_iter().try_for_each(|rows| pending.push(rows));
        let ended = pushed.and_then(|()| push(steps, from, schema, &mut pending));
        match ended.and_then(|ended| Ok((ended, self.change(epoch, pending)?))) {
            Ok((ended, change)) => {
                self.state = State::Live;
                self.lost = None;
                if let Some((at, reason)) = ended {
                    self.block(Some(at), reason);
                }
                Some(change)
            }
            Err(e) => {
                self.block(reached.cloned(), e.to_string());
                None
            }
        }
    }

    /// The same where no rows are kept.
    fn watch(&mut self, steps: Vec<Step>, reached: Option<&Position>, is_joining: bool) {
        let mut changes = steps.iter().flat_map(|step| &step.changes);
        let ends = changes.find_map(|change| match change {
            Change::Ends(error) => Some(error.to_string()),
            _ => None,
        });
        if let Some(reason) = ends {
            self.block(reached.cloned(), reason);
        } else if is_joining {
            self.copy = None;
            self.is_renewed = false;
            self.lost = None;
            self.state = State::Live;
        }
    }

    fn change(&mut self, epoch: u64, pending: Pending) -> Result<ZSet> {
        let change = pending.change(&self.table.snapshot())?;
        if !change.is_empty() {
            self.table.apply(epoch, &change)?;
            // Tidying up, as much as has come; it can as well be done the next time.
            let _ = self.table.compact(change.len());
        }
        Ok(change)
    }
}

impl Copy {
    /// Keep what comes behind it. Its rows have what was committed up to `at`.
    fn hold(&mut self, steps: &[Step]) {
        let is_in_rows = |step: &Step| step.end <= self.at;
        let after = steps.iter().filter(|step| !is_in_rows(step));
        let after: Vec<Step> = after.cloned().collect();
        let changes = after.iter().flat_map(|step| &step.changes);
        self.bytes += changes.map(change_bytes).sum::<usize>();
        self.held.extend(after);
    }
}

/// Changes up to one that ends the table: where its content is then, and why. `from`: where it is before.
fn push(
    steps: Vec<Step>,
    from: Option<Position>,
    schema: &SchemaRef,
    pending: &mut Pending,
) -> Result<Option<(Position, String)>> {
    for step in steps {
        let ends = step.changes.iter().find_map(|change| match change {
            Change::Ends(error) => Some(error.to_string()),
            _ => None,
        });
        if let Some(reason) = ends {
            // A copy may be newer than the transaction before.
            let at = from.filter(|from| *from > step.before);
            return Ok(Some((at.unwrap_or(step.before), reason)));
        }
        let mut changes = step.changes.into_iter();
        changes.try_for_each(|change| pending.push(narrowed(change, schema)?))?;
    }
    Ok(None)
}

/// In memory.
pub(super) fn change_bytes(change: &Change) -> usize {
    match change {
        Change::Rows { rows, weights } => bytes_of(rows) + size_of_val(weights.as_slice()),
        Change::ByKey { keys, rows, .. } => bytes_of(keys) + bytes_of(rows),
        Change::Truncate | Change::Anew | Change::Ends(_) => 0,
    }
}

/// What a change that is told of more columns does to some of them.
fn narrowed(change: Change, schema: &SchemaRef) -> Result<Change> {
    Ok(match change {
        Change::Rows { rows, weights } => Change::Rows {
            rows: of_columns(&rows, schema)?,
            weights,
        },
        Change::ByKey {
            keys,
            rows,
            is_there,
            unchanged,
        } => {
            let all = rows.schema();
            let unchanged = unchanged.into_iter().filter_map(|unchanged| {
                let name = all.fields().get(unchanged.column)?.name();
                let column = schema.index_of(name).ok()?;
                Some(Unchanged {
                    column,
                    ..unchanged
                })
            });
            Change::ByKey {
                keys,
                rows: of_columns(&rows, schema)?,
                is_there,
                unchanged: unchanged.collect(),
            }
        }
        other => other,
    })
}

/// Some columns of rows, by name.
fn of_columns(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    if rows.schema().fields() == schema.fields() {
        return Ok(rows.clone());
    }
    let columns = schema.fields().iter().map(|field| {
        let column = rows.column_by_name(field.name());
        column
            .cloned()
            .ok_or_else(|| Error::Shape(format!("a change has no column {}", field.name())))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(RecordBatch::try_new(schema.clone(), columns)?)
}
