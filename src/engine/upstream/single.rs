//! `(SELECT name FROM customer WHERE id = orders.customer)`: of a subquery that reads the row around it, DataFusion takes values alone
//! that are computed of all its rows. Here it is the one row that there is, an error where there are more (SQLSTATE 21000), or the first
//! in an order with `ORDER BY … LIMIT 1`.

use std::mem::size_of_val;
use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Column, DataFusionError, Result, ScalarValue, plan_err};
use datafusion::functions_aggregate::first_last::first_value;
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, FetchType, LogicalPlan, LogicalPlanBuilder,
    Signature, SkipType, Subquery, Volatility,
};

use crate::error::Error;

/// Whether it is such a subquery.
pub fn is_of_its_rows(query: &Subquery) -> bool {
    !query.outer_ref_columns.is_empty()
        && query.subquery.schema().fields().len() == 1
        && !has_a_row(&query.subquery)
}

/// Whether there always is a row: what is computed of all rows is, of none, too.
pub(super) fn has_a_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::Projection(projection) => has_a_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_a_row(&alias.input),
        LogicalPlan::EmptyRelation(empty) => empty.produce_one_row,
        _ => false,
    }
}

/// The same, computed of all rows.
pub fn of_all_rows(query: Subquery) -> Result<Subquery> {
    let plan = match first_of(&query.subquery) {
        Some((value, order, rows)) => {
            let first = first_value(value, order);
            LogicalPlanBuilder::from(rows).aggregate(Vec::<Expr>::new(), [first])?
        }
        None => {
            let value = column(&query.subquery);
            let one = FUNCTION.call(vec![value]);
            LogicalPlanBuilder::from(query.subquery).aggregate(Vec::<Expr>::new(), [one])?
        }
    };
    Ok(Subquery {
        subquery: Arc::new(plan.build()?),
        ..query
    })
}

/// Of `… ORDER BY … LIMIT 1` the value, the order and the rows.
fn first_of(plan: &LogicalPlan) -> Option<(Expr, Vec<Sort>, Arc<LogicalPlan>)> {
    let LogicalPlan::Limit(limit) = plan else {
        return None;
    };
    let is_first = matches!(limit.get_skip_type(), Ok(SkipType::Literal(0)))
        && matches!(limit.get_fetch_type(), Ok(FetchType::Literal(Some(1))));
    if !is_first {
        return None;
    }
    Some(match limit.input.as_ref() {
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
            (column(&limit.input), sort.expr.clone(), sort.input.clone())
        }
        // What orders is not among the columns.
        LogicalPlan::Projection(projection) => match projection.input.as_ref() {
            LogicalPlan::Sort(sort) if sort.fetch.is_none() => {
                let value = projection.expr.first()?.clone().unalias();
                (value, sort.expr.clone(), sort.input.clone())
            }
            _ => (column(&limit.input), Vec::new(), limit.input.clone()),
        },
        _ => (column(&limit.input), Vec::new(), limit.input.clone()),
    })
}

fn column(plan: &LogicalPlan) -> Expr {
    Expr::Column(Column::from(plan.schema().qualified_field(0)))
}

static FUNCTION: LazyLock<AggregateUDF> = LazyLock::new(|| AggregateUDF::from(Single));
static ONE: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));

/// The value of the only row; NULL of none.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Single;

impl AggregateUDFImpl for Single {
    fn name(&self) -> &str {
        "single_value"
    }

    fn signature(&self) -> &Signature {
        &ONE
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [of] => Ok(of.clone()),
            _ => plan_err!("single_value is of one value"),
        }
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(Found {
            rows: 0,
            value: ScalarValue::try_from(args.return_field.data_type())?,
        }))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let value = args.return_field.data_type().clone();
        Ok(vec![
            Arc::new(Field::new("rows", DataType::UInt64, false)),
            Arc::new(Field::new("value", value, true)),
        ])
    }
}

/// How many rows there were, and the value of the last.
#[derive(Debug)]
struct Found {
    rows: u64,
    value: ScalarValue,
}

impl Found {
    fn add(&mut self, rows: u64, value: impl FnOnce() -> Result<ScalarValue>) -> Result<()> {
        match (self.rows, rows) {
            (_, 0) => Ok(()),
            (0, 1) => {
                (self.rows, self.value) = (1, value()?);
                Ok(())
            }
            _ => Err(DataFusionError::from(Error::Data {
                message: "a subquery that is a value has more than one row".to_string(),
                sqlstate: "21000",
            })),
        }
    }
}

impl Accumulator for Found {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [values] = values else {
            return plan_err!("single_value is of one value");
        };
        self.add(values.len() as u64, || {
            ScalarValue::try_from_array(values, 0)
        })
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [rows, values] = states else {
            return plan_err!("single_value has two states");
        };
        for i in 0..rows.len() {
            if let ScalarValue::UInt64(Some(rows)) = ScalarValue::try_from_array(rows, i)? {
                self.add(rows, || ScalarValue::try_from_array(values, i))?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.rows.into(), self.value.clone()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.value.clone())
    }

    fn size(&self) -> usize {
        size_of_val(self) - size_of_val(&self.value) + self.value.size()
    }
}
