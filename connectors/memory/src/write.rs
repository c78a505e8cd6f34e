//! What is written to a table: one commit, if its rules hold.

use std::collections::HashSet;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};
use arrow::datatypes::{Field, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use belvedere_connector::{
    Change, Code, Constraint, Each, Edit, Error, Position, Result, Write, Written,
};
use futures::TryStreamExt;

use crate::fault::WriteFault;
use crate::source::MemorySource;
use crate::table::{MemoryTable, SCHEMA};

fn arrow(e: ArrowError) -> Error {
    Error::internal(e.to_string())
}

impl MemorySource {
    pub(crate) async fn write_all(&self, write: Write) -> Result<Written> {
        let Write { table, edit, .. } = write;
        let of = |e: Error| e.at_table(&table.name).at_source(self.opened_name());
        // Before the tables are held, so that nobody waits for these rows.
        let (edit, rows) = match edit {
            Edit::Insert { columns, rows } => {
                let none = Box::pin(futures::stream::empty());
                let edit = Edit::Insert {
                    columns,
                    rows: none,
                };
                (edit, rows.try_collect::<Vec<_>>().await?)
            }
            Edit::Each(Each {
                assigned,
                known,
                rows,
            }) => {
                let none = Box::pin(futures::stream::empty());
                let edit = Edit::Each(Each {
                    assigned,
                    known,
                    rows: none,
                });
                (edit, rows.try_collect::<Vec<_>>().await?)
            }
            edit => (edit, Vec::new()),
        };
        let fault = self.take_write_fault();
        if let WriteFault::Refused(code) = fault {
            return Err(of(Error::new(code, "the source refused it")));
        }
        let written = self.commit_edit(&table.schema, &table.name, edit, rows);
        let (count, position) = written.map_err(of)?;
        match fault {
            WriteFault::AnswerLost => Err(of(Error::new(
                Code::OutcomeUnknown,
                "the connection broke before the source had answered to the commit",
            ))),
            _ => Ok(Written {
                rows: count,
                position: Some(position),
            }),
        }
    }

    fn commit_edit(
        &self,
        schema: &str,
        name: &str,
        edit: Edit,
        batches: Vec<RecordBatch>,
    ) -> Result<(u64, Position)> {
        let done = {
            let mut state = self.state();
            let mut tables = state.log.tables().clone();
            let table = tables.get(name).filter(|_| schema == SCHEMA);
            let missing = || Error::new(Code::TableMissing, "the table is not there any more");
            let table = table.ok_or_else(missing)?;
            let all = concat_batches(&table.schema, &table.batches).map_err(arrow)?;
            let (gone, came) = match edit {
                Edit::Insert { columns, .. } => (Vec::new(), inserted(table, &columns, &batches)?),
                Edit::Delete { predicates } if predicates.is_empty() => {
                    let gone = (0..all.num_rows() as u32).collect();
                    (gone, RecordBatch::new_empty(table.schema.clone()))
                }
                Edit::Each(each) => each_row(table, &all, &each, &batches)?,
                Edit::Update { .. } | Edit::Delete { .. } => {
                    return Err(Error::internal(
                        "a source in memory evaluates no conditions",
                    ));
                }
            };
            let count = gone.len().max(came.num_rows()) as u64;
            let gone_rows =
                take_record_batch(&all, &UInt32Array::from(gone.clone())).map_err(arrow)?;
            let gone: HashSet<u32> = gone.into_iter().collect();
            let stays = (0..all.num_rows() as u32).map(|row| Some(!gone.contains(&row)));
            let stays = BooleanArray::from_iter(stays);
            let stay = filter_record_batch(&all, &stays).map_err(arrow)?;
            check(table, &stay, &came)?;
            let whole = concat_batches(&table.schema, [&stay, &came]).map_err(arrow)?;
            let table = MemoryTable {
                batches: vec![whole],
                ..table.clone()
            };
            tables.insert(name.to_string(), table);
            let change = |rows: RecordBatch, weight| {
                let weights = vec![weight; rows.num_rows()];
                (name.to_string(), Change::Rows { rows, weights })
            };
            let changes = vec![change(gone_rows, -1), change(came, 1)];
            state.log.append(changes, tables);
            (count, state.log.position(state.log.head()))
        };
        self.happened();
        Ok(done)
    }
}

/// Rows with a value for each column, NULL where none is given.
fn inserted(
    table: &MemoryTable,
    columns: &[usize],
    batches: &[RecordBatch],
) -> Result<RecordBatch> {
    let rows = batches.iter().map(|batch| {
        let column = |(i, field): (usize, &std::sync::Arc<Field>)| match columns
            .iter()
            .position(|column| *column == i)
        {
            Some(given) => batch.column(given).clone(),
            None => new_null_array(field.data_type(), batch.num_rows()),
        };
        let arrays = table.schema.fields().iter().enumerate().map(column);
        nullable(&table.schema, arrays.collect())
    });
    let rows = rows.collect::<Result<Vec<_>>>()?;
    checked_nulls(table, &rows)?;
    let rows = rows.into_iter().map(|rows| as_table(table, &rows));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    concat_batches(&table.schema, &rows).map_err(arrow)
}

/// Which rows go, and what comes in their place.
fn each_row(
    table: &MemoryTable,
    all: &RecordBatch,
    each: &Each,
    batches: &[RecordBatch],
) -> Result<(Vec<u32>, RecordBatch)> {
    let have = encoded(&table.schema, &each.known, &pick(all, &each.known))?;
    let (mut gone, mut came) = (Vec::new(), Vec::new());
    for batch in batches {
        let given = each.assigned.len();
        let known: Vec<ArrayRef> = batch.columns()[given..].to_vec();
        let wanted = encoded(&table.schema, &each.known, &known)?;
        let mut found = Vec::new();
        for wanted in &wanted {
            let mut rows = (0..have.len()).filter(|row| &have[*row] == wanted);
            let (Some(row), None) = (rows.next(), rows.next()) else {
                return Err(Error::row_changed());
            };
            found.push(row as u32);
        }
        if given > 0 {
            let before = take_record_batch(all, &UInt32Array::from(found.clone()));
            let mut columns = before.map_err(arrow)?.columns().to_vec();
            for (i, column) in each.assigned.iter().enumerate() {
                columns[*column] = batch.column(i).clone();
            }
            let rows = nullable(&table.schema, columns)?;
            checked_nulls(table, std::slice::from_ref(&rows))?;
            came.push(as_table(table, &rows)?);
        }
        gone.extend(found);
    }
    let came = concat_batches(&table.schema, &came).map_err(arrow)?;
    Ok((gone, came))
}

fn pick(rows: &RecordBatch, columns: &[usize]) -> Vec<ArrayRef> {
    let columns = columns.iter();
    columns.map(|column| rows.column(*column).clone()).collect()
}

fn encoded(schema: &SchemaRef, columns: &[usize], arrays: &[ArrayRef]) -> Result<Vec<OwnedRow>> {
    let fields = columns.iter();
    let fields = fields.map(|i| SortField::new(schema.field(*i).data_type().clone()));
    let converter = RowConverter::new(fields.collect()).map_err(arrow)?;
    let rows = converter.convert_columns(arrays).map_err(arrow)?;
    Ok(rows.iter().map(|row| row.owned()).collect())
}

/// Rows of the table's columns, of which each may be NULL yet.
fn nullable(schema: &SchemaRef, columns: Vec<ArrayRef>) -> Result<RecordBatch> {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_nullable(true));
    let schema = arrow::datatypes::Schema::new(fields.collect::<Vec<_>>());
    RecordBatch::try_new(schema.into(), columns).map_err(arrow)
}

fn as_table(table: &MemoryTable, rows: &RecordBatch) -> Result<RecordBatch> {
    RecordBatch::try_new(table.schema.clone(), rows.columns().to_vec()).map_err(arrow)
}

fn checked_nulls(table: &MemoryTable, rows: &[RecordBatch]) -> Result<()> {
    for (i, field) in table.schema.fields().iter().enumerate() {
        let has_null = rows.iter().any(|rows| rows.column(i).null_count() > 0);
        if has_null && (!field.is_nullable() || table.primary_key.contains(field.name())) {
            return Err(violates(Constraint::NotNull).at_column(field.name()));
        }
    }
    Ok(())
}

/// No two rows are under one key.
fn check(table: &MemoryTable, stay: &RecordBatch, came: &RecordBatch) -> Result<()> {
    if table.primary_key.is_empty() {
        return Ok(());
    }
    let key = table.primary_key.iter();
    let key = key.map(|name| table.schema.index_of(name));
    let key = key.collect::<Result<Vec<_>, _>>().map_err(arrow)?;
    let mut seen = HashSet::new();
    for rows in [stay, came] {
        for row in encoded(&table.schema, &key, &pick(rows, &key))? {
            if !seen.insert(row) {
                return Err(violates(Constraint::Unique));
            }
        }
    }
    Ok(())
}

fn violates(constraint: Constraint) -> Error {
    Error::new(Code::Violates(constraint), constraint.broken())
}
