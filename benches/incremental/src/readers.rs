//! What others do on the same two cores: scan the orders and look them up, one thread each, without pause. `dbsp`'s
//! state cannot be read by others; while it is measured, the same threads read the same tables.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use arrow::array::AsArray;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::Int64Type;
use belvedere::store::Reader;

use crate::cpu;
use crate::engine::Keys;

pub struct Readers {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    pub ids: Vec<u64>,
    pub scanned: Arc<AtomicU64>,
    pub found: Arc<AtomicU64>,
}

/// The sum of those that are live, 64 at a time.
fn masked(values: &[i64], live: &BooleanBuffer) -> i64 {
    let words = live.bit_chunks();
    let sum = |(word, values): (u64, &[i64])| -> i64 {
        let masked = values.iter().enumerate();
        masked
            .map(|(i, value)| value & -((word >> i & 1) as i64))
            .sum()
    };
    words.iter_padded().zip(values.chunks(64)).map(sum).sum()
}

impl Readers {
    /// Orders have the numbers below `orders`.
    pub fn start(reader: &Reader, keys: Keys, orders: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (scanned, found) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut ids = Vec::new();
        let mut run = |work: Box<dyn Fn() + Send>| {
            let stop = stop.clone();
            let (send, receive) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || {
                send.send(cpu::this_thread()).unwrap();
                while !stop.load(Ordering::Relaxed) {
                    work();
                }
            });
            ids.push(receive.recv().unwrap());
            thread
        };
        let (tables, count) = (reader.clone(), scanned.clone());
        let scan = move || {
            let pinned = tables.snapshot();
            let mut sum = 0i64;
            for part in pinned.parts() {
                let qty = part.column(3).as_primitive::<Int64Type>().values();
                match part.live() {
                    None => sum += qty.iter().sum::<i64>(),
                    Some(live) => sum += masked(qty, live),
                }
                count.fetch_add(part.len() as u64, Ordering::Relaxed);
            }
            black_box(sum);
        };
        let (tables, count) = (reader.clone(), found.clone());
        let look_up = move || {
            let pinned = tables.snapshot();
            for _ in 0..64 {
                let key = keys.array('o', std::iter::once(Some(fastrand::u32(0..orders))));
                black_box(pinned.get(&[key]).unwrap());
            }
            count.fetch_add(64, Ordering::Relaxed);
        };
        let threads = vec![run(Box::new(scan)), run(Box::new(look_up))];
        Self {
            stop,
            threads,
            ids,
            scanned,
            found,
        }
    }

    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
    }
}
