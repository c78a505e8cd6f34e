//! Many histories, by their seeds.

use super::flows::Compiled;
use super::seen::Seen;
use super::simulation::Simulation;

/// How many the fast ring takes.
const HISTORIES: u64 = 2000;

/// Says how to repeat a history that failed.
struct Repeat(u64);

impl Drop for Repeat {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let seed = self.0;
            eprintln!(
                "history {seed} failed. What happened in it: BELVEDERE_SIMULATION_SEED={seed} cargo test --workspace --lib simulated_histories"
            );
        }
    }
}

fn history(seed: u64, compiled: &Compiled, is_told: bool) -> Seen {
    let _repeat = Repeat(seed);
    let mut simulation = Simulation::new(seed, compiled, is_told);
    // Short and long ones. What fails in a short one is easy to read.
    simulation.run(10 + (seed % 128) as usize);
    simulation.seen
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect("a number"))
}

#[test]
fn simulated_histories() {
    if let Some(seed) = number("BELVEDERE_SIMULATION_SEED") {
        history(seed, &Compiled::new(), true);
        return;
    }
    let count = number("BELVEDERE_SIMULATION_HISTORIES").unwrap_or(HISTORIES);
    let first = number("BELVEDERE_SIMULATION_FIRST").unwrap_or(0);
    let threads = 2;
    let of_thread = |thread: u64| {
        let compiled = Compiled::new();
        let seeds = (first..first + count).filter(move |seed| seed % threads == thread);
        seeds
            .map(move |seed| history(seed, &compiled, false))
            .fold(Seen::default(), Seen::and)
    };
    let seen = std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || of_thread(thread)))
            .collect();
        all.into_iter()
            .map(|thread| thread.join().expect("see above"))
            .fold(Seen::default(), Seen::and)
    });
    eprintln!("{count} histories from seed {first}: {seen:?}");
    // What is never seen is not tested.
    assert!(seen.is_all_there(), "{seen:?}");
}
