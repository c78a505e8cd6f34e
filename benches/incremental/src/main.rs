//! What a change of a table costs until a view shows it, beside a circuit on `dbsp` that keeps the same view.
//!
//! ```sh
//! scripts/bench incremental                         # 100,000 and 1,000,000 orders, keys of whole numbers and of text
//! scripts/bench incremental --rows 10000000 --keys ints
//! scripts/bench incremental --rounds 3 --only belvedere
//! ```
//!
//! ```sql
//! SELECT region, count(*), sum(qty * price)
//! FROM orders JOIN customer ON orders.customer = customer.id JOIN item ON orders.item = item.sku
//! WHERE status <> 'cancelled' GROUP BY region
//! ```
//!
//! Both engines get the same input, one after the other in slices of each size: one order, 100, 10,000 (each an old row
//! that goes and a new one that comes), and a customer who moves with his orders. Twice the orders were loaded, and
//! half of them deleted. First alone; then with eight old epochs pinned, a thread that scans all orders without pause,
//! and one that looks them up: on two cores. The clock runs from a change in the engine's own form to the view that
//! shows it; Belvedere's time includes its compaction. In the end both views are compared with one computed from the
//! rows.
//!
//! Processor time is that of the thread that calls an engine, while it does, and of the threads it has: `dbsp` works in
//! one of its own.

mod cpu;
mod engine;
mod measure;
mod ours;
mod peer;
mod readers;
#[path = "../../support/mod.rs"]
mod support;
mod world;

use engine::{Engine, Keys};
use measure::Run;
use support::option;

fn main() {
    let rows: u32 = option("--rows", 0);
    let sizes = if rows == 0 {
        vec![100_000, 1_000_000]
    } else {
        vec![rows]
    };
    let keys = option("--keys", String::new());
    let only = option("--only", String::new());
    for rows in sizes {
        for (name, keys_of) in [("ints", Keys::Ints), ("texts", Keys::Texts)] {
            if !name.contains(&keys) {
                continue;
            }
            let ours = ours::Ours::new(keys_of);
            let orders = ours.reader();
            let mut engines: Vec<Box<dyn Engine>> = vec![Box::new(ours)];
            if only != "belvedere" {
                engines.push(peer::new(keys_of));
            }
            let run = Run {
                rows,
                keys: keys_of,
                rounds: option("--rounds", 7),
            };
            run.run(&mut engines, &orders);
        }
    }
}
