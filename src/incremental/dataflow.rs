//! A view's operators, put together, and an epoch that goes through them.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;

use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, exec_err};

use super::errors::Errors;
use super::progress::Progress;
use crate::store::{Pinned, ZSet, batch};

/// What an epoch does to one input. The change has all columns of the table, and need not be consolidated. Snapshots have
/// the indexes that the dataflow was started with, also that of an empty table before the first epoch.
#[derive(Clone, Debug)]
pub struct Moved {
    pub before: Pinned,
    pub change: Option<ZSet>,
    pub after: Pinned,
}

/// What an epoch does to the view.
#[derive(Debug)]
pub struct Output {
    /// In pieces. All of them together are the change; the same row may come in one and go in another.
    pub rows: Vec<ZSet>,
    /// Why rows are missing, in one column, `message`: as long as one is there the view has no right answer.
    pub errors: ZSet,
}

/// A view that is kept: operators with their state.
#[derive(Debug)]
pub struct Dataflow {
    root: Box<dyn Operator>,
    schema: SchemaRef,
    /// How often each input is read.
    reads: Vec<u64>,
    is_first: bool,
    /// When the clock itself changes something next.
    due: Option<i64>,
}

/// An epoch as operators see it.
pub(super) struct Epoch<'a> {
    pub(super) inputs: &'a [Moved],
    /// Nanoseconds since 1970 in UTC: what `now()` is.
    pub(super) clock: i64,
    /// The dataflow's first: all that is there comes now.
    pub(super) is_first: bool,
    progress: &'a Progress,
    errors: RefCell<Errors>,
    due: Cell<Option<i64>>,
}

/// Where an operator's output goes, piece by piece.
pub(super) type Sink<'a> = dyn FnMut(ZSet) -> Result<()> + 'a;

/// Takes the changes of its inputs and gives its own. Inputs belong to it; what belongs to several is
/// [`Shared`](super::shared::Shared), and each has a reader of its own.
pub(super) trait Operator: Debug + Send {
    fn schema(&self) -> &SchemaRef;

    /// Take an epoch over.
    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()>;

    /// What it keeps in memory, with its inputs.
    fn bytes(&self) -> usize;
}

impl Epoch<'_> {
    /// A row for which an expression has failed comes or goes.
    pub(super) fn failed(&self, message: String, weight: i64) {
        self.errors.borrow_mut().add(message, weight);
    }

    /// When the clock comes to this, something changes though no input does.
    pub(super) fn is_due(&self, clock: i64) {
        let first = self.due.get().map_or(clock, |due| due.min(clock));
        self.due.set(Some(first));
    }

    /// Some of an input's rows have been taken, as often as it is read.
    pub(super) fn took(&self, rows: u64) {
        self.progress.took(rows);
    }

    /// So many bytes are kept, or wait to be.
    ///
    /// # Errors
    /// If there is no room for them.
    pub(super) fn takes(&self, bytes: usize) -> Result<()> {
        self.progress.takes(bytes)
    }

    /// # Errors
    /// If nobody wants what is computed any more. Asked by whatever may take long.
    pub(super) fn go_on(&self) -> Result<()> {
        self.progress.go_on()
    }
}

impl Dataflow {
    pub(super) fn new(root: Box<dyn Operator>, schema: SchemaRef, reads: Vec<u64>) -> Self {
        Self {
            root,
            schema,
            reads,
            is_first: true,
            due: None,
        }
    }

    /// Of how many rows of its inputs the first step's [`Progress`] is.
    pub fn rows(&self, inputs: &[Pinned]) -> u64 {
        let rows = self.reads.iter().zip(inputs);
        rows.map(|(reads, input)| reads * input.row_count()).sum()
    }

    /// When the clock changes something next, if no input does before: nanoseconds since 1970.
    pub fn due(&self) -> Option<i64> {
        self.due
    }

    /// What operators keep in memory.
    pub fn bytes(&self) -> usize {
        self.root.bytes()
    }

    /// What an epoch changes: each input's change, with the input before and after it, in the order of
    /// [`Compiled::inputs`](super::Compiled::inputs). The first step is given what is there as a change of nothing. `clock`:
    /// what the epoch takes for now, in nanoseconds since 1970; it never goes back.
    ///
    /// # Errors
    /// If memory does not suffice, a change takes away what was not there, or it is cancelled: the state is no longer of use.
    pub fn step(
        &mut self,
        epoch: u64,
        clock: i64,
        inputs: &[Moved],
        progress: &Progress,
    ) -> Result<Output> {
        if inputs.len() != self.reads.len() {
            return exec_err!("epoch {epoch} is of {} inputs", inputs.len());
        }
        let epoch = Epoch {
            inputs,
            clock,
            is_first: std::mem::take(&mut self.is_first),
            progress,
            errors: RefCell::default(),
            due: Cell::default(),
        };
        let mut rows = Vec::new();
        let has_changed = inputs.iter().any(|input| {
            input
                .change
                .as_ref()
                .is_some_and(|change| !change.is_empty())
        });
        let is_due = self.due.is_some_and(|due| due <= clock);
        if has_changed || is_due || epoch.is_first {
            let schema = &self.schema;
            self.root.step(&epoch, &mut |piece| {
                if !piece.is_empty() {
                    epoch.takes(piece.bytes())?;
                    let columns = piece.rows().columns().to_vec();
                    let named = batch(schema, columns, piece.len())?;
                    rows.push(ZSet::new(named, piece.weights_buffer().clone())?);
                }
                Ok(())
            })?;
            self.due = epoch.due.get();
        }
        Ok(Output {
            rows,
            errors: epoch.errors.into_inner().zset()?,
        })
    }
}
