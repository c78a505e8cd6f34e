//! The company's three SQLite databases: ERP, CRM, and the shop's orders of today.

use std::path::Path;

use chrono::NaiveDate;
use rusqlite::{Connection, Params, Result, params};

use super::company::{Company, back};
use super::words::SITES;

const ERP: &str = "
    CREATE TABLE site (site TEXT PRIMARY KEY, city TEXT NOT NULL, country TEXT NOT NULL);
    CREATE TABLE item (
        sku TEXT PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, unit TEXT NOT NULL,
        cost DECIMAL(12,2) NOT NULL, discontinued BOOLEAN NOT NULL, listed DATE NOT NULL);
    CREATE TABLE price (
        sku TEXT NOT NULL REFERENCES item (sku), valid_from DATE NOT NULL, price DECIMAL(12,2) NOT NULL,
        PRIMARY KEY (sku, valid_from));
    CREATE TABLE stock (
        sku TEXT NOT NULL REFERENCES item (sku), site TEXT NOT NULL REFERENCES site (site),
        on_hand INTEGER NOT NULL, blocked INTEGER NOT NULL, reorder_level INTEGER NOT NULL, counted DATE NOT NULL,
        PRIMARY KEY (sku, site));
    CREATE TABLE purchase (
        purchase_no INTEGER PRIMARY KEY, sku TEXT NOT NULL REFERENCES item (sku),
        site TEXT NOT NULL REFERENCES site (site), quantity INTEGER NOT NULL, expected DATE NOT NULL);
    CREATE TABLE customer_credit (
        customer_id INTEGER PRIMARY KEY, credit_limit DECIMAL(12,2) NOT NULL, payment_days INTEGER NOT NULL,
        blocked BOOLEAN NOT NULL, reviewed DATE NOT NULL);
    CREATE TABLE invoice (
        invoice_no INTEGER PRIMARY KEY, order_id INTEGER NOT NULL UNIQUE,
        customer_id INTEGER NOT NULL REFERENCES customer_credit (customer_id),
        issued DATE NOT NULL, due DATE NOT NULL, amount DECIMAL(12,2) NOT NULL, paid DECIMAL(12,2) NOT NULL,
        paid_on DATE);";

/// Made when the rows are in: faster so.
const ERP_INDEXES: &str = "CREATE INDEX invoice_customer ON invoice (customer_id); CREATE INDEX stock_site ON stock (site);";

const CRM: &str = "
    CREATE TABLE customer (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, city TEXT NOT NULL, country TEXT NOT NULL, region TEXT NOT NULL,
        segment TEXT NOT NULL, salesperson TEXT NOT NULL, since DATE NOT NULL);
    CREATE TABLE contact (
        id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer (id), first_name TEXT NOT NULL,
        last_name TEXT NOT NULL, email TEXT NOT NULL, phone TEXT, role TEXT NOT NULL, newsletter BOOLEAN NOT NULL);
    CREATE TABLE activity (
        id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customer (id),
        contact_id INTEGER REFERENCES contact (id), happened_at TIMESTAMP NOT NULL, kind TEXT NOT NULL,
        subject TEXT NOT NULL, done_by TEXT NOT NULL, is_open BOOLEAN);";

const CRM_INDEXES: &str = "
    CREATE INDEX contact_customer ON contact (customer_id);
    CREATE INDEX activity_customer ON activity (customer_id);";

const SHOP: &str = "
    CREATE TABLE orders (
        order_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, ordered_at TIMESTAMP NOT NULL, site TEXT NOT NULL,
        channel TEXT NOT NULL, status TEXT NOT NULL, promised DATE NOT NULL);
    CREATE TABLE order_lines (
        order_id INTEGER NOT NULL REFERENCES orders (order_id), line_no INTEGER NOT NULL, sku TEXT NOT NULL,
        quantity INTEGER NOT NULL, unit_price DECIMAL(12,2) NOT NULL,
        PRIMARY KEY (order_id, line_no));";

pub fn write_erp(company: &Company, path: &Path) -> Result<()> {
    let (items, customers) = (&company.items, &company.customers);
    let mut database = create(path, ERP)?;
    let transaction = database.transaction()?;
    fill(
        &transaction,
        "INSERT INTO site VALUES (?, ?, ?)",
        SITES.iter().copied(),
    )?;
    fill(
        &transaction,
        "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?)",
        items.iter().map(|item| {
            (
                &item.sku,
                &item.name,
                item.category,
                item.unit,
                money(item.cost),
                item.discontinued,
                day(item.listed),
            )
        }),
    )?;
    let first_prices = items.iter().map(|item| {
        (
            &item.sku,
            day(back(company.today, 400)),
            money(item.old_price),
        )
    });
    let changed = day(Company::price_change(company.today));
    let new_prices = items
        .iter()
        .filter(|item| item.price != item.old_price)
        .map(|item| (&item.sku, changed.clone(), money(item.price)));
    fill(
        &transaction,
        "INSERT INTO price VALUES (?, ?, ?)",
        first_prices.chain(new_prices),
    )?;
    fill(
        &transaction,
        "INSERT INTO stock VALUES (?, ?, ?, ?, ?, ?)",
        company.stock.iter().map(|stock| {
            let sku = &items[stock.item].sku;
            (
                sku,
                stock.site,
                stock.on_hand,
                stock.blocked,
                stock.reorder_level,
                day(stock.counted),
            )
        }),
    )?;
    fill(
        &transaction,
        "INSERT INTO purchase VALUES (?, ?, ?, ?, ?)",
        company
            .purchases
            .iter()
            .zip(70_001_i64..)
            .map(|(purchase, number)| {
                (
                    number,
                    &items[purchase.item].sku,
                    purchase.site,
                    purchase.quantity,
                    day(purchase.expected),
                )
            }),
    )?;
    fill(
        &transaction,
        "INSERT INTO customer_credit VALUES (?, ?, ?, ?, ?)",
        customers.iter().map(|c| {
            (
                c.id,
                money(c.credit_limit),
                c.terms,
                c.blocked,
                day(c.reviewed),
            )
        }),
    )?;
    fill(
        &transaction,
        "INSERT INTO invoice VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        company
            .sales
            .invoices
            .iter()
            .zip(900_001_i64..)
            .map(|(invoice, number)| {
                let order = &company.sales.orders[invoice.order];
                let (issued, due) = (day(invoice.issued), day(invoice.due));
                let (amount, paid) = (money(invoice.amount), money(invoice.paid));
                (
                    number,
                    order.id,
                    customers[order.customer].id,
                    issued,
                    due,
                    amount,
                    paid,
                    invoice.paid_on.map(day),
                )
            }),
    )?;
    transaction.execute_batch(ERP_INDEXES)?;
    transaction.commit()?;
    finish(&database)
}

pub fn write_crm(company: &Company, path: &Path) -> Result<()> {
    let customers = &company.customers;
    let mut database = create(path, CRM)?;
    let transaction = database.transaction()?;
    fill(
        &transaction,
        "INSERT INTO customer VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        customers.iter().map(|c| {
            (
                c.id,
                &c.name,
                c.city,
                c.country,
                c.region,
                c.segment,
                c.salesperson,
                day(c.since),
            )
        }),
    )?;
    fill(
        &transaction,
        "INSERT INTO contact VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        company.contacts.iter().zip(1_i64..).map(|(contact, id)| {
            let customer = customers[contact.customer].id;
            let (first, last, phone) = (contact.first_name, contact.last_name, &contact.phone);
            (
                id,
                customer,
                first,
                last,
                &contact.email,
                phone,
                contact.role,
                contact.newsletter,
            )
        }),
    )?;
    fill(
        &transaction,
        "INSERT INTO activity VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        company
            .activities
            .iter()
            .zip(1_i64..)
            .map(|(activity, id)| {
                let customer = customers[activity.customer].id;
                let contact = activity.contact.map(|contact| contact as i64 + 1);
                let at = activity.at.format("%Y-%m-%d %H:%M:%S").to_string();
                (
                    id,
                    customer,
                    contact,
                    at,
                    activity.kind,
                    activity.subject,
                    activity.done_by,
                    activity.open,
                )
            }),
    )?;
    transaction.execute_batch(CRM_INDEXES)?;
    transaction.commit()?;
    finish(&database)
}

/// Today's orders: those from `first` on.
pub fn write_shop(company: &Company, first: usize, path: &Path) -> Result<()> {
    let sales = &company.sales;
    let mut database = create(path, SHOP)?;
    let transaction = database.transaction()?;
    fill(
        &transaction,
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?)",
        sales.orders[first..].iter().map(|order| {
            let at = order.at.format("%Y-%m-%d %H:%M:%S").to_string();
            let customer = company.customers[order.customer].id;
            (
                order.id,
                customer,
                at,
                order.site,
                order.channel,
                order.status,
                day(order.promised),
            )
        }),
    )?;
    fill(
        &transaction,
        "INSERT INTO order_lines VALUES (?, ?, ?, ?, ?)",
        sales
            .lines
            .iter()
            .filter(|line| line.order >= first)
            .map(|line| {
                let order = sales.orders[line.order].id;
                (
                    order,
                    line.number,
                    &company.items[line.item].sku,
                    line.quantity,
                    money(line.unit_price),
                )
            }),
    )?;
    transaction.commit()?;
    finish(&database)
}

/// A new database, written without care for a crash: what is half done is thrown away anyhow.
fn create(path: &Path, schema: &str) -> Result<Connection> {
    let database = Connection::open(path)?;
    database.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF;")?;
    database.execute_batch(schema)?;
    Ok(database)
}

fn fill<P: Params>(
    database: &Connection,
    insert: &str,
    rows: impl Iterator<Item = P>,
) -> Result<()> {
    let mut statement = database.prepare(insert)?;
    for row in rows {
        statement.execute(row)?;
    }
    Ok(())
}

/// As a system in use has it: with statistics, and with a log that lets readers and the writer be.
fn finish(database: &Connection) -> Result<()> {
    database.execute("ANALYZE", params![])?;
    database.pragma_update(None, "journal_mode", "WAL")
}

/// SQLite keeps decimals as floats; 15 digits of them are exact.
fn money(cents: i64) -> f64 {
    cents as f64 / 100.0
}

fn day(day: NaiveDate) -> String {
    day.format("%Y-%m-%d").to_string()
}
