use std::collections::HashSet;

use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime};

use super::rng::Rng;
use super::sales::{self, Sales};
use super::words::{ACTIVITIES, CATEGORIES, COUNTRIES, Country, ROLES, SALESPEOPLE, SITES};

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Size {
    pub customers: usize,
    pub items: usize,
    pub days: usize,
    /// On average; weekdays have more, weekends fewer.
    pub orders_per_day: usize,
}

impl Size {
    pub const FULL: Self = Self {
        customers: 8_000,
        items: 7_500,
        days: 90,
        orders_per_day: 1_500,
    };
}

/// A wholesaler of workshop supplies and all it knows, before it is spread over its systems. The same seed, day and
/// size give the same company. Money is in cents, references to items and customers are indexes.
#[derive(Debug, PartialEq)]
pub struct Company {
    pub today: NaiveDate,
    pub items: Vec<Item>,
    pub stock: Vec<Stock>,
    pub purchases: Vec<Purchase>,
    pub customers: Vec<Customer>,
    pub contacts: Vec<Contact>,
    pub activities: Vec<Activity>,
    pub sales: Sales,
}

#[derive(Debug, PartialEq)]
pub struct Item {
    pub sku: String,
    pub name: String,
    pub category: &'static str,
    pub unit: &'static str,
    pub cost: i64,
    /// Since the beginning of the year before.
    pub old_price: i64,
    /// Since [`Company::price_change`], if it changed then.
    pub price: i64,
    /// The web shop was not told of the change.
    pub stale_in_shop: bool,
    pub discontinued: bool,
    pub listed: NaiveDate,
}

#[derive(Debug, PartialEq)]
pub struct Stock {
    pub item: usize,
    pub site: &'static str,
    pub on_hand: i64,
    /// Held back by quality control.
    pub blocked: i64,
    pub reorder_level: i64,
    pub counted: NaiveDate,
}

/// Goods on their way to a site.
#[derive(Debug, PartialEq)]
pub struct Purchase {
    pub item: usize,
    pub site: &'static str,
    pub quantity: i64,
    pub expected: NaiveDate,
}

#[derive(Debug, PartialEq)]
pub struct Customer {
    pub id: i64,
    pub name: String,
    pub city: &'static str,
    pub country: &'static str,
    pub region: &'static str,
    pub site: &'static str,
    pub segment: &'static str,
    pub salesperson: &'static str,
    pub since: NaiveDate,
    pub domain: String,
    pub credit_limit: i64,
    pub terms: i64,
    pub blocked: bool,
    pub pays: Pays,
    pub reviewed: NaiveDate,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pays {
    InTime,
    Late,
    Never,
}

#[derive(Debug, PartialEq)]
pub struct Contact {
    pub customer: usize,
    pub first_name: &'static str,
    pub last_name: &'static str,
    pub email: String,
    /// Not everybody gives one.
    pub phone: Option<String>,
    pub role: &'static str,
    pub newsletter: bool,
}

#[derive(Debug, PartialEq)]
pub struct Activity {
    pub customer: usize,
    pub contact: Option<usize>,
    pub at: NaiveDateTime,
    pub kind: &'static str,
    pub subject: &'static str,
    pub done_by: &'static str,
    /// Only complaints and offers are open or closed.
    pub open: Option<bool>,
}

impl Company {
    pub fn new(seed: u64, today: NaiveDate, size: Size) -> Self {
        let items = items(&mut Rng::new(seed, "items"), today, size.items);
        // Who buys much and what sells well has nothing to do with the order of the numbers.
        let mut bestsellers: Vec<usize> = (0..items.len()).collect();
        Rng::new(seed, "bestsellers").shuffle(&mut bestsellers);
        let mut largest: Vec<usize> = (0..size.customers).collect();
        Rng::new(seed, "largest").shuffle(&mut largest);

        let customers = customers(&mut Rng::new(seed, "customers"), today, &largest);
        let contacts = contacts(&mut Rng::new(seed, "contacts"), &customers);
        let activities = activities(
            &mut Rng::new(seed, "activities"),
            today,
            &customers,
            &contacts,
        );
        let stock = stock(&mut Rng::new(seed, "stock"), today, &items, &bestsellers);
        let purchases = purchases(&mut Rng::new(seed, "purchases"), today, &stock);
        let mut rng = Rng::new(seed, "sales");
        let sales = sales::generate(
            &mut rng,
            today,
            size,
            &items,
            &customers,
            &bestsellers,
            &largest,
        );
        Self {
            today,
            items,
            stock,
            purchases,
            customers,
            contacts,
            activities,
            sales,
        }
    }

    /// The day on which many prices changed.
    pub fn price_change(today: NaiveDate) -> NaiveDate {
        back(today, 45)
    }
}

pub fn back(day: NaiveDate, days: i64) -> NaiveDate {
    day.checked_sub_days(Days::new(days.max(0) as u64))
        .unwrap_or(day)
}

pub fn ahead(day: NaiveDate, days: i64) -> NaiveDate {
    day.checked_add_days(Days::new(days.max(0) as u64))
        .unwrap_or(day)
}

/// A time of day in business hours, most often in the late morning.
pub fn business_time(rng: &mut Rng) -> NaiveTime {
    let second = 7 * 3600 + ((rng.unit() + rng.unit()) / 2.0 * 11.0 * 3600.0) as u32;
    NaiveTime::from_num_seconds_from_midnight_opt(second, 0).unwrap_or_default()
}

fn items(rng: &mut Rng, today: NaiveDate, count: usize) -> Vec<Item> {
    let mut made = vec![0_usize; CATEGORIES.len()];
    (0..count)
        .map(|_| {
            let which = rng.weighted(CATEGORIES.iter().map(|c| c.weight));
            let category = &CATEGORIES[which];
            let number = made[which];
            made[which] += 1;
            let (nouns, sizes) = (category.nouns.len(), category.sizes.len());
            let noun = category.nouns[number % nouns];
            let size = category.sizes[number / nouns % sizes];
            let kind = category.kinds[number / (nouns * sizes) % category.kinds.len()];
            let series = number / (nouns * sizes * category.kinds.len());
            let series = if series == 0 {
                String::new()
            } else {
                format!(", series {}", series + 1)
            };
            // Between a fifth and five times the typical price.
            let factor = 5.0_f64.powf(rng.unit() + rng.unit() - 1.0);
            let old_price = ((category.price as f64 * factor) as i64).max(5);
            let raised = rng.chance(0.4);
            let price = if raised {
                old_price * rng.between(101, 109) / 100
            } else {
                old_price
            };
            Item {
                sku: format!("{}-{:05}", category.prefix, 10_000 + number * 7),
                name: format!("{noun} {size}, {kind}{series}"),
                category: category.name,
                unit: category.unit,
                cost: (old_price * rng.between(48, 82) / 100).max(1),
                old_price,
                price,
                stale_in_shop: price != old_price && rng.chance(0.03),
                discontinued: rng.chance(0.04),
                listed: back(today, rng.between(120, 4_000)),
            }
        })
        .collect()
}

fn customers(rng: &mut Rng, today: NaiveDate, largest: &[usize]) -> Vec<Customer> {
    let mut rank = vec![0; largest.len()];
    for (place, customer) in largest.iter().enumerate() {
        rank[*customer] = place;
    }
    let mut taken = HashSet::new();
    let count = largest.len();
    (0..count)
        .map(|at| {
            let country = &COUNTRIES[rng.weighted(COUNTRIES.iter().map(|c| c.weight))];
            let city = rng.pick(country.cities);
            let name = company_name(rng, country, city, &mut taken);
            let (segment, credit) = match rank[at] * 100 / count {
                0..5 => ("A", rng.between(60, 400) * 100_000),
                5..25 => ("B", rng.between(10, 60) * 100_000),
                _ => ("C", rng.between(2, 24) * 50_000),
            };
            let pays = [Pays::InTime, Pays::Late, Pays::Never]
                [rng.weighted([85.0, 12.5, 2.5].into_iter())];
            Customer {
                id: 10_001 + at as i64,
                domain: format!("{}.{}", slug(&name, '-'), country.domain),
                name,
                city,
                country: country.code,
                region: country.region,
                site: country.site,
                segment,
                salesperson: rng.pick(SALESPEOPLE),
                since: back(today, rng.between(30, 5_500)),
                credit_limit: credit,
                terms: rng.pick(&[14, 30, 30, 30, 45, 60]),
                blocked: matches!(pays, Pays::Never) && rng.chance(0.3),
                pays,
                reviewed: back(today, rng.between(1, 360)),
            }
        })
        .collect()
}

fn company_name(
    rng: &mut Rng,
    country: &Country,
    city: &str,
    taken: &mut HashSet<String>,
) -> String {
    let (family, trade) = (rng.pick(country.families), rng.pick(country.trades));
    let form = rng.pick(country.forms);
    let second = rng.pick(country.families);
    let candidates = [
        format!("{family} {trade} {form}"),
        format!("{family} {trade} {city} {form}"),
        format!("{family} & {second} {trade} {form}"),
        format!("{family} & {second} {trade} {city} {form}"),
    ];
    for name in candidates {
        if taken.insert(name.clone()) {
            return name;
        }
    }
    let numbered = (2..).map(|n| format!("{family} {trade} {city} {n} {form}"));
    numbered
        .into_iter()
        .find(|name| taken.insert(name.clone()))
        .unwrap_or_default()
}

/// The words of a name in ASCII: `Müller Metallbau GmbH` → `mueller-metallbau`.
fn slug(name: &str, joint: char) -> String {
    let mut text = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => text.push(c),
            'ä' | 'æ' => text.push_str("ae"),
            'ö' | 'ø' => text.push_str("oe"),
            'ü' => text.push_str("ue"),
            'å' => text.push_str("aa"),
            'ß' => text.push_str("ss"),
            'à' | 'á' | 'â' | 'ą' => text.push('a'),
            'ç' | 'ć' => text.push('c'),
            'è' | 'é' | 'ê' | 'ë' | 'ę' => text.push('e'),
            'ì' | 'í' | 'î' | 'ï' => text.push('i'),
            'ł' => text.push('l'),
            'ñ' | 'ń' => text.push('n'),
            'ò' | 'ó' | 'ô' => text.push('o'),
            'ś' => text.push('s'),
            'ù' | 'ú' | 'û' => text.push('u'),
            'ź' | 'ż' => text.push('z'),
            ' ' | '-' => text.push(joint),
            _ => {}
        }
    }
    let parts: Vec<&str> = text
        .split(joint)
        .filter(|part| !part.is_empty())
        .take(2)
        .collect();
    parts.join(&joint.to_string())
}

fn contacts(rng: &mut Rng, customers: &[Customer]) -> Vec<Contact> {
    let mut contacts = Vec::new();
    for (at, customer) in customers.iter().enumerate() {
        let Some(country) = COUNTRIES.iter().find(|c| c.code == customer.country) else {
            continue;
        };
        let count = match customer.segment {
            "A" => rng.between(2, 6),
            "B" => rng.between(1, 3),
            _ => rng.between(1, 2),
        };
        for _ in 0..count {
            let (first_name, last_name) =
                (rng.pick(country.first_names), rng.pick(country.families));
            let phone = format!(
                "{} {} {:06}",
                country.dial,
                rng.between(20, 899),
                rng.below(1_000_000)
            );
            contacts.push(Contact {
                customer: at,
                first_name,
                last_name,
                email: format!(
                    "{}.{}@{}",
                    slug(first_name, '-'),
                    slug(last_name, '-'),
                    customer.domain
                ),
                phone: rng.chance(0.9).then_some(phone),
                role: ROLES[rng.weighted(ROLES.iter().map(|r| r.1))].0,
                newsletter: rng.chance(0.35),
            });
        }
    }
    contacts
}

fn activities(
    rng: &mut Rng,
    today: NaiveDate,
    customers: &[Customer],
    contacts: &[Contact],
) -> Vec<Activity> {
    let mut first_contact = vec![None; customers.len()];
    for (at, contact) in contacts.iter().enumerate() {
        first_contact[contact.customer].get_or_insert(at);
    }
    let mut activities = Vec::new();
    for (at, customer) in customers.iter().enumerate() {
        let count = match customer.segment {
            "A" => rng.between(10, 40),
            "B" => rng.between(2, 12),
            _ => rng.between(0, 5),
        };
        for _ in 0..count {
            let (kind, _, subjects) = ACTIVITIES[rng.weighted(ACTIVITIES.iter().map(|a| a.1))];
            let age = rng.skewed(365, 2) as i64;
            activities.push(Activity {
                customer: at,
                contact: first_contact[at].filter(|_| rng.chance(0.8)),
                at: back(today, age + 1).and_time(business_time(rng)),
                kind,
                subject: rng.pick(subjects),
                done_by: customer.salesperson,
                open: match kind {
                    "complaint" | "offer" => Some(rng.chance(if age < 30 { 0.45 } else { 0.05 })),
                    _ => None,
                },
            });
        }
    }
    activities.sort_by_key(|activity| activity.at);
    activities
}

fn stock(rng: &mut Rng, today: NaiveDate, items: &[Item], bestsellers: &[usize]) -> Vec<Stock> {
    let mut rank = vec![0; items.len()];
    for (place, item) in bestsellers.iter().enumerate() {
        rank[*item] = place;
    }
    let mut stock = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let share = rank[at] as f64 / items.len() as f64;
        for (site, ..) in SITES {
            // What sells well is everywhere; the rest in one or two places.
            if !rng.chance(if share < 0.2 { 1.0 } else { 0.45 }) {
                continue;
            }
            let daily = 24.0 * (1.0 - share).powi(4) + 0.3;
            let reorder_level = (daily * 4.0) as i64 + 2;
            let on_hand = match () {
                () if rng.chance(0.04) => 0,
                () if item.discontinued => rng.between(0, 8),
                () => (daily * 20.0 * rng.unit()) as i64 + 1,
            };
            stock.push(Stock {
                item: at,
                site,
                on_hand,
                blocked: if rng.chance(0.05) {
                    rng.between(0, on_hand.min(10))
                } else {
                    0
                },
                reorder_level,
                counted: back(today, rng.between(0, 330)),
            });
        }
    }
    stock
}

fn purchases(rng: &mut Rng, today: NaiveDate, stock: &[Stock]) -> Vec<Purchase> {
    let low = stock.iter().filter(|s| s.on_hand < s.reorder_level);
    let mut purchases = Vec::new();
    for short in low {
        if rng.chance(0.8) {
            purchases.push(Purchase {
                item: short.item,
                site: short.site,
                quantity: (short.reorder_level * rng.between(2, 5)).max(10) / 5 * 5,
                // A few are late.
                expected: ahead(back(today, 4), rng.between(0, 35)),
            });
        }
    }
    purchases
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size {
        customers: 300,
        items: 200,
        days: 90,
        orders_per_day: 20,
    };

    fn day() -> NaiveDate {
        NaiveDate::from_ymd_opt(2026, 3, 2).unwrap()
    }

    #[test]
    fn same_seed_same_company() {
        let one = Company::new(1, day(), SMALL);
        assert_eq!(one, Company::new(1, day(), SMALL));
        assert_ne!(one, Company::new(2, day(), SMALL));
    }

    #[test]
    fn sizes_are_as_asked() {
        let company = Company::new(1, day(), SMALL);
        assert_eq!(company.items.len(), 200);
        assert_eq!(company.customers.len(), 300);
        assert_eq!(company.sales.orders.len(), 90 * 20);
        let names: HashSet<_> = company.customers.iter().map(|c| &c.name).collect();
        assert_eq!(names.len(), 300);
        let skus: HashSet<_> = company.items.iter().map(|i| &i.sku).collect();
        assert_eq!(skus.len(), 200);
    }

    #[test]
    fn a_few_customers_buy_most() {
        let company = Company::new(1, day(), SMALL);
        let mut orders = vec![0; company.customers.len()];
        for order in &company.sales.orders {
            orders[order.customer] += 1;
        }
        orders.sort_unstable_by(|a, b| b.cmp(a));
        let top: usize = orders[..60].iter().sum();
        assert!(
            top * 2 > company.sales.orders.len(),
            "a fifth has {top} orders"
        );
    }

    #[test]
    fn an_invoice_has_the_value_of_its_order() {
        let company = Company::new(1, day(), SMALL);
        let mut value = vec![0; company.sales.orders.len()];
        for line in &company.sales.lines {
            value[line.order] += line.quantity * line.unit_price;
        }
        assert!(!company.sales.invoices.is_empty());
        for invoice in &company.sales.invoices {
            assert_eq!(invoice.amount, value[invoice.order]);
            assert!(invoice.issued <= day() && invoice.paid <= invoice.amount);
        }
    }

    #[test]
    fn names_become_domains() {
        assert_eq!(slug("Müller Metallbau Köln GmbH", '-'), "mueller-metallbau");
        assert_eq!(slug("Łukasz", '-'), "lukasz");
        assert_eq!(
            slug("D'Angelo & Galli Officine S.r.l.", '-'),
            "dangelo-galli"
        );
    }
}
