use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Content, Customer, Item, Kept, Order, customers, items, orders};

/// What one epoch puts: a row replaces that of its key, or, if it is there already, goes. `None` is noise: it comes and
/// goes.
#[derive(Clone, Debug)]
struct Epoch {
    orders: Vec<(Order, bool)>,
    customers: Vec<(Customer, bool)>,
    items: Vec<(Item, bool)>,
}

const SKUS: [&str; 4] = ["a", "b", "", "a longer name of an item"];

fn an_order() -> impl Strategy<Value = Order> {
    let item = prop::option::weighted(0.9, prop::sample::select(&SKUS[..]));
    let customer = prop::option::weighted(0.9, 0..6i64);
    let qty = prop::option::weighted(0.8, prop::sample::select(&[1, 2, 3, -4, i32::MAX][..]));
    (0..40i64, customer, item, qty)
        .prop_map(|(id, customer, item, qty)| (id, customer, item.map(str::to_string), qty))
}

fn a_customer() -> impl Strategy<Value = Customer> {
    let regions = [0.0, -0.0, 1.0, f64::NAN, -f64::NAN]
        .map(f64::to_bits)
        .to_vec();
    (
        0..6i64,
        prop::option::weighted(0.9, prop::sample::select(regions)),
    )
}

fn an_item() -> impl Strategy<Value = Item> {
    let sku = prop::option::weighted(0.9, prop::sample::select(&SKUS[..]));
    let price = prop::option::weighted(0.9, -500..500i128);
    let label = prop::sample::select(&["", "x"][..]);
    (sku, price, label)
        .prop_map(|(sku, price, label)| (sku.map(str::to_string), price, label.to_string()))
}

fn an_epoch() -> impl Strategy<Value = Epoch> {
    let orders = vec((an_order(), prop::bool::weighted(0.1)), 0..12);
    let customers = vec((a_customer(), prop::bool::weighted(0.1)), 0..3);
    let items = vec((an_item(), prop::bool::weighted(0.1)), 0..3);
    (orders, customers, items).prop_map(|(orders, customers, items)| Epoch {
        orders,
        customers,
        items,
    })
}

/// Put rows, and say what that changes. Rows with one key replace each other; without keys each comes, or goes if it is
/// there.
fn put<Row: Clone + Ord, Key: PartialEq>(
    content: &mut BTreeMap<Row, i64>,
    rows: &[(Row, bool)],
    keyed: bool,
    key: impl Fn(&Row) -> Key,
) -> Vec<(Row, i64)> {
    let mut changes = Vec::new();
    for (row, is_noise) in rows {
        if *is_noise {
            changes.extend([(row.clone(), 1), (row.clone(), -1)]);
            continue;
        }
        let before = match keyed {
            true => content.keys().find(|other| key(other) == key(row)).cloned(),
            false => content.contains_key(row).then(|| row.clone()),
        };
        if let Some(before) = &before {
            changes.push((before.clone(), -1));
            let count = content.get_mut(before).expect("it is there");
            *count -= 1;
            if *count == 0 {
                content.remove(before);
            }
        }
        if before.as_ref() != Some(row) {
            let copies = if keyed { 1 } else { 2 };
            changes.push((row.clone(), copies));
            *content.entry(row.clone()).or_default() += copies;
        }
    }
    changes
}

fn run(keyed: bool, epochs: &[Epoch]) {
    let (mut kept, mut content) = (Kept::new(keyed), Content::default());
    for epoch in epochs {
        let change = (
            put(&mut content.orders, &epoch.orders, keyed, |row| row.0),
            put(&mut content.customers, &epoch.customers, keyed, |row| row.0),
            put(&mut content.items, &epoch.items, keyed, |row| row.0.clone()),
        );
        kept.change([orders(&change.0), customers(&change.1), items(&change.2)]);
        let expected = content.view();
        assert_eq!(kept.read(), expected);
        assert_eq!(kept.groups(), expected.len());
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(64)
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn tables_with_keys(epochs in vec(an_epoch(), 1..30)) {
        run(true, &epochs);
    }

    #[test]
    fn bags(epochs in vec(an_epoch(), 1..30)) {
        run(false, &epochs);
    }
}
