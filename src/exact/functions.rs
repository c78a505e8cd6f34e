//! DataFusion's functions, for floats and wide decimals computed here.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::functions_aggregate::sum::sum_udaf;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, Expr, GroupsAccumulator, Operator,
    ReversedUDAF, SetMonotonicity, Signature, StatisticsArgs,
};

use super::decimals::{self, GroupSums, RowsSum};
use super::distinct::{self, Distinct};
use super::groups::ExactGroups;
use super::moments::{self, Statistic};
use super::rows::RowsAccumulator;

/// Put exact sums behind the functions of a session that add up floats.
pub(crate) fn register(session: &mut dyn FunctionRegistry) -> Result<()> {
    for (name, statistic) in [
        ("sum", Statistic::Sum),
        ("avg", Statistic::Mean),
        ("var", Statistic::Variance { sample: true }),
        ("var_pop", Statistic::Variance { sample: false }),
        ("stddev", Statistic::Deviation { sample: true }),
        ("stddev_pop", Statistic::Deviation { sample: false }),
    ] {
        let inner = session.udaf(name)?;
        let exact = AggregateUDF::from(Exact { inner, statistic });
        session.register_udaf(Arc::new(exact))?;
    }
    Ok(())
}

/// The session's `sum`.
pub(super) fn exact_sum() -> Arc<AggregateUDF> {
    Arc::new(AggregateUDF::from(Exact {
        inner: sum_udaf(),
        statistic: Statistic::Sum,
    }))
}

/// A function as it is, but for floats, and sums of decimals that may outgrow their type. All floats are 64 bits wide here:
/// these functions' signatures coerce others.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Exact {
    inner: Arc<AggregateUDF>,
    pub(super) statistic: Statistic,
}

impl Exact {
    /// Whether it is a sum of decimals that is computed here.
    fn is_wide_sum(&self, fields: &[FieldRef]) -> bool {
        let is_wide = matches!(fields, [field] if decimals::may_outgrow(field.data_type()));
        is_wide && self.statistic == Statistic::Sum
    }
}

impl AggregateUDFImpl for Exact {
    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if self.is_wide_sum(args.expr_fields) {
            let data_type = args.return_field.data_type();
            let sum = RowsSum::new(data_type);
            return Ok(match args.is_distinct {
                true => Box::new(Distinct::new(sum, decimals::keys(data_type))),
                false => Box::new(sum),
            });
        }
        if !is_float(args.expr_fields) {
            return self.inner.accumulator(args);
        }
        Ok(match self.statistic.has_squares() {
            false => float_accumulator(RowsAccumulator::<1>::new(self.statistic), args.is_distinct),
            true => float_accumulator(RowsAccumulator::<2>::new(self.statistic), args.is_distinct),
        })
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        if is_float(args.expr_fields) || self.is_wide_sum(args.expr_fields) {
            self.accumulator(args)
        } else {
            self.inner.create_sliding_accumulator(args)
        }
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        if is_float(args.expr_fields) || self.is_wide_sum(args.expr_fields) {
            !args.is_distinct
        } else {
            self.inner.groups_accumulator_supported(args)
        }
    }

    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        if self.is_wide_sum(args.expr_fields) {
            return Ok(Box::new(GroupSums::new(args.return_field.data_type())));
        }
        if !is_float(args.expr_fields) {
            return self.inner.create_groups_accumulator(args);
        }
        Ok(if self.statistic.has_squares() {
            Box::new(ExactGroups::<2>::new(self.statistic))
        } else {
            Box::new(ExactGroups::<1>::new(self.statistic))
        })
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        if self.is_wide_sum(args.input_fields) {
            let data_type = args.return_field.data_type();
            Ok(match args.is_distinct {
                true => distinct::state_fields(args.name, decimals::wide_type(data_type)),
                false => decimals::state_fields(args.name, data_type),
            })
        } else if !is_float(args.input_fields) {
            self.inner.state_fields(args)
        } else if args.is_distinct {
            Ok(distinct::state_fields(args.name, DataType::Float64))
        } else {
            let has_squares = self.statistic.has_squares();
            Ok(moments::state_fields(args.name, has_squares))
        }
    }

    /// `sum(x + 1)` as `sum(x) + count(x)`: other roundings, another decimal type, and only if the query has more such sums.
    fn simplify_expr_op_literal(
        &self,
        agg_function: &AggregateFunction,
        arg: &Expr,
        op: Operator,
        lit: &Expr,
        arg_is_left: bool,
    ) -> Result<Option<Expr>> {
        match lit {
            // Both sides of an operator have one type by now.
            Expr::Literal(value, _)
                if value.data_type().is_floating() || value.data_type().is_decimal() =>
            {
                Ok(None)
            }
            _ => self
                .inner
                .simplify_expr_op_literal(agg_function, arg, op, lit, arg_is_left),
        }
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs) -> Option<ScalarValue> {
        // Who knows a sum of floats has added them in some order.
        if statistics.return_type.is_floating() {
            return None;
        }
        self.inner.value_from_stats(statistics)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_udf()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

fn float_accumulator(
    of_rows: impl Accumulator + 'static,
    is_distinct: bool,
) -> Box<dyn Accumulator> {
    match is_distinct {
        true => Box::new(Distinct::new(of_rows, distinct::floats())),
        false => Box::new(of_rows),
    }
}

fn is_float(fields: &[FieldRef]) -> bool {
    matches!(fields, [field] if *field.data_type() == DataType::Float64)
}
