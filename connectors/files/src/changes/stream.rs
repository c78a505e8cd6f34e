use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::Schema;
use async_trait::async_trait;
use belvedere_connector::{
    Change, ChangeStream, Error, Kind, Position, Result, TableRef, Transaction,
};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::listing::{Listing, Versions};
use super::watch::Watch;
use super::watched::{Found, Watched};

/// What each look finds, from a listing on.
pub struct Stream {
    watch: Arc<Watch>,
    reader: u64,
    tables: Arc<[Arc<Watched>]>,
    /// What was told.
    told: Listing,
    /// Tables of which nothing more comes.
    ended: BTreeSet<TableRef>,
    /// That this has to be told.
    ending: Vec<(TableRef, Error)>,
    /// When the last look began that was told.
    looked: Option<Instant>,
    /// Under way, also when nobody waits for it.
    looking: Option<BoxFuture<'static, Result<Looked>>>,
}

/// What a look has found.
struct Looked {
    number: u64,
    began: Instant,
    listing: Listing,
    changes: Vec<(TableRef, Change)>,
    ended: Vec<TableRef>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stream({:?})", self.told)
    }
}

impl Stream {
    pub fn new(
        watch: Arc<Watch>,
        reader: u64,
        tables: Arc<[Arc<Watched>]>,
        told: Listing,
        ending: Vec<(TableRef, Error)>,
    ) -> Self {
        Self {
            watch,
            reader,
            tables,
            told,
            ended: BTreeSet::new(),
            ending,
            looked: None,
            looking: None,
        }
    }

    fn look(&self) -> BoxFuture<'static, Result<Looked>> {
        let (watch, tables, told) = (self.watch.clone(), self.tables.clone(), self.told.clone());
        let (ended, after) = (self.ended.clone(), self.looked);
        let look = async move {
            let listed = watch
                .listed(after.unwrap_or_else(Instant::now), &tables)
                .await;
            let copied = watch.state().copied.clone();
            let mut looked = Looked {
                number: listed.number,
                began: listed.began,
                listing: Listing::default(),
                changes: Vec::new(),
                ended: Vec::new(),
            };
            for (table, found) in tables.iter().zip(&listed.found) {
                let place = &table.captured.table;
                if ended.contains(place) {
                    continue;
                }
                // What somebody has of it: by the stream, by copies.
                let copied = copied.iter().filter(|(number, _)| *number < listed.number);
                let known = [&told]
                    .into_iter()
                    .chain(copied.map(|(_, listing)| listing));
                let known: Vec<&Versions> = known.filter_map(|l| l.0.get(table.name())).collect();
                let changes = match found {
                    Ok(found) => match changes(table, found, &known).await {
                        Ok(changes) => Ok((changes, found.versions.clone())),
                        Err(e) => Err(e),
                    },
                    Err(e) => Err(e.clone()),
                };
                match changes {
                    Ok((changes, versions)) => {
                        watch.readable(table.name());
                        looked.listing.0.insert(table.name().to_string(), versions);
                        let of_table = changes.into_iter().map(|c| (place.clone(), c));
                        looked.changes.extend(of_table);
                    }
                    Err(e) => match watch.borne(table.name(), e) {
                        e if e.kind() == Kind::Definite => {
                            looked.changes.push((place.clone(), Change::Ends(e)));
                            looked.ended.push(place.clone());
                        }
                        e => return Err(e),
                    },
                }
            }
            Ok(looked)
        };
        look.boxed()
    }

    /// What a look has found is told now. None: there is nothing to tell.
    fn tell(&mut self, looked: Looked) -> Option<Transaction> {
        self.looked = Some(looked.began);
        let Looked {
            number,
            listing,
            mut changes,
            ended,
            ..
        } = looked;
        let ending = std::mem::take(&mut self.ending).into_iter();
        changes.extend(ending.map(|(table, e)| (table, Change::Ends(e))));
        self.ended.extend(ended);
        let mut state = self.watch.state();
        let is_promised = match &state.told {
            None => true,
            Some((position, _)) => {
                let promised = self.watch.position(state.promised, &Listing::default());
                *position < promised
            }
        };
        if changes.is_empty() && !is_promised && self.told == listing {
            return None;
        }
        let end = self.watch.position(number, &listing);
        state.told = Some((end.clone(), listing.clone()));
        state.copied.retain(|(copied, _)| *copied > number);
        drop(state);
        self.told = listing;
        Some(Transaction {
            changes,
            end: Some(end),
        })
    }
}

/// What has changed of a table for somebody who has one of the known listings: none knows it if there is none.
async fn changes(watched: &Watched, found: &Found, known: &[&Versions]) -> Result<Vec<Change>> {
    let mut gone: BTreeSet<i64> = BTreeSet::new();
    let mut came: Vec<i64> = Vec::new();
    for versions in known {
        let there = versions.keys().copied();
        gone.extend(there.filter(|mark| !found.versions.contains_key(mark)));
    }
    for (mark, version) in &found.versions {
        if known
            .iter()
            .any(|versions| versions.get(mark) != Some(version))
        {
            gone.insert(*mark);
            came.push(*mark);
        }
    }
    let mut changes = Vec::new();
    if gone.is_empty() {
        return Ok(changes);
    }
    let schema = &watched.captured.schema;
    let marks = Int64Array::from_iter_values(gone);
    let is_there = vec![false; marks.len()];
    let key = Arc::new(Schema::new(vec![schema.field(watched.mark).clone()]));
    let keys = RecordBatch::try_new(key, vec![Arc::new(marks)]);
    changes.push(Change::ByKey {
        keys: keys.map_err(|e| Error::internal("a mark is no key").caused_by(e))?,
        rows: RecordBatch::new_empty(schema.clone()),
        is_there,
        unchanged: Vec::new(),
    });
    for mark in came {
        let rows = watched.rows(found, mark).await?;
        changes.extend(rows.into_iter().map(|rows| Change::Rows {
            weights: vec![1; rows.num_rows()],
            rows,
        }));
    }
    Ok(changes)
}

#[async_trait]
impl ChangeStream for Stream {
    async fn next(&mut self) -> Result<Transaction> {
        loop {
            self.watch.check(self.reader)?;
            let look = self.looking.take().unwrap_or_else(|| self.look());
            let looked = self.looking.insert(look).await;
            self.looking = None;
            self.watch.check(self.reader)?;
            if let Some(told) = self.tell(looked?) {
                return Ok(told);
            }
        }
    }

    async fn acknowledge(&mut self, _: &Position) -> Result<()> {
        Ok(())
    }
}
