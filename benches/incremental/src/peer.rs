//! A circuit on `dbsp`, written by hand: filtered and narrowed before the joins, one worker, in memory.

use dbsp::typed_batch::IndexedZSetReader;
use dbsp::utils::{Tup2, Tup3, Tup5};
use dbsp::{DBData, DBSPHandle, OrdIndexedZSet, OutputHandle, Runtime, ZSetHandle, ZWeight};

use crate::engine::{Engine, Input, Keys};
use crate::world::{CANCELLED, Change, STATUSES, View, region};

/// A key as a value of Rust.
pub trait Key: DBData + Send + Sync {
    fn of(table: char, id: u32) -> Self;
}

impl Key for i64 {
    fn of(_: char, id: u32) -> Self {
        id.into()
    }
}

impl Key for String {
    fn of(table: char, id: u32) -> Self {
        Keys::Texts.text(table, id)
    }
}

type Order<K> = Tup5<K, Option<K>, K, Option<i64>, String>;
type Totals = Tup3<i64, i64, i64>;
type Weighted<T> = Vec<Tup2<T, ZWeight>>;
type Inputs<K> = (
    Weighted<Order<K>>,
    Weighted<Tup2<K, Option<String>>>,
    Weighted<Tup2<K, i64>>,
);

pub struct Peer<K: Key> {
    circuit: DBSPHandle,
    orders: ZSetHandle<Order<K>>,
    customers: ZSetHandle<Tup2<K, Option<String>>>,
    items: ZSetHandle<Tup2<K, i64>>,
    output: OutputHandle<OrdIndexedZSet<Option<String>, Totals>>,
    view: View,
}

pub fn new(keys: Keys) -> Box<dyn Engine> {
    match keys {
        Keys::Ints => Box::new(Peer::<i64>::new()),
        Keys::Texts => Box::new(Peer::<String>::new()),
    }
}

impl<K: Key> Peer<K>
where
    <K as dbsp::dynamic::rkyv::ArchivedDBData>::Repr: Ord,
{
    fn new() -> Self {
        let (circuit, (orders, customers, items, output)) = Runtime::init_circuit(1, |circuit| {
            let (orders, order_input) = circuit.add_input_zset::<Order<K>>();
            let (customers, customer_input) = circuit.add_input_zset::<Tup2<K, Option<String>>>();
            let (items, item_input) = circuit.add_input_zset::<Tup2<K, i64>>();
            let cancelled = STATUSES[CANCELLED as usize];
            // The order's id is carried through, without which orders that look alike are one row.
            let by_customer = orders.flat_map_index(move |order| {
                let Tup5(id, customer, item, qty, status) = order;
                let customer = customer.clone().filter(|_| status != cancelled);
                customer.map(|customer| (customer, Tup3(id.clone(), item.clone(), *qty)))
            });
            let customers = customers.map_index(|row| (row.0.clone(), row.1.clone()));
            let by_item = by_customer.join_index(&customers, |_, order, region| {
                let Tup3(id, item, qty) = order;
                Some((item.clone(), Tup3(id.clone(), region.clone(), *qty)))
            });
            let items = items.map_index(|row| (row.0.clone(), row.1));
            let by_region = by_item.join_index(&items, |_, order, price| {
                let Tup3(id, region, qty) = order;
                Some((region.clone(), Tup2(id.clone(), qty.map(|qty| qty * price))))
            });
            let totals = by_region.aggregate_linear(|Tup2(_, worth)| {
                Tup3(1i64, worth.unwrap_or(0), i64::from(worth.is_some()))
            });
            Ok((order_input, customer_input, item_input, totals.output()))
        })
        .unwrap();
        Self {
            circuit,
            orders,
            customers,
            items,
            output,
            view: View::new(),
        }
    }
}

impl<K: Key> Engine for Peer<K> {
    fn name(&self) -> &'static str {
        "dbsp"
    }

    fn input(&self, change: &Change) -> Input {
        let orders = change.orders.iter().map(|(row, weight)| {
            let (id, item) = (K::of('o', row.id), K::of('i', row.item));
            let customer = row.customer.map(|id| K::of('c', id));
            let status = STATUSES[row.status as usize].to_string();
            Tup2(Tup5(id, customer, item, row.qty, status), *weight)
        });
        let customers = change
            .customers
            .iter()
            .map(|(row, weight)| Tup2(Tup2(K::of('c', row.id), row.region.map(region)), *weight));
        let items = change.items.iter();
        let items = items.map(|(row, weight)| Tup2(Tup2(K::of('i', row.sku), row.price), *weight));
        let inputs: Inputs<K> = (orders.collect(), customers.collect(), items.collect());
        Box::new(inputs)
    }

    fn step(&mut self, input: Input) {
        let mut inputs: Box<Inputs<K>> = input.downcast().unwrap();
        self.orders.append(&mut inputs.0);
        self.customers.append(&mut inputs.1);
        self.items.append(&mut inputs.2);
        self.circuit.transaction().unwrap();
        // Its changes, kept where they can be read: as a table would.
        for (region, Tup3(rows, worth, _), weight) in self.output.consolidate().iter() {
            if weight > 0 {
                self.view.insert(region, (rows, worth));
            } else if self.view.get(&region) == Some(&(rows, worth)) {
                self.view.remove(&region);
            }
        }
    }

    fn view(&mut self) -> View {
        self.view.clone()
    }
}
