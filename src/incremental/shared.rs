//! Subplans that a query has more than once, kept once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::datatypes::SchemaRef;
use datafusion::common::Result;

use super::dataflow::{Epoch, Operator, Sink};
use crate::store::ZSet;

/// Something with state that is asked for what an epoch gives by several, each once: the first has it computed, and the
/// others get the same.
#[derive(Debug)]
pub(super) struct Shared<State, Given> {
    node: Arc<Mutex<Node<State, Given>>>,
    /// One of those that ask counts what it keeps.
    is_counted_here: bool,
}

#[derive(Debug)]
struct Node<State, Given> {
    state: State,
    readers: usize,
    /// What the epoch gives, as long as there are readers that have not asked: so many.
    given: Option<Given>,
    waiting: usize,
}

impl<State, Given: Clone> Shared<State, Given> {
    /// With no reader yet.
    pub(super) fn new(state: State) -> Self {
        Self {
            node: Arc::new(Mutex::new(Node {
                state,
                readers: 0,
                given: None,
                waiting: 0,
            })),
            is_counted_here: false,
        }
    }

    /// For one reader more, before there is an epoch.
    pub(super) fn reader(&self) -> Self {
        let mut node = self.lock();
        node.readers += 1;
        Self {
            node: self.node.clone(),
            is_counted_here: node.readers == 1,
        }
    }

    pub(super) fn with<T>(&self, of: impl FnOnce(&mut State) -> T) -> T {
        of(&mut self.lock().state)
    }

    /// What an epoch gives.
    pub(super) fn given(&self, step: impl FnOnce(&mut State) -> Result<Given>) -> Result<Given> {
        let mut node = self.lock();
        let given = match node.given.take() {
            Some(given) => given,
            None => {
                node.waiting = node.readers;
                step(&mut node.state)?
            }
        };
        node.waiting -= 1;
        if node.waiting > 0 {
            node.given = Some(given.clone());
        }
        Ok(given)
    }

    /// What it keeps in memory, where that is counted.
    pub(super) fn bytes(&self, of: impl FnOnce(&State) -> usize) -> usize {
        match self.is_counted_here {
            true => of(&self.lock().state),
            false => 0,
        }
    }

    fn has_one_reader(&self) -> bool {
        self.lock().readers == 1
    }

    /// Subplans lie within each other, never in themselves: nobody waits for himself.
    fn lock(&self) -> MutexGuard<'_, Node<State, Given>> {
        self.node.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) type SharedOperator = Shared<Box<dyn Operator>, Vec<ZSet>>;

/// A reader of an operator.
#[derive(Debug)]
pub(super) struct Tap {
    from: SharedOperator,
    schema: SchemaRef,
}

impl Tap {
    pub(super) fn new(from: SharedOperator) -> Self {
        let schema = from.with(|from| from.schema().clone());
        Self { from, schema }
    }
}

impl Operator for Tap {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn step(&mut self, epoch: &Epoch, out: &mut Sink) -> Result<()> {
        if self.from.has_one_reader() {
            return self.from.with(|from| from.step(epoch, out));
        }
        let pieces = self.from.given(|from| {
            let mut pieces = Vec::new();
            from.step(epoch, &mut |piece| {
                epoch.takes(piece.bytes())?;
                pieces.push(piece);
                Ok(())
            })?;
            Ok(pieces)
        })?;
        pieces.into_iter().try_for_each(out)
    }

    fn bytes(&self) -> usize {
        self.from.bytes(|from| from.bytes())
    }
}
