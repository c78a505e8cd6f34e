//! Which changes of a table a query can tell from none: those of rows that meet the conditions of one of its scans.
//!
//! Rows are looked at as logs tell them. A log may name the old row by its key alone, or leave out values that are as they were:
//! what cannot be computed then counts as met. So does a condition that fails, since the query may fail as well.

use std::fmt;
use std::sync::Arc;

use belvedere_connector::{Change, Unchanged};
use datafusion::arrow::array::{Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::buffer::BooleanBuffer;
use datafusion::arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::common::{Column, DFSchema, Result};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

/// What rows of a table have to meet for a query to read them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conditions {
    /// Of each scan of the table: all of them, where there are any.
    scans: Vec<Vec<Condition>>,
}

#[derive(Clone, Debug)]
struct Condition {
    expr: Expr,
    computed: Arc<dyn PhysicalExpr>,
    /// What it is computed of.
    columns: SchemaRef,
}

impl PartialEq for Condition {
    fn eq(&self, other: &Self) -> bool {
        self.expr == other.expr && self.columns == other.columns
    }
}

impl Conditions {
    /// One more scan of a table with these columns, whose rows meet all of these predicates. Those that are not of its
    /// columns alone are left out.
    ///
    /// # Errors
    /// If it has no such columns.
    pub fn add_scan(
        &mut self,
        predicates: &[&Expr],
        table: &Schema,
        state: &SessionState,
    ) -> Result<()> {
        let predicates = predicates.iter().flat_map(|all| split_conjunction(all));
        let mut scan: Vec<Condition> = Vec::new();
        for predicate in predicates {
            if let Some(condition) = Condition::new(predicate, table, state)?
                && !scan.contains(&condition)
            {
                scan.push(condition);
            }
        }
        if !self.scans.contains(&scan) {
            self.scans.push(scan);
        }
        Ok(())
    }

    /// Each change counts.
    pub fn every_row() -> Self {
        Self {
            scans: vec![Vec::new()],
        }
    }

    /// Whether there is a scan of all rows, so that each change counts.
    pub fn is_every_row(&self) -> bool {
        self.scans.iter().any(Vec::is_empty)
    }

    /// Whether a row that is read may have been among those that transactions changed. `is_each_told`: what each of them did is told; if not,
    /// what was there in between is not, but for its keys. `rows`: those that went and came on the whole, where they are known of a log
    /// that names old rows by their keys; what was there in between is among those that it says came.
    pub fn may_meet<'a>(
        &self,
        mut told: impl Iterator<Item = &'a Change>,
        is_each_told: bool,
        rows: Option<&RecordBatch>,
    ) -> bool {
        if self.is_every_row() {
            return told.next().is_some();
        }
        let is_read = |change: &Change| match change {
            Change::Rows { rows, .. } => !is_each_told || self.may_be_among(rows, &[]),
            Change::ByKey {
                keys,
                rows: came,
                unchanged,
                ..
            } => {
                let went = rows.is_none() && self.may_be_among(keys, &[]);
                went || self.may_be_among(came, unchanged)
            }
            Change::Truncate | Change::Anew | Change::Ends(_) => true,
        };
        told.any(is_read) || rows.is_some_and(|rows| self.may_be_among(rows, &[]))
    }

    /// Whether a row that is read may be among these.
    fn may_be_among(&self, rows: &RecordBatch, unchanged: &[Unchanged]) -> bool {
        self.scans.iter().any(|scan| {
            let mut may_be = BooleanBuffer::new_set(rows.num_rows());
            for condition in scan {
                match condition.may_hold(rows, unchanged) {
                    Ok(Some(may_hold)) => may_be = &may_be & &may_hold,
                    Ok(None) => {}
                    Err(_) => return rows.num_rows() > 0,
                }
            }
            may_be.count_set_bits() > 0
        })
    }
}

impl Condition {
    /// None: it is not of a row of the table alone.
    fn new(predicate: &Expr, table: &Schema, state: &SessionState) -> Result<Option<Self>> {
        let is_of_others = predicate.exists(|expr| {
            Ok(matches!(
                expr,
                Expr::ScalarSubquery(_)
                    | Expr::InSubquery(_)
                    | Expr::Exists(_)
                    | Expr::SetComparison(_)
                    | Expr::OuterReferenceColumn(..)
            ))
        })?;
        if is_of_others {
            return Ok(None);
        }
        let bare = |expr: Expr| {
            Ok(match expr {
                Expr::Column(column) => {
                    Transformed::yes(Expr::Column(Column::new_unqualified(column.name)))
                }
                other => Transformed::no(other),
            })
        };
        let expr = predicate.clone().transform(bare).data()?;
        let mut names: Vec<&String> = expr.column_refs().iter().map(|c| &c.name).collect();
        names.sort();
        let fields = names.into_iter().map(|name| table.field_with_name(name));
        // A value that a log leaves out may be NULL in any of them.
        let fields = fields.map(|field| Ok(field?.clone().with_nullable(true)));
        let columns = Arc::new(Schema::new(fields.collect::<Result<Vec<_>>>()?));
        let named = DFSchema::try_from(columns.clone())?;
        let planning = PhysicalPlanningContext::default();
        let computed = create_physical_expr(&expr, &named, state.execution_props(), &planning)?;
        Ok(Some(Self {
            expr,
            computed,
            columns,
        }))
    }

    /// Of which rows it may hold: not of those for which it is false or NULL. None: it cannot be computed, since rows have not
    /// all of its columns.
    fn may_hold(
        &self,
        rows: &RecordBatch,
        unchanged: &[Unchanged],
    ) -> Result<Option<BooleanBuffer>> {
        let (told, mut columns) = (rows.schema(), Vec::new());
        // Rows of which nothing is known.
        let mut unknown = BooleanBuffer::new_unset(rows.num_rows());
        for field in self.columns.fields() {
            let found = told.column_with_name(field.name());
            let Some((at, _)) = found.filter(|(_, f)| f.data_type() == field.data_type()) else {
                return Ok(None);
            };
            columns.push(rows.column(at).clone());
            for left_out in unchanged.iter().filter(|unchanged| unchanged.column == at) {
                unknown = &unknown | &left_out.rows;
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.columns.clone(), columns, &options)?;
        let holds = self.computed.evaluate(&rows)?.into_array(rows.num_rows())?;
        let holds = as_boolean_array(&holds)?;
        let holds = match holds.nulls() {
            Some(known) => holds.values() & known.inner(),
            None => holds.values().clone(),
        };
        Ok(Some(&holds | &unknown))
    }
}

/// As `EXPLAIN` has them.
impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scans = self.scans.iter().map(|scan| {
            let conditions = scan.iter().map(|c| c.expr.human_display().to_string());
            conditions.collect::<Vec<_>>().join(" AND ")
        });
        write!(f, "{}", scans.collect::<Vec<_>>().join(" OR "))
    }
}
