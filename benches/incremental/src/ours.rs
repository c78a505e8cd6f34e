//! Belvedere's tables and operators, put together as a plan would be.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use belvedere::incremental::{Aggregate, GroupBy, Join, Map};
use belvedere::store::{Pinned, Reader, Shape, Table, ZSet};
use datafusion::logical_expr::Operator;
use datafusion::physical_expr::expressions::{binary, col, lit};

use crate::engine::{Engine, Input, Keys};
use crate::world::{Change, STATUSES, View, region};

pub struct Ours {
    tables: [Table; 3],
    join: Join,
    map: Map,
    group: GroupBy,
    view: Table,
    epoch: u64,
    /// Rows that changed since the tables were compacted.
    owed: [usize; 3],
    keys: Keys,
}

fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    let field = |(name, data_type): &(&str, DataType)| Field::new(*name, data_type.clone(), true);
    Arc::new(Schema::new(fields.iter().map(field).collect::<Vec<_>>()))
}

impl Ours {
    pub fn new(keys: Keys) -> Self {
        use DataType::{Int64, Utf8};
        let id = || match keys {
            Keys::Ints => Int64,
            Keys::Texts => Utf8,
        };
        let orders = schema(&[
            ("id", id()),
            ("customer", id()),
            ("item", id()),
            ("qty", Int64),
            ("status", Utf8),
        ]);
        let customers = schema(&[("id", id()), ("region", Utf8)]);
        let items = schema(&[("sku", id()), ("price", Int64)]);
        let orders = Shape::new("orders", orders).with_key(&[0]);
        let tables = [
            Table::new(orders.with_index(&[1]).with_index(&[2])),
            Table::new(Shape::new("customer", customers).with_key(&[0])),
            Table::new(Shape::new("item", items).with_key(&[0])),
        ];
        let shapes = [0, 1, 2].map(|i| tables[i].shape().clone());
        let on = [((0, 1), (1, 0)), ((0, 2), (2, 0))];
        // Region, quantity, price, status.
        let join = Join::new(&shapes, &on, &[(1, 1), (0, 3), (2, 1), (0, 4)]).unwrap();
        let input = join.schema().clone();
        let column = |name| col(name, &input).unwrap();
        let is_kept = binary(column("status"), Operator::NotEq, lit("cancelled"), &input).unwrap();
        let worth = binary(column("qty"), Operator::Multiply, column("price"), &input).unwrap();
        let exprs = vec![(column("region"), "region".into()), (worth, "worth".into())];
        let map = Map::new(&input, Some(is_kept), exprs).unwrap();
        let mapped = map.schema().clone();
        let column = |name| col(name, &mapped).unwrap();
        let group = GroupBy::new(
            &mapped,
            vec![(column("region"), "region".into())],
            vec![
                (Aggregate::rows(), "orders".into()),
                (Aggregate::sum(column("worth")), "worth".into()),
            ],
        )
        .unwrap();
        let view = Table::new(Shape::new("view", group.schema().clone()).with_key(&[0]));
        Self {
            tables,
            join,
            map,
            group,
            view,
            epoch: 0,
            owed: [0; 3],
            keys,
        }
    }

    /// Of the orders.
    pub fn reader(&self) -> Reader {
        self.tables[0].reader()
    }
}

fn weights<T>(rows: &[(T, i64)]) -> Vec<i64> {
    rows.iter().map(|(_, weight)| *weight).collect()
}

impl Keys {
    pub fn array(self, table: char, ids: impl Iterator<Item = Option<u32>>) -> ArrayRef {
        match self {
            Self::Ints => Arc::new(ids.map(|id| id.map(i64::from)).collect::<Int64Array>()),
            Self::Texts => {
                let texts = ids.map(|id| id.map(|id| self.text(table, id)));
                Arc::new(texts.collect::<StringArray>())
            }
        }
    }
}

impl Engine for Ours {
    fn name(&self) -> &'static str {
        "Belvedere"
    }

    fn input(&self, change: &Change) -> Input {
        let schema = |i: usize| self.tables[i].shape().schema().clone();
        let zset = |i: usize, columns: Vec<ArrayRef>, weights: Vec<i64>| {
            ZSet::new(RecordBatch::try_new(schema(i), columns).unwrap(), weights).unwrap()
        };
        let orders = change.orders.iter().map(|(row, _)| row);
        let orders: Vec<ArrayRef> = vec![
            self.keys.array('o', orders.clone().map(|row| Some(row.id))),
            self.keys.array('c', orders.clone().map(|row| row.customer)),
            self.keys
                .array('i', orders.clone().map(|row| Some(row.item))),
            Arc::new(orders.clone().map(|row| row.qty).collect::<Int64Array>()),
            Arc::new(StringArray::from_iter_values(
                orders.map(|r| STATUSES[r.status as usize]),
            )),
        ];
        let customers = change.customers.iter().map(|(row, _)| row);
        let customers: Vec<ArrayRef> = vec![
            self.keys
                .array('c', customers.clone().map(|row| Some(row.id))),
            Arc::new(
                customers
                    .map(|row| row.region.map(region))
                    .collect::<StringArray>(),
            ),
        ];
        let items = change.items.iter().map(|(row, _)| row);
        let items: Vec<ArrayRef> = vec![
            self.keys.array('i', items.clone().map(|row| Some(row.sku))),
            Arc::new(items.map(|row| Some(row.price)).collect::<Int64Array>()),
        ];
        Box::new([
            zset(0, orders, weights(&change.orders)),
            zset(1, customers, weights(&change.customers)),
            zset(2, items, weights(&change.items)),
        ])
    }

    fn step(&mut self, input: Input) {
        let changes: Box<[ZSet; 3]> = input.downcast().unwrap();
        self.epoch += 1;
        let pin =
            |tables: &[Table; 3]| -> Vec<Pinned> { tables.iter().map(Table::snapshot).collect() };
        let before = pin(&self.tables);
        for (table, change) in self.tables.iter_mut().zip(changes.iter()) {
            table.apply(self.epoch, change).unwrap();
        }
        let after = pin(&self.tables);
        let (map, group) = (&self.map, &mut self.group);
        let refs: Vec<_> = changes.iter().map(Some).collect();
        let mut sink = |piece: ZSet| group.push(&map.apply(&piece)?);
        self.join
            .changes(&refs, &before, &after, &mut sink)
            .unwrap();
        self.view
            .apply(self.epoch, &self.group.finish().unwrap())
            .unwrap();
        drop((before, after));
        // What waits for idle time elsewhere is part of the figures here: as many rows as have changed, some hundreds
        // at once.
        for (table, (change, owed)) in self
            .tables
            .iter_mut()
            .zip(changes.iter().zip(&mut self.owed))
        {
            *owed += change.len();
            if *owed >= 256 {
                table.compact(*owed).unwrap();
                *owed = 0;
            }
        }
        self.view.compact(64).unwrap();
    }

    fn view(&mut self) -> View {
        let mut view = View::new();
        for batch in self.view.snapshot().scan(&[0, 1, 2]) {
            let batch = batch.unwrap();
            let region = batch.column(0).as_string::<i32>();
            let rows = batch.column(1).as_primitive::<Int64Type>();
            let worth = batch.column(2).as_primitive::<Int64Type>();
            for i in 0..batch.num_rows() {
                let region = region.is_valid(i).then(|| region.value(i).to_string());
                let sum = if worth.is_valid(i) { worth.value(i) } else { 0 };
                view.insert(region, (rows.value(i), sum));
            }
        }
        view
    }
}
