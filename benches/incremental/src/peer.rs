//! A circuit on `dbsp`, written by hand: filtered and narrowed before the joins, one worker (two are slower on two
//! cores), in memory.

use dbsp::utils::{Tup2, Tup3, Tup5};
use dbsp::{
    DBSPHandle, IndexedZSetReader, OrdIndexedZSet, OutputHandle, Runtime, ZSetHandle, ZWeight,
};

use crate::engine::{Engine, Input, Keys};
use crate::world::{CANCELLED, Change, STATUSES, View, region};

/// A key as a value of Rust.
trait Key {
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

pub fn new(keys: Keys) -> Box<dyn Engine> {
    match keys {
        Keys::Ints => Box::new(OfInts::new()),
        Keys::Texts => Box::new(OfTexts::new()),
    }
}

/// Its id, customer, item, quantity and status.
type Order<K> = Tup5<K, Option<K>, K, Option<i64>, String>;
type Customer<K> = Tup2<K, Option<String>>;
type Item<K> = Tup2<K, i64>;
/// Orders, sum of quantity × price, and how many had a quantity.
type Totals = Tup3<i64, i64, i64>;
type Weighted<T> = Vec<Tup2<T, ZWeight>>;

// A macro, since what its types have to be for a generic one is more than the circuit itself.
macro_rules! circuit {
    ($name:ident, $key:ty) => {
        struct $name {
            circuit: DBSPHandle,
            orders: ZSetHandle<Order<$key>>,
            customers: ZSetHandle<Customer<$key>>,
            items: ZSetHandle<Item<$key>>,
            output: OutputHandle<OrdIndexedZSet<Option<String>, Totals>>,
            view: View,
        }

        impl $name {
            fn new() -> Self {
                let (circuit, handles) = Runtime::init_circuit(1usize, |circuit| {
                    let (orders, order_input) = circuit.add_input_zset::<Order<$key>>();
                    let (customers, customer_input) = circuit.add_input_zset::<Customer<$key>>();
                    let (items, item_input) = circuit.add_input_zset::<Item<$key>>();
                    // The order's id is carried through, without which orders that look alike are one row.
                    let by_customer = orders.flat_map_index(|order: &Order<$key>| {
                        let Tup5(id, customer, item, qty, status) = order;
                        let is_kept = status.as_str() != STATUSES[CANCELLED as usize];
                        let customer = customer.clone().filter(|_| is_kept);
                        customer.map(|customer| (customer, Tup3(id.clone(), item.clone(), *qty)))
                    });
                    let customers = customers.map_index(|Tup2(id, region): &Customer<$key>| {
                        (id.clone(), region.clone())
                    });
                    let by_item = by_customer.join_index(&customers, |_, order, region| {
                        let Tup3(id, item, qty) = order;
                        Some((item.clone(), Tup3(id.clone(), region.clone(), *qty)))
                    });
                    let items =
                        items.map_index(|Tup2(sku, price): &Item<$key>| (sku.clone(), *price));
                    let by_region = by_item.join_index(&items, |_, order, price| {
                        let Tup3(id, region, qty) = order;
                        Some((region.clone(), Tup2(id.clone(), qty.map(|qty| qty * price))))
                    });
                    let totals = by_region.aggregate_linear(|order: &Tup2<$key, Option<i64>>| {
                        Tup3(1i64, order.1.unwrap_or(0), i64::from(order.1.is_some()))
                    });
                    Ok((order_input, customer_input, item_input, totals.output()))
                })
                .unwrap();
                let (orders, customers, items, output) = handles;
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

        impl Engine for $name {
            fn name(&self) -> &'static str {
                "dbsp"
            }

            fn input(&self, change: &Change) -> Input {
                let of = <$key as Key>::of;
                let orders = change.orders.iter().map(|(row, weight)| {
                    let customer = row.customer.map(|id| of('c', id));
                    let status = STATUSES[row.status as usize].to_string();
                    let order = Tup5(
                        of('o', row.id),
                        customer,
                        of('i', row.item),
                        row.qty,
                        status,
                    );
                    Tup2(order, *weight)
                });
                let customers = change.customers.iter().map(|(row, weight)| {
                    Tup2(Tup2(of('c', row.id), row.region.map(region)), *weight)
                });
                let items = change.items.iter();
                let items =
                    items.map(|(row, weight)| Tup2(Tup2(of('i', row.sku), row.price), *weight));
                let orders: Weighted<Order<$key>> = orders.collect();
                let customers: Weighted<Customer<$key>> = customers.collect();
                let items: Weighted<Item<$key>> = items.collect();
                Box::new((orders, customers, items))
            }

            fn step(&mut self, input: Input) {
                type Inputs = (
                    Weighted<Order<$key>>,
                    Weighted<Customer<$key>>,
                    Weighted<Item<$key>>,
                );
                let mut inputs: Box<Inputs> = input.downcast().unwrap();
                self.orders.append(&mut inputs.0);
                self.customers.append(&mut inputs.1);
                self.items.append(&mut inputs.2);
                self.circuit.transaction().unwrap();
                // What changed, where it can be read, as a table would have it: the rows that go, then those that come.
                let changes: Vec<_> = self.output.consolidate().iter().collect();
                for (region, _, _) in changes.iter().filter(|(_, _, weight)| *weight < 0) {
                    self.view.remove(region);
                }
                for (region, Tup3(orders, worth, _), weight) in changes {
                    if weight > 0 {
                        self.view.insert(region, (orders, worth));
                    }
                }
            }

            fn view(&mut self) -> View {
                self.view.clone()
            }
        }
    };
}

circuit!(OfInts, i64);
circuit!(OfTexts, String);
