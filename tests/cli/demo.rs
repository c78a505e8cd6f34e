use std::time::{Duration, Instant};

use super::support::Place;

/// Of a debug build on a busy machine; the release build needs less than ten seconds to its first answer.
const BUDGET: Duration = Duration::from_secs(180);

#[test]
fn the_tour_answers_the_same_again() {
    let place = Place::new();
    let demo = ["demo", "--once", "--data", "data"];
    let started = Instant::now();
    let first = place.run(&demo).ok();
    let second = place.run(&demo).ok();
    assert!(started.elapsed() < BUDGET, "{:?}", started.elapsed());

    assert!(
        first.starts_with("Built a company in data (8,000 customers, 7,500 items,"),
        "{first}"
    );
    assert!(
        second.starts_with("The company in data (8,000 customers, 7,500 items,"),
        "{second}"
    );
    assert_eq!(answers(&first), answers(&second));
    assert!(
        answers(&first)
            .iter()
            .filter(|line| line.contains('│'))
            .count()
            > 7 * 2,
        "{first}"
    );
    for shown in [
        "7/7",
        "Sent to erp (sqlite",
        "Sent to crm (sqlite",
        "Read from history (files)",
        "SELECT t0.",
        "after the commit.",
        "after the start.",
    ] {
        assert!(first.contains(shown), "{shown}: {first}");
    }
    let day = place.run(&[
        "sql",
        "--data",
        "data",
        "--format",
        "csv",
        "-c",
        "SELECT count(*) AS n FROM crm.customer",
    ]);
    assert_eq!(day.ok(), "n\n8000\n");
}

/// All but what is a matter of time.
fn answers(tour: &str) -> Vec<&str> {
    let timed =
        |line: &str| line.contains(" in ") && line.contains(" row") || line.contains(" after the ");
    tour.lines().skip(1).filter(|line| !timed(line)).collect()
}
