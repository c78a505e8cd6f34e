//! Orders of customers for items, and how they change: the same for every engine.

use std::collections::BTreeMap;

use fastrand::Rng;

pub const CUSTOMERS: u32 = 8_000;
pub const ITEMS: u32 = 7_500;
const REGIONS: u8 = 25;

/// An order; its customer and quantity may be unknown.
#[derive(Clone, Copy, PartialEq)]
pub struct Order {
    pub id: u32,
    pub customer: Option<u32>,
    pub item: u32,
    pub qty: Option<i64>,
    pub status: u8,
}

#[derive(Clone, Copy, PartialEq)]
pub struct Customer {
    pub id: u32,
    pub region: Option<u8>,
}

#[derive(Clone, Copy, PartialEq)]
pub struct Item {
    pub sku: u32,
    pub price: i64,
}

pub const STATUSES: [&str; 4] = ["open", "paid", "shipped", "cancelled"];
/// Not in the view.
pub const CANCELLED: u8 = 3;

/// Rows with weights, by table.
#[derive(Clone, Default)]
pub struct Change {
    pub orders: Vec<(Order, i64)>,
    pub customers: Vec<(Customer, i64)>,
    pub items: Vec<(Item, i64)>,
}

/// Region → orders, sum of quantity × price.
pub type View = BTreeMap<Option<String>, (i64, i64)>;

pub struct World {
    orders: Vec<Order>,
    customers: Vec<Customer>,
    items: Vec<Item>,
    random: Rng,
}

pub fn region(number: u8) -> String {
    format!("region {number:02}")
}

impl World {
    /// Customers and items; the first change brings them.
    pub fn new() -> (Self, Change) {
        let mut random = Rng::with_seed(5);
        let customers = (0..CUSTOMERS).map(|id| {
            let region = random.u8(0..=REGIONS);
            let region = (region < REGIONS).then_some(region);
            Customer { id, region }
        });
        let customers: Vec<_> = customers.collect();
        let price = |sku| Item {
            sku,
            price: random.i64(100..100_000),
        };
        let items: Vec<_> = (0..ITEMS).map(price).collect();
        let change = Change {
            orders: Vec::new(),
            customers: customers.iter().map(|row| (*row, 1)).collect(),
            items: items.iter().map(|row| (*row, 1)).collect(),
        };
        let world = Self {
            orders: Vec::new(),
            customers,
            items,
            random,
        };
        (world, change)
    }

    pub fn orders(&self) -> usize {
        self.orders.len()
    }

    fn order(&mut self, id: u32) -> Order {
        let random = &mut self.random;
        Order {
            id,
            customer: (random.u8(0..100) > 0).then(|| random.u32(0..CUSTOMERS)),
            item: random.u32(0..ITEMS),
            qty: (random.u8(0..50) > 0).then(|| random.i64(1..100)),
            status: random.u8(0..4),
        }
    }

    /// New orders, the first with this id.
    pub fn insert(&mut self, from: u32, count: u32) -> Change {
        let mut change = Change::default();
        for id in from..from + count {
            let order = self.order(id);
            self.orders.push(order);
            change.orders.push((order, 1));
        }
        change
    }

    /// Some orders go.
    pub fn delete(&mut self, count: usize) -> Change {
        let mut change = Change::default();
        for _ in 0..count.min(self.orders.len()) {
            let i = self.random.usize(0..self.orders.len());
            change.orders.push((self.orders.swap_remove(i), -1));
        }
        change
    }

    /// Some orders are changed: their quantity always, of one in ten the customer, of one in ten the item, of some the
    /// status.
    pub fn update(&mut self, count: usize) -> Change {
        let mut change = Change::default();
        for _ in 0..count {
            let i = self.random.usize(0..self.orders.len());
            let (old, other) = (self.orders[i], self.order(self.orders[i].id));
            let mut new = old;
            new.qty = other.qty;
            match self.random.u8(0..20) {
                0..=1 => new.customer = other.customer,
                2..=3 => new.item = other.item,
                4 => new.status = other.status,
                _ => {}
            }
            self.orders[i] = new;
            change.orders.extend([(old, -1), (new, 1)]);
        }
        change
    }

    /// A customer moves, and all its orders with it.
    pub fn move_customer(&mut self) -> Change {
        let i = self.random.usize(0..self.customers.len());
        let old = self.customers[i];
        let region = Some((old.region.unwrap_or(0) + 1) % REGIONS);
        let new = Customer { region, ..old };
        self.customers[i] = new;
        let customers = vec![(old, -1), (new, 1)];
        Change {
            customers,
            ..Change::default()
        }
    }

    /// The view, from nothing.
    pub fn view(&self) -> View {
        let mut view = View::new();
        for order in self.orders.iter().filter(|order| order.status != CANCELLED) {
            let Some(customer) = order.customer else {
                continue;
            };
            let at = self.customers[customer as usize].region.map(region);
            let group = view.entry(at).or_default();
            group.0 += 1;
            group.1 += order.qty.unwrap_or(0) * self.items[order.item as usize].price;
        }
        view
    }
}
