//! Three tables and a view of them, twice: kept by the operators, and recomputed from plain maps.
//!
//! ```sql
//! SELECT region, label, count(*), count(qty), sum(qty), sum(qty * price)
//! FROM orders JOIN customer ON orders.customer = customer.id JOIN item ON orders.item = item.sku
//! WHERE qty IS NULL OR qty <> 3 GROUP BY region, label
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float64Type, Int64Type, Schema, SchemaRef,
};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{binary, cast, col, is_null, lit};

use crate::incremental::{Aggregate, GroupBy, Join, Map};
use crate::store::{Pinned, Shape, Table, ZSet};

pub type Order = (i64, Option<i64>, Option<String>, Option<i32>);
/// Region by the bits of its float, so that equal floats are seen to be one.
pub type Customer = (i64, Option<u64>);
pub type Item = (Option<String>, Option<i128>, String);

/// Bags: with a key each row is there once.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub orders: BTreeMap<Order, i64>,
    pub customers: BTreeMap<Customer, i64>,
    pub items: BTreeMap<Item, i64>,
}

/// Region, label → rows, count of qty, sum of qty, sum of qty × price.
pub type Groups = BTreeMap<(Option<u64>, String), (i64, i64, Option<i64>, Option<i128>)>;

pub fn canonical(bits: u64) -> u64 {
    match f64::from_bits(bits) {
        x if x.is_nan() => f64::NAN.to_bits(),
        x => (x + 0.0).to_bits(),
    }
}

impl Content {
    /// The view, by nested loops.
    pub fn view(&self) -> Groups {
        let mut groups = Groups::new();
        for ((_, customer, item, qty), n) in &self.orders {
            if *qty == Some(3) {
                continue;
            }
            let customers = self
                .customers
                .iter()
                .filter(|((id, _), _)| Some(*id) == *customer);
            for ((_, region), m) in customers {
                let items = self
                    .items
                    .iter()
                    .filter(|((sku, ..), _)| item.is_some() && sku == item);
                for ((_, price, label), k) in items {
                    let weight = n * m * k;
                    let group = groups
                        .entry((region.map(canonical), label.clone()))
                        .or_default();
                    group.0 += weight;
                    if let Some(qty) = qty {
                        group.1 += weight;
                        let sum = i64::from(*qty) * weight;
                        group.2 = Some(group.2.unwrap_or(0).wrapping_add(sum));
                        if let Some(price) = price {
                            let sum = i128::from(*qty) * price * i128::from(weight);
                            group.3 = Some(group.3.unwrap_or(0) + sum);
                        }
                    }
                }
            }
        }
        groups
    }
}

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

/// The view as it is kept.
pub struct Kept {
    pub tables: [Table; 3],
    join: Join,
    map: Map,
    group: GroupBy,
    pub view: Table,
    pub epoch: u64,
    pub pieces: usize,
}

impl Kept {
    /// `keyed`: orders, customers and items have keys; else all are bags, with indexes.
    pub fn new(keyed: bool) -> Self {
        use DataType::{Decimal128, Float64, Int32, Int64, Utf8};
        let orders = schema(&[
            ("id", Int64),
            ("customer", Int64),
            ("item", Utf8),
            ("qty", Int32),
        ]);
        let customers = schema(&[("id", Int64), ("region", Float64)]);
        let items = schema(&[("sku", Utf8), ("price", Decimal128(9, 2)), ("label", Utf8)]);
        let shape = |name, schema: SchemaRef| {
            let shape = Shape::new(name, schema).with_chunk_bits(4);
            if keyed {
                shape.with_key(&[0])
            } else {
                shape.with_index(&[0])
            }
        };
        let tables = [
            Table::new(shape("orders", orders).with_index(&[1]).with_index(&[2])),
            Table::new(shape("customer", customers)),
            Table::new(shape("item", items)),
        ];
        let shapes = [0, 1, 2].map(|i| tables[i].shape().clone());
        let on = [((0, 1), (1, 0)), ((0, 2), (2, 0))];
        let join = Join::new(&shapes, &on, &[(1, 1), (2, 2), (0, 3), (2, 1)]).unwrap();
        let input = join.schema().clone();
        let column = |name| col(name, &input).unwrap();
        let is_kept = binary(
            is_null(column("qty")).unwrap(),
            Operator::Or,
            binary(column("qty"), Operator::NotEq, lit(3i32), &input).unwrap(),
            &input,
        );
        let qty = cast(column("qty"), &input, Decimal128(10, 0)).unwrap();
        let worth = binary(qty, Operator::Multiply, column("price"), &input).unwrap();
        let exprs: Vec<(Arc<dyn PhysicalExpr>, String)> = vec![
            (column("region"), "region".into()),
            (column("label"), "label".into()),
            (column("qty"), "qty".into()),
            (worth, "worth".into()),
        ];
        let map = Map::new(&input, Some(is_kept.unwrap()), exprs).unwrap();
        let mapped = map.schema().clone();
        let column = |name| col(name, &mapped).unwrap();
        let group = GroupBy::new(
            &mapped,
            vec![
                (column("region"), "region".into()),
                (column("label"), "label".into()),
            ],
            vec![
                (Aggregate::rows(), "rows".into()),
                (Aggregate::count(column("qty")), "count".into()),
                (Aggregate::sum(column("qty")), "sum".into()),
                (Aggregate::sum(column("worth")), "worth".into()),
            ],
        )
        .unwrap();
        let view = Table::new(Shape::new("view", group.schema().clone()).with_key(&[0, 1]));
        Self {
            tables,
            join,
            map,
            group,
            view,
            epoch: 0,
            pieces: 0,
        }
    }

    /// An epoch that changes from one content to another; `noise` rows come and go within it.
    pub fn change(&mut self, changes: [ZSet; 3]) {
        self.epoch += 1;
        let pin =
            |tables: &[Table; 3]| -> Vec<Pinned> { tables.iter().map(Table::snapshot).collect() };
        let before = pin(&self.tables);
        for (table, change) in self.tables.iter_mut().zip(&changes) {
            table.apply(self.epoch, change).unwrap();
            table.compact(8).unwrap();
        }
        let after = pin(&self.tables);
        let (map, group, pieces) = (&self.map, &mut self.group, &mut self.pieces);
        let changes: Vec<_> = changes.iter().map(Some).collect();
        let mut sink = |piece: ZSet| {
            *pieces += 1;
            group.push(&map.apply(&piece)?)
        };
        self.join
            .changes(&changes, &before, &after, &mut sink)
            .unwrap();
        self.view
            .apply(self.epoch, &self.group.finish().unwrap())
            .unwrap();
    }

    pub fn groups(&self) -> usize {
        self.group.len()
    }

    pub fn read(&self) -> Groups {
        let mut groups = Groups::new();
        for batch in self.view.snapshot().scan(&[0, 1, 2, 3, 4, 5]) {
            let batch: RecordBatch = batch.unwrap();
            let region = batch.column(0).as_primitive::<Float64Type>();
            let label = batch.column(1).as_string::<i32>();
            let int = |i: usize| batch.column(i).as_primitive::<Int64Type>();
            let worth = batch.column(5).as_primitive::<Decimal128Type>();
            for i in 0..batch.num_rows() {
                let key = (
                    region.is_valid(i).then(|| region.value(i).to_bits()),
                    label.value(i).to_string(),
                );
                let sum = int(4).is_valid(i).then(|| int(4).value(i));
                let worth = worth.is_valid(i).then(|| worth.value(i));
                let row = (int(2).value(i), int(3).value(i), sum, worth);
                assert!(groups.insert(key, row).is_none());
            }
        }
        groups
    }
}

pub fn orders(rows: &[(Order, i64)]) -> ZSet {
    let rows_of = rows.iter().map(|(row, _)| row);
    let id: Int64Array = rows_of.clone().map(|row| Some(row.0)).collect();
    let customer: Int64Array = rows_of.clone().map(|row| row.1).collect();
    let item: StringArray = rows_of.clone().map(|row| row.2.as_deref()).collect();
    let qty: Int32Array = rows_of.map(|row| row.3).collect();
    let columns: [(&str, Arc<dyn Array>, bool); 4] = [
        ("id", Arc::new(id), true),
        ("customer", Arc::new(customer), true),
        ("item", Arc::new(item), true),
        ("qty", Arc::new(qty), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    ZSet::new(batch, weights(rows)).unwrap()
}

pub fn customers(rows: &[(Customer, i64)]) -> ZSet {
    let id: Int64Array = rows.iter().map(|(row, _)| Some(row.0)).collect();
    let region: Float64Array = rows
        .iter()
        .map(|(row, _)| row.1.map(f64::from_bits))
        .collect();
    let columns: [(&str, Arc<dyn Array>, bool); 2] = [
        ("id", Arc::new(id), true),
        ("region", Arc::new(region), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    ZSet::new(batch, weights(rows)).unwrap()
}

pub fn items(rows: &[(Item, i64)]) -> ZSet {
    let sku: StringArray = rows.iter().map(|(row, _)| row.0.as_deref()).collect();
    let price: Decimal128Array = rows.iter().map(|(row, _)| row.1).collect();
    let label: StringArray = rows.iter().map(|(row, _)| Some(row.2.as_str())).collect();
    let price = price.with_precision_and_scale(9, 2).unwrap();
    let columns: [(&str, Arc<dyn Array>, bool); 3] = [
        ("sku", Arc::new(sku), true),
        ("price", Arc::new(price), true),
        ("label", Arc::new(label), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    ZSet::new(batch, weights(rows)).unwrap()
}

fn weights<T>(rows: &[(T, i64)]) -> Vec<i64> {
    rows.iter().map(|(_, weight)| *weight).collect()
}
