//! The whole engine over real SQLite files: what a user types and what comes back.
//!
//! | file | owns |
//! |---|---|
//! | `fixture.rs` | [`Fixture`](fixture::Fixture): a folder of databases, an engine and a session |
//! | `memory.rs` | [`InMemory`](memory::InMemory): an engine over a source in memory, whose commits the test makes |
//! | `follower.rs` | [`Follower`](follower::Follower): who adds up what a subscription tells |
//! | `definitions.rs` | `CREATE`, `ALTER`, `DROP`, `COMMENT`, and what they refuse |
//! | `mapped.rs` | sources that users read as users of their own |
//! | `policies.rs` | policies and masks: nothing is told of what they hide |
//! | `access.rs`, `access/` | users, roles, grants: who sees what, and may do what with it |
//! | `audited.rs` | what of statements is recorded, and for whom |
//! | `advice.rs` | what is asked of late, and what would serve it better |
//! | `apply.rs` | several files as one change |
//! | `names.rs` | how names are resolved |
//! | `sources.rs` | sources that are down, come back, or change |
//! | `durability.rs` | what is there after a restart |
//! | `followed.rs` | materialized views that are kept by change |
//! | `clock.rs` | those that change as time passes |
//! | `fresh.rs` | a session's own bound on the age of views |
//! | `lag.rs` | how far views are behind their sources' logs, and logs that are let go |
//! | `lake.rs` | views kept by change over files |
//! | `kept.rs` | materialized views that are computed anew |
//! | `limits.rs` | time, memory, and the size of a statement |
//! | `lookups.rs` | rows that are looked up at a source, by many at once |
//! | `room.rs` | views kept by change that need more memory than there is |
//! | `statements.rs` | `EXPLAIN`, `SHOW`, `DESCRIBE`, `SET`, prepared statements, order |
//! | `matrix.rs` | what is cut × when, while views follow: nothing is lost, nothing is there twice |
//! | `metadata.rs` | `system.*` and `information_schema.*` |
//! | `pg_catalog.rs` | what clients of PostgreSQL ask |
//! | `lineage.rs` | `system.lineage` |
//! | `dynamic.rs` | keys sent to the other side of a join, the order of joins, estimates |
//! | `reads.rs` | materialized views that are computed when what they read has changed |
//! | `subscribed.rs` | subscriptions over PostgreSQL under load: atomicity, crashes |
//! | `subscriptions.rs` | `SUBSCRIBE TO` |
//! | `drift.rs` | views of other columns of one table, and a column that goes |
//! | `systems.rs` | a view kept by change over PostgreSQL, MariaDB and SQLite |
//! | `touched.rs` | which changes make a view be computed that is computed when it is read |
//! | `unnamed.rs` | materialized views that answer what does not name them |
//! | `topn.rs` | a top-n above a join reads the first rows of one side |
//! | `calm.rs` | slow clients and many queries: nobody is kept from a source |
//! | `notices.rs` | what a user is told besides the rows |
//! | `places.rs` | sources that are one place: one fragment |
//! | `restraint.rs` | a source is tried again, left alone, limited, and asked in turn |
//! | `bank.rs` | views kept by change over PostgreSQL under load: atomicity, crashes |
//! | `bucket.rs` | a bucket behind a [`Proxy`](proxy::Proxy) that hangs, resets, refuses |
//! | `averages.rs` | averages that a source compares, sorts or joins by |
//! | `servers.rs` | real servers |
//! | `sick.rs` | a source behind a [`Proxy`](proxy::Proxy) that hangs, drips, resets: others do not notice |
//! | `copy.rs` | `COPY … TO` |
//! | `writes.rs` | INSERT, UPDATE, DELETE: refused, computed here, read after |
//! | `windows.rs` | windows at a source, and their orders |
//! | `dialect.rs`, `dialect/far.rs` | what PostgreSQL's users mean; times before 1677 and after 2262 |
//! | `upstream/` | answers that DataFusion alone gets wrong |
//! | `exact.rs` | sums of floats, whatever the order of rows |
//! | `reference.rs` | the examples of `docs/sql.md` |

mod access;
mod advice;
mod apply;
mod audited;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod averages;
#[cfg(all(feature = "files", feature = "mysql", feature = "postgres"))]
mod bank;
#[cfg(all(feature = "files", feature = "mysql", feature = "postgres"))]
mod bucket;
mod calm;
mod clock;
mod copy;
mod definitions;
mod dialect;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod drift;
mod durability;
mod dynamic;
mod exact;
mod fixture;
mod followed;
mod follower;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod fresh;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod histories;
mod injection;
mod kept;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod lag;
#[cfg(feature = "files")]
mod lake;
mod limits;
mod lineage;
mod lookups;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod mapped;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod matrix;
mod memory;
mod metadata;
mod names;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod notices;
mod paced;
mod pg_catalog;
mod places;
#[cfg(all(feature = "files", feature = "mysql", feature = "postgres"))]
mod policies;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod proxy;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod reads;
mod reference;
mod restraint;
mod results;
mod room;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod servers;
mod shared;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod sick;
mod sources;
mod statements;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod subscribed;
mod subscriptions;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod systems;
mod topn;
#[cfg(all(feature = "mysql", feature = "postgres"))]
mod touched;
mod unnamed;
mod upstream;
mod windows;
mod writes;
