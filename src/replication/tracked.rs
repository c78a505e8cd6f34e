//! One source: what comes from it, and what is kept of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use belvedere_connector::{Captured, Change, Error, Position, TableRef};

use super::epochs::Touched;
use super::feed::{Arrived, Feed, Received};
use super::replica::{Replica, Step};
use super::state::State;
use crate::store::{Pinned, ZSet};

/// Rows of transactions that wait for an epoch: with more, the source is read no further. A transaction alone may have more.
const MOST_QUEUED_ROWS: usize = 1 << 20;

pub(super) struct Tracked {
    name: String,
    feed: Feed,
    pub replicas: BTreeMap<String, Replica>,
    /// Received, and in no epoch yet.
    queue: VecDeque<Received>,
    queued_rows: usize,
    queued_bytes: usize,
    /// Where the newest epoch has it. At or before what was received, while that is of the same log. None: no copy has joined, and no
    /// epoch has it.
    pub reached: Option<Position>,
    /// What was reached is not in its log any more: until copies have joined, it stays where it is.
    is_lost: bool,
    /// Where it stood when it was asked first.
    start: Option<Position>,
    /// Nobody can have seen a later state of it than there is.
    is_settled: bool,
}

/// What a step with a source has come to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Progress {
    /// Nothing is left to do, or epochs have to be cut first.
    Idle,
    Moved,
    /// What readers are told of it is another thing now, at the same epoch.
    Told,
}

/// What an epoch has of a source, and what it did to replicas.
pub(super) struct Taken {
    pub told: Vec<(TableRef, Change)>,
    pub applied: Vec<Applied>,
}

/// What an epoch did to a replica.
pub(super) struct Applied {
    pub name: String,
    pub before: Pinned,
    pub change: Option<ZSet>,
    pub touched: Touched,
}

impl Tracked {
    pub fn new(
        name: &str,
        source: std::sync::Arc<dyn belvedere_connector::Source>,
        reached: Option<Position>,
    ) -> Self {
        Self {
            name: name.to_string(),
            feed: Feed::new(source, reached.clone()),
            replicas: BTreeMap::new(),
            queue: VecDeque::new(),
            queued_rows: 0,
            queued_bytes: 0,
            is_settled: reached.is_none(),
            reached,
            is_lost: false,
            start: None,
        }
    }

    /// The same on another source, which has to have the same log.
    pub fn on(self, other: Self) -> Self {
        let Self {
            mut replicas,
            reached,
            is_settled,
            ..
        } = self;
        replicas.values_mut().for_each(Replica::drop_copies);
        Self {
            feed: other.feed.from(reached.clone()),
            replicas,
            // What was shown is what there is.
            is_settled,
            reached,
            ..other
        }
    }

    pub async fn advance(&mut self) -> Result<Progress, crate::replication::Error> {
        let of = |is_of: fn(&Replica) -> bool| {
            let replicas = self.replicas.values().filter(move |replica| is_of(replica));
            together(replicas.map(Replica::captured))
        };
        let followed = of(|replica| replica.state().is_followed());
        let uncopied = match self.is_held() {
            true => Vec::new(),
            false => of(Replica::is_uncopied),
        };
        // Rows that nobody keeps are not asked for.
        let unread = |captured: &&Captured| {
            let mut of_it =
                (self.replicas.values()).filter(|r| r.is_uncopied() && r.is_of(&captured.table));
            of_it.all(|replica| replica.wanted().is_watched)
        };
        let unread = uncopied.iter().filter(unread);
        let unread = unread.map(|captured| captured.table.clone()).collect();
        let is_full = self.queued_rows >= MOST_QUEUED_ROWS;
        if self.is_standing() && (is_full || self.is_read_in_vain()) {
            self.begin_again();
            return Ok(Progress::Told);
        }
        let arrived = self.feed.next(followed, uncopied, unread, is_full).await;
        let arrived = match arrived {
            Ok(arrived) => Ok(self.take(arrived)),
            Err(e) => Err(e.into()),
        };
        if !self.feed.is_copying() {
            self.replicas.values_mut().for_each(Replica::drop_copy);
        }
        arrived
    }

    fn take(&mut self, arrived: Arrived) -> Progress {
        match arrived {
            Arrived::Start(position) => {
                self.start = Some(position);
                self.settle();
                return Progress::Told;
            }
            Arrived::Moved => {}
            Arrived::Transaction(mut transaction) => {
                for (table, change) in &mut transaction.changes {
                    if let Change::Ends(error) = change {
                        *error = self.located(table, error);
                    }
                }
                if self.ends_for_some(&transaction) {
                    // The others' changes of it were not told any more.
                    self.feed.again(transaction.before);
                    return Progress::Told;
                }
                let anew = transaction.changes.iter();
                let anew = anew.filter(|(_, change)| matches!(change, Change::Anew));
                let anew: Vec<TableRef> = anew.map(|(table, _)| table.clone()).collect();
                self.each(&anew, |replica| replica.rewritten(&transaction.end));
                // Another of that name is copied already, and this stream tells nothing of it.
                let copied = self.replicas.values();
                let copied = copied.filter(|r| r.is_copied_behind(&transaction.end));
                let tables = copied.map(|replica| &replica.captured().table);
                for table in tables.filter(|table| transaction.ends(table)) {
                    self.feed.ended(table);
                }
                self.queued_rows += rows(&transaction);
                self.queued_bytes += transaction.bytes;
                self.queue.push_back(transaction);
                if !anew.is_empty() {
                    return Progress::Told;
                }
            }
            Arrived::Copying { at, tables } => {
                for captured in tables {
                    // As above.
                    if self.queue.iter().any(|queued| queued.ends(&captured.table)) {
                        self.feed.ended(&captured.table);
                    }
                    self.each(std::slice::from_ref(&captured.table), |replica| {
                        // One that was asked for meanwhile may want more than was asked of the source.
                        if captured.holds(replica.captured()) {
                            replica.begin_copy(at.clone());
                        }
                    });
                }
            }
            Arrived::Rows { table, rows } => {
                self.each(&[table], |replica| replica.copy_rows(&rows));
            }
            Arrived::Copied { tables } => self.each(&tables, Replica::end_copy),
            Arrived::Refused { table, error } => {
                let error = self.located(&table, &error);
                self.feed.ended(&table);
                let column = self.divides(&table, &error);
                self.block(&table, &error, column);
                return Progress::Told;
            }
            Arrived::Lost => {
                self.lose();
                return Progress::Told;
            }
            Arrived::Idle => return Progress::Idle,
        }
        Progress::Moved
    }

    /// What was reached is not gone on from: all is copied anew.
    fn lose(&mut self) {
        self.is_lost = self.reached.is_some();
        self.queue.clear();
        self.queued_rows = 0;
        self.queued_bytes = 0;
        self.replicas.values_mut().for_each(Replica::lose);
    }

    /// Those that are followed of some tables.
    fn each(&mut self, tables: &[TableRef], act: impl FnMut(&mut Replica)) {
        let replicas = self.replicas.values_mut();
        let of = |replica: &&mut Replica| {
            replica.state().is_followed() && tables.iter().any(|table| replica.is_of(table))
        };
        replicas.filter(of).for_each(act);
    }

    fn located(&self, table: &TableRef, error: &Error) -> Error {
        let error = error.clone().at_source(&self.name);
        error.at_table(&table.name)
    }

    /// Whether a transaction ends tables for some of their replicas alone. Those are blocked.
    fn ends_for_some(&mut self, transaction: &Received) -> bool {
        let mut has_ended = false;
        for (table, change) in &transaction.changes {
            if let Change::Ends(error) = change
                && let Some(column) = self.divides(table, error)
            {
                self.block(table, error, Some(column));
                has_ended = true;
            }
        }
        has_ended
    }

    /// The column which is wrong, if some of a table's replicas have it and others do not.
    fn divides<'e>(&self, table: &TableRef, error: &'e Error) -> Option<&'e str> {
        let column = error.column.as_deref()?;
        let replicas = self.replicas.values();
        let of_it = replicas.filter(|r| r.state().is_followed() && r.is_of(table));
        let (with, without): (Vec<_>, Vec<_>) = of_it.partition(|replica| replica.has(column));
        (!with.is_empty() && !without.is_empty()).then_some(column)
    }

    /// Block a table's replicas: all, or those that have a column.
    fn block(&mut self, table: &TableRef, error: &Error, column: Option<&str>) {
        let (reached, reason) = (self.reached.clone(), error.to_string());
        self.each(std::slice::from_ref(table), |replica| {
            if column.is_none_or(|column| replica.has(column)) {
                replica.block(reached.clone(), reason.clone());
            }
        });
    }

    /// Where an epoch can have it now.
    pub fn available(&self) -> Option<&Position> {
        let received = self.feed.received();
        received
            .filter(|at| !self.stands(at))
            .or(self.reached.as_ref())
    }

    /// Whether it stays where it is, though this was received: of a table that is copied anew nothing later is known until its copy
    /// joins, and all are shown as of one position. One of which nothing is kept is nowhere until the first copy joins: a restart,
    /// which copies it anew, would not come to a position that it was said to have been at.
    fn stands(&self, received: &Position) -> bool {
        if self.reached.is_none() {
            return !self.is_joined(received);
        }
        let mut replicas = self.replicas.values();
        replicas.any(|replica| *replica.state() == State::Lost && !replica.joins(received))
    }

    /// Whether its log is read though nothing is kept, or copied, that it would be for: the next copy says where it is read from.
    fn is_read_in_vain(&self) -> bool {
        self.reached.is_none() && !self.replicas.values().any(Replica::has_copy)
    }

    /// Where a recorded epoch has it: where it was recorded, or where it is if that is not in its log any more. None: it has not
    /// come that far.
    pub fn replayed(&self, recorded: &Position) -> Option<Position> {
        if self.is_lost || self.has_lost() {
            return self.reached.clone();
        }
        let received = self.feed.received()?;
        (recorded <= received).then(|| recorded.clone())
    }

    /// Whether a table is copied anew.
    fn has_lost(&self) -> bool {
        (self.replicas.values()).any(|replica| *replica.state() == State::Lost)
    }

    pub fn is_joined(&self, position: &Position) -> bool {
        self.replicas
            .values()
            .any(|replica| replica.joins(position))
    }

    /// Bring replicas to a position. Those whose copy has waited for it join, unless the epoch is one that is replayed.
    pub fn apply(&mut self, epoch: u64, to: &Position, may_join: bool) -> Taken {
        let mut steps: BTreeMap<&str, Vec<Step>> = BTreeMap::new();
        let mut taken = Vec::new();
        while let Some(next) = self.queue.pop_front_if(|next| next.end <= *to) {
            self.queued_rows -= rows(&next);
            self.queued_bytes -= next.bytes;
            taken.push(next);
        }
        let mut told = Vec::new();
        for Received {
            before,
            end,
            changes,
            ..
        } in taken
        {
            for (table, change) in &changes {
                if let Change::Ends(_) = change {
                    self.feed.ended(table);
                }
            }
            for (name, replica) in &self.replicas {
                let mine = changes.iter().filter(|(table, _)| replica.is_of(table));
                let mine: Vec<Change> = mine.map(|(_, change)| change.clone()).collect();
                if !mine.is_empty() {
                    steps.entry(name).or_default().push(Step {
                        before: before.clone(),
                        end: end.clone(),
                        changes: mine,
                    });
                }
            }
            told.extend(changes);
        }
        let mut steps: BTreeMap<String, Vec<Step>> = steps
            .into_iter()
            .map(|(name, steps)| (name.to_string(), steps))
            .collect();
        let applied = self.replicas.iter_mut().map(|(name, replica)| {
            let steps = steps.remove(name).unwrap_or_default();
            let is_joining = may_join && replica.joins(to);
            let before = replica.content();
            let touched = match (is_joining, steps.is_empty()) {
                (true, _) => Touched::Anew,
                (false, false) => Touched::Told,
                (false, true) => Touched::No,
            };
            let change = replica.apply(epoch, steps, self.reached.as_ref(), is_joining);
            let name = name.clone();
            Applied {
                name,
                before,
                change,
                touched,
            }
        });
        let applied = applied.collect();
        if self.is_lost && may_join && self.feed.received() == Some(to) && !self.has_lost() {
            // What is there is newer than all that was seen of it.
            self.is_lost = false;
            self.is_settled = true;
        }
        self.reached = Some(to.clone());
        self.settle();
        Taken { told, applied }
    }

    fn settle(&mut self) {
        if let (Some(start), Some(reached)) = (&self.start, &self.reached) {
            self.is_settled |= start <= reached;
        }
    }

    /// Whether somebody may have seen a later state of it than there is. For good, where its log was lost and all is blocked.
    pub fn is_behind(&self) -> bool {
        !self.is_settled
    }

    /// What its tables take in memory.
    pub fn table_bytes(&self) -> usize {
        let replicas = self.replicas.values();
        replicas.map(|replica| replica.content().bytes()).sum()
    }

    /// Begin no copy of a replica, or begin one after all.
    pub fn hold(&mut self, name: &str, is_held: bool) {
        let mut is_lost = self.is_lost;
        if let Some(replica) = self.replicas.get_mut(name) {
            replica.hold(is_held);
            is_lost |= *replica.state() == State::Lost;
        }
        if is_lost && is_held {
            self.begin_again();
        } else if !self.replicas.values().any(Replica::is_copying) {
            self.feed.drop_copy();
        }
    }

    /// Copies that take the place of what the log does not go on from come to one position together, or not at all.
    fn is_held(&self) -> bool {
        self.is_lost && self.replicas.values().any(Replica::is_held)
    }

    /// What changes take that are in no epoch yet.
    pub fn stream_bytes(&self) -> usize {
        self.queued_bytes + self.feed.piece_bytes()
    }

    /// Give up what has come of a transaction that is not whole, since there is no room for it.
    pub fn drop_pieces(&mut self) {
        match self.is_standing() {
            true => self.begin_again(),
            false => self.feed.drop_pieces(),
        }
    }

    fn is_standing(&self) -> bool {
        self.feed.received().is_some_and(|at| self.stands(at))
    }

    /// What comes would wait for a copy, and there is no room for so much: all is copied, and the log is read from there.
    fn begin_again(&mut self) {
        self.lose();
        self.feed.begin_again();
    }

    /// What was reached is durable.
    pub fn durable(&mut self) {
        if let Some(reached) = self.reached.as_ref().filter(|_| !self.is_lost) {
            self.feed.durable(reached.clone());
        }
    }

    pub fn states(&self) -> impl Iterator<Item = (&String, &State)> {
        let replicas = self.replicas.iter();
        replicas.map(|(name, replica)| (name, replica.state()))
    }
}

/// Each table once, with all columns that are wanted of it: a source tells a table's changes once, however many replicas
/// there are of it.
fn together<'a>(wanted: impl Iterator<Item = &'a Captured>) -> Vec<Captured> {
    let mut tables: Vec<Captured> = Vec::new();
    for captured in wanted {
        let Some(same) = tables.iter_mut().find(|t| t.table == captured.table) else {
            tables.push(captured.clone());
            continue;
        };
        if !same.holds(captured) {
            let mut fields = same.schema.fields().to_vec();
            let more = captured.schema.fields().iter();
            let is_new = |f: &&Arc<Field>| same.schema.field_with_name(f.name()).is_err();
            fields.extend(more.filter(is_new).cloned());
            same.schema = Arc::new(Schema::new(fields));
        }
    }
    tables
}

fn rows(transaction: &Received) -> usize {
    let changes = transaction.changes.iter();
    changes
        .map(|(_, change)| match change {
            Change::Rows { rows, .. } => rows.num_rows(),
            Change::ByKey { keys, .. } => keys.num_rows(),
            Change::Truncate | Change::Anew | Change::Ends(_) => 1,
        })
        .sum()
}
