//! The shop's past as Parquet files, a folder per month, and its price list as CSV.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use chrono::{Datelike, NaiveDate};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use super::company::Company;
use super::sales::{Line, Order};

/// Orders up to, not including, `until`, below `folder`: `orders/month=2026-03/…`, `order_lines/month=…`.
pub fn write_history(company: &Company, until: usize, folder: &Path) -> io::Result<()> {
    let sales = &company.sales;
    let orders = &sales.orders[..until];
    let mut lines = sales.lines.as_slice();
    let mut start = 0;
    for month in orders.chunk_by(|a, b| month_of(a) == month_of(b)) {
        let end = start + month.len();
        let (these, rest) = lines.split_at(lines.partition_point(|line| line.order < end));
        let name = month_of(&month[0]);
        write(
            &folder.join("orders").join(format!("month={name}")),
            "orders",
            &orders_batch(company, month)?,
        )?;
        let batch = lines_batch(company, these)?;
        write(
            &folder.join("order_lines").join(format!("month={name}")),
            "order_lines",
            &batch,
        )?;
        (lines, start) = (rest, end);
    }
    Ok(())
}

/// What the shop believes to be the prices.
pub fn write_price_list(company: &Company, path: &Path) -> io::Result<()> {
    let mut text = String::from("sku,description,price,currency\n");
    for item in company.items.iter().filter(|item| !item.discontinued) {
        let price = if item.stale_in_shop {
            item.old_price
        } else {
            item.price
        };
        let name = item.name.replace('"', "\"\"");
        let _ = writeln!(
            text,
            "{},\"{name}\",{}.{:02},EUR",
            item.sku,
            price / 100,
            price % 100
        );
    }
    fs::write(path, text)
}

fn month_of(order: &Order) -> String {
    order.at.format("%Y-%m").to_string()
}

fn write(folder: &Path, name: &str, batch: &RecordBatch) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let file = File::create(folder.join(format!("{name}.parquet")))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .build();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.close()?;
    Ok(())
}

fn orders_batch(company: &Company, orders: &[Order]) -> io::Result<RecordBatch> {
    let customers = orders.iter().map(|o| company.customers[o.customer].id);
    batch(vec![
        (
            "order_id",
            Arc::new(Int64Array::from_iter_values(orders.iter().map(|o| o.id))),
        ),
        (
            "customer_id",
            Arc::new(Int64Array::from_iter_values(customers)),
        ),
        (
            "ordered_at",
            Arc::new(TimestampMicrosecondArray::from_iter_values(
                orders.iter().map(|o| o.at.and_utc().timestamp_micros()),
            )),
        ),
        (
            "site",
            Arc::new(StringArray::from_iter_values(orders.iter().map(|o| o.site))),
        ),
        (
            "channel",
            Arc::new(StringArray::from_iter_values(
                orders.iter().map(|o| o.channel),
            )),
        ),
        (
            "status",
            Arc::new(StringArray::from_iter_values(
                orders.iter().map(|o| o.status),
            )),
        ),
        (
            "promised",
            Arc::new(Date32Array::from_iter_values(
                orders.iter().map(|o| days(o.promised)),
            )),
        ),
    ])
}

fn lines_batch(company: &Company, lines: &[Line]) -> io::Result<RecordBatch> {
    let orders = lines.iter().map(|l| company.sales.orders[l.order].id);
    let skus = lines.iter().map(|l| &company.items[l.item].sku);
    let prices = Decimal128Array::from_iter_values(lines.iter().map(|l| i128::from(l.unit_price)));
    let prices = prices.with_precision_and_scale(12, 2).map_err(invalid)?;
    batch(vec![
        ("order_id", Arc::new(Int64Array::from_iter_values(orders))),
        (
            "line_no",
            Arc::new(Int64Array::from_iter_values(lines.iter().map(|l| l.number))),
        ),
        ("sku", Arc::new(StringArray::from_iter_values(skus))),
        (
            "quantity",
            Arc::new(Int64Array::from_iter_values(
                lines.iter().map(|l| l.quantity),
            )),
        ),
        ("unit_price", Arc::new(prices)),
    ])
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> io::Result<RecordBatch> {
    let fields = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), false));
    let schema: SchemaRef = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    RecordBatch::try_new(
        schema,
        columns.into_iter().map(|(_, array)| array).collect(),
    )
    .map_err(invalid)
}

fn invalid(e: ArrowError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, e)
}

/// Days since 1970.
fn days(day: NaiveDate) -> i32 {
    day.num_days_from_ce() - 719_163
}
