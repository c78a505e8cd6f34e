use chrono::{Datelike, NaiveDate, NaiveDateTime};

use super::company::{Company, Customer, Item, Pays, Size, ahead, back, business_time};
use super::rng::Rng;

/// What was sold, in the order of time.
#[derive(Debug, Default, PartialEq)]
pub struct Sales {
    pub orders: Vec<Order>,
    /// By order.
    pub lines: Vec<Line>,
    /// By order; what was not shipped has none.
    pub invoices: Vec<Invoice>,
}

#[derive(Debug, PartialEq)]
pub struct Order {
    pub id: i64,
    pub customer: usize,
    pub at: NaiveDateTime,
    pub site: &'static str,
    pub channel: &'static str,
    pub status: &'static str,
    /// The day the goods are promised for.
    pub promised: NaiveDate,
}

#[derive(Debug, PartialEq)]
pub struct Line {
    pub order: usize,
    pub number: i64,
    pub item: usize,
    pub quantity: i64,
    pub unit_price: i64,
}

#[derive(Debug, PartialEq)]
pub struct Invoice {
    pub order: usize,
    pub issued: NaiveDate,
    pub due: NaiveDate,
    pub amount: i64,
    pub paid: i64,
    pub paid_on: Option<NaiveDate>,
}

const CHANNELS: &[(&str, f64)] = &[
    ("web", 58.0),
    ("edi", 22.0),
    ("phone", 14.0),
    ("counter", 6.0),
];

pub fn generate(
    rng: &mut Rng,
    today: NaiveDate,
    size: Size,
    items: &[Item],
    customers: &[Customer],
    bestsellers: &[usize],
    largest: &[usize],
) -> Sales {
    let mut sales = Sales::default();
    for (day, count) in per_day(today, size) {
        let age = (today - day).num_days();
        let mut times: Vec<_> = (0..count).map(|_| business_time(rng)).collect();
        times.sort_unstable();
        for time in times {
            let customer = largest[rng.skewed(largest.len(), 3)];
            let who = &customers[customer];
            let order = sales.orders.len();
            let value = lines(
                rng,
                &mut sales.lines,
                order,
                day,
                today,
                who,
                items,
                bestsellers,
            );
            let status = status(rng, age);
            if status == "shipped" || status == "returned" {
                sales
                    .invoices
                    .extend(invoice(rng, order, day, today, who, value));
            }
            sales.orders.push(Order {
                id: 4_000_001 + order as i64,
                customer,
                at: day.and_time(time),
                site: who.site,
                channel: CHANNELS[rng.weighted(CHANNELS.iter().map(|c| c.1))].0,
                status,
                promised: ahead(day, rng.between(1, 6)),
            });
        }
    }
    sales
}

/// Each day with its number of orders: busy Mondays, quiet weekends, the total as asked.
fn per_day(today: NaiveDate, size: Size) -> Vec<(NaiveDate, usize)> {
    let days: Vec<_> = (0..size.days as i64)
        .rev()
        .map(|age| back(today, age))
        .collect();
    let weight = |day: &NaiveDate| {
        [120, 115, 112, 110, 103, 75, 65][day.weekday().num_days_from_monday() as usize]
    };
    let (all, total) = (
        days.iter().map(weight).sum::<usize>(),
        size.days * size.orders_per_day,
    );
    let (mut passed, mut given) = (0, 0);
    days.into_iter()
        .map(|day| {
            passed += weight(&day);
            let count = total * passed / all - given;
            given += count;
            (day, count)
        })
        .collect()
}

/// Add the lines of an order; its value.
#[expect(clippy::too_many_arguments, reason = "what an order depends on")]
fn lines(
    rng: &mut Rng,
    lines: &mut Vec<Line>,
    order: usize,
    day: NaiveDate,
    today: NaiveDate,
    customer: &Customer,
    items: &[Item],
    bestsellers: &[usize],
) -> i64 {
    let discount = match customer.segment {
        "A" => 12,
        "B" => 6,
        _ => 0,
    };
    let mut value = 0;
    let mut number = 0;
    loop {
        number += 1;
        let item = bestsellers[rng.skewed(bestsellers.len(), 3)];
        let listed = &items[item];
        let price = if day < Company::price_change(today) {
            listed.old_price
        } else {
            listed.price
        };
        // Cheap things are bought in quantities.
        let most = (20_000 / price).clamp(1, 40);
        let line = Line {
            order,
            number,
            item,
            quantity: rng.between(1, most),
            unit_price: (price * (100 - discount) / 100).max(1),
        };
        value += line.quantity * line.unit_price;
        lines.push(line);
        if number == 12 || !rng.chance(0.58) {
            return value;
        }
    }
}

fn status(rng: &mut Rng, age: i64) -> &'static str {
    let open = match age {
        0 => 0.8,
        1 => 0.35,
        2 => 0.15,
        3 => 0.07,
        4..=12 => 0.02,
        _ => 0.0,
    };
    match () {
        () if rng.chance(open) => rng.pick(&["open", "open", "picking"]),
        () if rng.chance(0.015) => "cancelled",
        () if age > 4 && rng.chance(0.01) => "returned",
        () => "shipped",
    }
}

fn invoice(
    rng: &mut Rng,
    order: usize,
    day: NaiveDate,
    today: NaiveDate,
    customer: &Customer,
    amount: i64,
) -> Option<Invoice> {
    let issued = ahead(day, rng.between(0, 2));
    if issued > today {
        return None;
    }
    let due = ahead(issued, customer.terms);
    let delay = match customer.pays {
        Pays::InTime => rng.between(-9, 2),
        Pays::Late => rng.between(4, 40),
        Pays::Never => 1_000,
    };
    let paid_on = if delay < 0 {
        back(due, -delay)
    } else {
        ahead(due, delay)
    };
    let paid_on = Some(paid_on.max(issued)).filter(|paid_on| *paid_on <= today);
    // Now and then somebody pays a part only.
    let paid = match paid_on {
        None => 0,
        Some(_) if rng.chance(0.01) => amount / 2,
        Some(_) => amount,
    };
    Some(Invoice {
        order,
        issued,
        due,
        amount,
        paid,
        paid_on,
    })
}
