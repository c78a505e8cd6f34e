//! `generate_series` of times, which takes those in nanoseconds alone, and gives such: here in microseconds, as times are elsewhere.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::catalog::{TableFunctionArgs, TableFunctionImpl, TableProvider};
use datafusion::common::Result;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::expr::Cast;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder};

pub(super) fn register(state: &mut SessionState) {
    for name in ["generate_series", "range"] {
        if let Some(function) = state.table_functions().get(name) {
            let inner = Arc::clone(function.function());
            state.register_udtf(name, Arc::new(Series { inner }));
        }
    }
}

/// DataFusion's function, of times in microseconds.
#[derive(Debug)]
struct Series {
    inner: Arc<dyn TableFunctionImpl>,
}

impl TableFunctionImpl for Series {
    fn call_with_args(&self, args: TableFunctionArgs) -> Result<Arc<dyn TableProvider>> {
        let exprs = args.exprs().iter().map(in_nanoseconds);
        let exprs = exprs.collect::<Result<Vec<_>>>()?;
        let args = TableFunctionArgs::new(&exprs, args.session());
        let series = self.inner.call_with_args(args)?;
        let schema = series.schema();
        let DataType::Timestamp(TimeUnit::Nanosecond, zone) = schema.field(0).data_type() else {
            return Ok(series);
        };
        let micros = DataType::Timestamp(TimeUnit::Microsecond, zone.clone());
        let rows = LogicalPlanBuilder::scan("series", provider_as_source(series), None)?;
        let value = Expr::from(rows.schema().qualified_field(0));
        let value = Expr::Cast(Cast::new(Box::new(value), micros)).alias(schema.field(0).name());
        let plan = rows.project([value])?.build()?;
        Ok(Arc::new(ViewTable::new(plan, None)))
    }
}

fn in_nanoseconds(arg: &Expr) -> Result<Expr> {
    Ok(match arg {
        Expr::Literal(value, metadata) => match value.data_type() {
            DataType::Timestamp(_, zone) => {
                let nanos = DataType::Timestamp(TimeUnit::Nanosecond, zone);
                Expr::Literal(value.cast_to(&nanos)?, metadata.clone())
            }
            _ => arg.clone(),
        },
        arg => arg.clone(),
    })
}
