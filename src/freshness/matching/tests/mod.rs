//! Views and queries over the same small tables: what is proved, what is not, and that the answer is the same.
//!
//! | file | owns |
//! |---|---|
//! | `world.rs` | [`World`](world::World): two tables with rows, and queries with and without a view |
//! | `cases.rs` | pairs of a view and a query by name, and the traps |
//! | `oracle.rs` | random pairs |

mod cases;
mod oracle;
mod world;
