//! Engines take turns, slice by slice, so that what else the machine does falls on all.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use belvedere::store::{Pinned, Reader};

use crate::cpu;
use crate::engine::{Engine, Keys};
use crate::readers::Readers;
use crate::support::{grouped, memory_kb, print_both};
use crate::world::{Change, World};

/// Times of one engine.
#[derive(Default)]
struct Times {
    load: Duration,
    one: Vec<Duration>,
    /// Of each slice, updates per second.
    hundreds: Vec<f64>,
    ten_thousands: Vec<f64>,
    customer: Vec<Duration>,
    cpu_ns: u64,
}

pub struct Run {
    pub rows: u32,
    pub keys: Keys,
    pub rounds: usize,
}

/// An engine, and how it is told from what else runs: ours is on the thread of its caller, others have their own, too.
type Engines = Vec<Box<dyn Engine>>;

fn step(engine: &mut dyn Engine, change: &Change) -> Duration {
    let input = engine.input(change);
    let start = Instant::now();
    engine.step(input);
    start.elapsed()
}

impl Run {
    /// `orders` reads the first engine's.
    pub fn run(&self, engines: &mut Engines, orders: &Reader) {
        let (mut world, first) = World::new();
        let mut quiet: Vec<Times> = engines.iter().map(|_| Times::default()).collect();
        for (engine, times) in engines.iter_mut().zip(&mut quiet) {
            times.load += step(engine.as_mut(), &first);
        }
        // Twice the rows, of which half go.
        let batch = 65_536u32;
        for from in (0..2 * self.rows).step_by(batch as usize) {
            let change = world.insert(from, batch.min(2 * self.rows - from));
            for (engine, times) in engines.iter_mut().zip(&mut quiet) {
                times.load += step(engine.as_mut(), &change);
            }
        }
        eprintln!(
            "loaded {} orders, {} MB",
            grouped(world.orders() as u64),
            memory_kb("VmRSS") / 1024
        );
        while world.orders() > self.rows as usize {
            let change = world.delete(10_000);
            engines.iter_mut().for_each(|engine| {
                step(engine.as_mut(), &change);
            });
        }
        self.measure(engines, &mut world, &mut quiet, &[]);
        let pins = self.pins(engines, &mut world, orders);
        let mut hammered: Vec<Times> = engines.iter().map(|_| Times::default()).collect();
        let readers = Readers::start(orders, self.keys, 2 * self.rows);
        self.measure(engines, &mut world, &mut hammered, &readers.ids);
        // By the time they had, not by the clock: they share two cores.
        let [scan, look_up] = [0, 1].map(|i| cpu::of(readers.ids[i]) as f64 / 1e9);
        let scanned = readers.scanned.load(Ordering::Relaxed) as f64 / scan;
        let found = readers.found.load(Ordering::Relaxed) as f64 / look_up;
        readers.stop();
        let expected = world.view();
        for engine in engines.iter_mut() {
            assert!(
                engine.view() == expected,
                "{} has another view",
                engine.name()
            );
        }
        println!(
            "\n{} orders, keys of {:?}, {} rounds; beside the hammered ones, by a second of a reader's processor, {:.0} M rows \
             scanned or {:.0} k keys looked up, {} epochs pinned; {} MB in all",
            grouped(u64::from(self.rows)),
            self.keys,
            self.rounds,
            scanned / 1e6,
            found / 1e3,
            pins.len(),
            memory_kb("VmRSS") / 1024,
        );
        drop(pins);
        self.print(engines, &quiet, &hammered);
    }

    /// Epochs from a while ago, and between them.
    fn pins(&self, engines: &mut Engines, world: &mut World, orders: &Reader) -> Vec<Pinned> {
        (0..8)
            .map(|_| {
                let pinned = orders.snapshot();
                let change = world.update((self.rows / 64) as usize);
                engines.iter_mut().for_each(|engine| {
                    step(engine.as_mut(), &change);
                });
                pinned
            })
            .collect()
    }

    fn measure(
        &self,
        engines: &mut Engines,
        world: &mut World,
        times: &mut [Times],
        readers: &[u64],
    ) {
        let me = cpu::this_thread();
        let not_theirs = [readers, &[me]].concat();
        let others = cpu::of_others(&not_theirs);
        for round in 0..self.rounds {
            let ones: Vec<_> = (0..400).map(|_| world.update(1)).collect();
            let hundreds: Vec<_> = (0..100).map(|_| world.update(100)).collect();
            let ten_thousands: Vec<_> = (0..4).map(|_| world.update(10_000)).collect();
            let customers: Vec<_> = (0..20).map(|_| world.move_customer()).collect();
            for turn in 0..engines.len() {
                let i = (round + turn) % engines.len();
                let (engine, times) = (engines[i].as_mut(), &mut times[i]);
                let mut all = |changes: &[Change], times: &mut Times| -> Vec<Duration> {
                    let inputs: Vec<_> = changes.iter().map(|c| engine.input(c)).collect();
                    let before = cpu::of(me);
                    let took = inputs.into_iter().map(|input| {
                        let start = Instant::now();
                        engine.step(input);
                        start.elapsed()
                    });
                    let took = took.collect();
                    times.cpu_ns += cpu::of(me) - before;
                    took
                };
                let rate = |took: Vec<Duration>, updates: usize| {
                    updates as f64 / took.iter().sum::<Duration>().as_secs_f64()
                };
                let ones = all(&ones, times);
                times.one.extend(ones);
                let took = all(&hundreds, times);
                times.hundreds.push(rate(took, 100 * 100));
                let took = all(&ten_thousands, times);
                times.ten_thousands.push(rate(took, 4 * 10_000));
                let took = all(&customers, times);
                times.customer.extend(took);
            }
        }
        // Threads that are nobody's else are the last engine's: it is the only one with any.
        if let Some(last) = times.last_mut() {
            last.cpu_ns += cpu::of_others(&not_theirs) - others;
        }
    }

    fn print(&self, engines: &Engines, quiet: &[Times], hammered: &[Times]) {
        let mut lines = Vec::new();
        for (mode, times) in [("", quiet), (", hammered", hammered)] {
            for (engine, times) in engines.iter().zip(times) {
                let load = 2.0 * f64::from(self.rows) / times.load.as_secs_f64() / 1e3;
                let load = if mode.is_empty() {
                    format!("{load:.0}")
                } else {
                    String::new()
                };
                lines.push([
                    format!("{}{mode}", engine.name()),
                    load,
                    micros(&times.one),
                    format!("{:.0}", middle(&times.hundreds) / 1e3),
                    format!("{:.0}", middle(&times.ten_thousands) / 1e3),
                    micros(&times.customer),
                    format!("{:.2}", times.cpu_ns as f64 / 1e9),
                ]);
            }
        }
        let header = [
            "",
            "load k/s",
            "one order p50 / p99 µs",
            "by 100, k/s",
            "by 10,000, k/s",
            "one customer p50 / p99 µs",
            "CPU s",
        ];
        print_both(header, &lines);
        let [ours, .., peer] = quiet else {
            return;
        };
        for (mode, ours, peer) in [
            ("quiet", ours, peer),
            ("hammered", &hammered[0], &hammered[1]),
        ] {
            let p50 = |times: &[Duration]| percentile(times, 50).as_secs_f64();
            println!(
                "{mode}: one order {:.1} × as fast, by 100 {:.1} ×, by 10,000 {:.1} ×, one customer {:.1} ×, CPU {:.2} of it",
                p50(&peer.one) / p50(&ours.one),
                middle(&ours.hundreds) / middle(&peer.hundreds),
                middle(&ours.ten_thousands) / middle(&peer.ten_thousands),
                p50(&peer.customer) / p50(&ours.customer),
                ours.cpu_ns as f64 / peer.cpu_ns as f64,
            );
        }
    }
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort();
    times
        .get(times.len() * percent / 100)
        .copied()
        .unwrap_or_default()
}

fn micros(times: &[Duration]) -> String {
    let of = |percent| percentile(times, percent).as_secs_f64() * 1e6;
    format!("{:.1} / {:.1}", of(50), of(99))
}

fn middle(rates: &[f64]) -> f64 {
    let mut rates = rates.to_vec();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}
