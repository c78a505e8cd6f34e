//! Averages of whole numbers and decimals as what they are made of: an exact sum and a count, which sources can be asked
//! for, and which a query that has the sum or the count as well computes once.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, AsArray, Decimal128Array, Float64Array};
use datafusion::arrow::compute::cast as cast_array;
use datafusion::arrow::datatypes::{
    DataType, Decimal128Type, Decimal256Type, DecimalType, Float64Type, Int64Type, i256,
};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{Column, Result, ScalarValue, exec_err};
use datafusion::functions_aggregate::count::count_udaf;
use datafusion::logical_expr::expr::{AggregateFunction, AggregateFunctionParams};
use datafusion::logical_expr::{
    Aggregate, ColumnarValue, Expr, ExprSchemable, LogicalPlan, LogicalPlanBuilder,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, cast, lit,
};
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{OptimizerConfig, OptimizerRule};

use super::functions::exact_sum;

/// Wider decimals may outgrow the type of their sum: there DataFusion's own average adds up in 256 bits.
const SUMMABLE_DIGITS: u8 = 28;
/// What holds every 64-bit integer, signed or not.
const INTEGER: DataType = DataType::Decimal128(20, 0);

/// `avg(x)` as `sum(x) / count(x)`. That of integers is of their exact sum, where DataFusion rounds each to a float; that
/// of decimals is DataFusion's own, digit for digit.
#[derive(Debug)]
pub(crate) struct AveragesAsSums;

impl OptimizerRule for AveragesAsSums {
    fn name(&self) -> &str {
        "averages_as_sums"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::BottomUp)
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>> {
        let LogicalPlan::Aggregate(aggregate) = &plan else {
            return Ok(Transformed::no(plan));
        };
        let averages = aggregate.aggr_expr.iter().map(|e| average(e, aggregate));
        let averages = averages.collect::<Result<Vec<_>>>()?;
        if averages.iter().all(Option::is_none) {
            return Ok(Transformed::no(plan));
        }
        split(aggregate, averages).map(Transformed::yes)
    }
}

/// What an average is computed from, and how.
struct Average {
    sum: Expr,
    count: Expr,
    /// Of the average.
    data_type: DataType,
}

impl Average {
    fn over(&self, sum: Expr, count: Expr) -> Expr {
        ScalarUDF::from(Quotient::new(self.data_type.clone())).call(vec![sum, count])
    }
}

/// An aggregate that is an average of numbers with exact sums.
fn average(expr: &Expr, aggregate: &Aggregate) -> Result<Option<Average>> {
    let Expr::AggregateFunction(call) = expr.clone().unalias() else {
        return Ok(None);
    };
    let AggregateFunctionParams {
        args,
        distinct,
        filter,
        order_by,
        null_treatment: None,
    } = call.params
    else {
        return Ok(None);
    };
    let ([arg], true, "avg") = (&args[..], order_by.is_empty(), call.func.name()) else {
        return Ok(None);
    };
    let input = aggregate.input.schema();
    // The type coercion of avg() makes floats of integers.
    let value = match arg {
        Expr::Cast(float) if float.field.data_type() == &DataType::Float64 => &float.expr,
        other => other,
    };
    let summand = match value.get_type(input)? {
        integer if integer.is_integer() => cast(value.clone(), INTEGER),
        DataType::Decimal128(precision, _) if value == arg && precision <= SUMMABLE_DIGITS => {
            value.clone()
        }
        _ => return Ok(None),
    };
    let call_of = |function, arg| {
        let filter = filter.clone();
        let call = AggregateFunction::new_udf(function, vec![arg], distinct, filter, vec![], None);
        Expr::AggregateFunction(call)
    };
    let counted = match value.nullable(input)? {
        false if !distinct => lit(1_i64),
        _ => value.clone(),
    };
    Ok(Some(Average {
        sum: call_of(exact_sum(), summand),
        count: call_of(count_udaf(), counted),
        data_type: expr.get_type(input)?,
    }))
}

/// The aggregate with sums and counts in place of averages, which a projection computes, under the aggregate's names.
fn split(aggregate: &Aggregate, averages: Vec<Option<Average>>) -> Result<LogicalPlan> {
    let mut parts: Vec<Expr> = Vec::new();
    let mut part = |expr: Expr| {
        let known = |known: &Expr| known.clone().unalias() == expr.clone().unalias();
        if let Some(at) = parts.iter().position(known) {
            return at;
        }
        // A cast has the name of what it casts: the sum of integers, which wraps, and the exact one are named alike.
        let name = expr.schema_name().to_string();
        let is_taken = parts
            .iter()
            .any(|known| known.schema_name().to_string() == name);
        parts.push(match is_taken {
            true => expr.alias(format!("{name} {}", parts.len())),
            false => expr,
        });
        parts.len() - 1
    };
    let mut from = Vec::new();
    for (own, average) in aggregate.aggr_expr.iter().zip(&averages) {
        from.push(match average {
            Some(average) => (part(average.sum.clone()), Some(part(average.count.clone()))),
            None => (part(own.clone()), None),
        });
    }
    let keys = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let inner = Aggregate::try_new(aggregate.input.clone(), aggregate.group_expr.clone(), parts)?;
    let columns = inner.schema.columns();
    let column = |i: usize| Expr::Column(columns[i].clone());
    let mut output: Vec<Expr> = (0..keys).map(column).collect();
    for ((at, count), average) in from.into_iter().zip(&averages) {
        let (qualifier, field) = aggregate.schema.qualified_field(output.len());
        let value = column(keys + at);
        output.push(match (average, count) {
            (Some(average), Some(count)) => average.over(value, column(keys + count)),
            _ => value,
        });
        if let Some(last) = output.last_mut() {
            let name = Column::new(qualifier.cloned(), field.name());
            if *last != Expr::Column(name) {
                let unnamed = std::mem::take(last);
                *last = unnamed.alias_qualified(qualifier.cloned(), field.name());
            }
        }
    }
    LogicalPlanBuilder::from(LogicalPlan::Aggregate(inner))
        .project(output)?
        .build()
}

/// A sum of decimals by their count: as a decimal with the digits that DataFusion's average of decimals has (it truncates),
/// or as a float.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Quotient {
    data_type: DataType,
    signature: Signature,
}

impl Quotient {
    fn new(data_type: DataType) -> Self {
        Self {
            data_type,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for Quotient {
    fn name(&self) -> &str {
        "average"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [sum, count] = &args.args[..] else {
            return exec_err!("an average is of a sum and a count");
        };
        let rows = args.number_rows;
        let (sums, counts) = (sum.to_array(rows)?, count.to_array(rows)?);
        let averages = match &self.data_type {
            DataType::Float64 => float_averages(&sums, &counts)?,
            decimal => decimal_averages(&sums, &counts, decimal)?,
        };
        Ok(match (sum, count) {
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_)) if rows == 1 => {
                ColumnarValue::Scalar(ScalarValue::try_from_array(&averages, 0)?)
            }
            _ => ColumnarValue::Array(averages),
        })
    }
}

fn float_averages(sums: &ArrayRef, counts: &ArrayRef) -> Result<ArrayRef> {
    let sums = cast_array(sums, &DataType::Float64)?;
    let counts = counts.as_primitive::<Int64Type>();
    let both = sums.as_primitive::<Float64Type>().iter().zip(counts);
    let averages = both.map(|(sum, count)| match (sum, count) {
        (Some(sum), Some(count @ 1..)) => Some(sum / count as f64),
        _ => None,
    });
    Ok(Arc::new(averages.collect::<Float64Array>()))
}

fn decimal_averages(sums: &ArrayRef, counts: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let (DataType::Decimal128(_, from), DataType::Decimal128(precision, scale)) =
        (sums.data_type(), to)
    else {
        return exec_err!("no average of {} as {to}", sums.data_type());
    };
    let factor = i256::from_i128(10_i128.pow(u32::from((scale - from).unsigned_abs())));
    let sums = sums.as_primitive::<Decimal128Type>();
    let counts = counts.as_primitive::<Int64Type>();
    let averages = sums.iter().zip(counts).map(|(sum, count)| {
        let (Some(sum), Some(count @ 1..)) = (sum, count) else {
            return Ok(None);
        };
        let scaled = i256::from_i128(sum).wrapping_mul(factor);
        let average = scaled.wrapping_div(i256::from_i128(count.into()));
        Decimal256Type::validate_decimal_precision(average, *precision, *scale)?;
        Ok(average.to_i128())
    });
    let averages = averages.collect::<Result<Decimal128Array>>()?;
    Ok(Arc::new(
        averages.with_precision_and_scale(*precision, *scale)?,
    ))
}
