//! Windows, in the connectors' algebra. A window that tells peers apart has one answer only where its order leaves no
//! choice among rows that differ.

use belvedere_connector::{Bound, Frame, Window, WindowFunction};
use datafusion::arrow::datatypes::FieldRef;
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::expr::{AggregateFunction, WindowFunctionParams};
use datafusion::logical_expr::{
    self as df, WindowFrame, WindowFrameBound, WindowFrameUnits, WindowFunctionDefinition,
};

use super::expr::{self, Declined};
use super::peers::cut_where_total;
use super::remote::Remote;

/// The windows of a node, with their names.
pub(super) fn translated(
    node: &df::Window,
    input: &Remote,
) -> Result<Vec<(Window, String)>, Declined> {
    let width = input.schema.fields().len();
    let fields = node.schema.fields().iter().skip(width);
    let named = node.window_expr.iter().zip(fields);
    let translate = |(expr, field): (&df::Expr, &FieldRef)| {
        let window = one(expr, input)?;
        match window.data_type() == *field.data_type() {
            true => Ok((window, field.name().clone())),
            false => Err(format!("a window of type {}", field.data_type())),
        }
    };
    named.map(translate).collect()
}

fn one(expr: &df::Expr, remote: &Remote) -> Result<Window, Declined> {
    let df::Expr::WindowFunction(call) = expr.clone().unalias() else {
        return Err(format!("{} as a window", expr.variant_name()));
    };
    let (params, input) = (&call.params, remote.schema.as_ref());
    let partition_by = expr::scalars(&params.partition_by, input)?;
    let keys = params.order_by.iter().map(|key| expr::sort_key(key, input));
    let mut order_by = keys.collect::<Result<Vec<_>, _>>()?;
    let width = input.fields().len();
    let is_total = cut_where_total(&partition_by, &mut order_by, &remote.keys, width);
    let function = function(&call.fun, params, input)?;
    let frame = match function.has_frame() {
        true => frame(&params.window_frame, order_by.is_empty())?,
        false => Frame::Peers,
    };
    if !is_total && (function.tells_peers_apart() || matches!(frame, Frame::Rows { .. })) {
        return Err(format!(
            "{}() over an order in which rows that differ may be peers",
            call.fun.name()
        ));
    }
    if frame == Frame::Partition && matches!(function, WindowFunction::Aggregate(_)) {
        order_by.clear();
    }
    Ok(Window {
        function,
        partition_by,
        order_by,
        frame,
    })
}

fn function(
    function: &WindowFunctionDefinition,
    params: &WindowFunctionParams,
    input: &DFSchema,
) -> Result<WindowFunction, Declined> {
    let name = function.name();
    if params.null_treatment.is_some() {
        return Err(format!("{name}() with null treatment"));
    }
    if params.distinct {
        return Err(format!("{name}() of distinct values over a window"));
    }
    if let WindowFunctionDefinition::AggregateUDF(function) = function
        && !matches!(name, "first_value" | "last_value")
    {
        let filter = params.filter.clone();
        let args = params.args.clone();
        let call = AggregateFunction::new_udf(function.clone(), args, false, filter, vec![], None);
        return expr::aggregate(&df::Expr::AggregateFunction(call), input)
            .map(WindowFunction::Aggregate);
    }
    if params.filter.is_some() {
        return Err(format!("{name}() with a filter"));
    }
    let arg = || match params.args.first() {
        Some(arg) => expr::scalar(arg, input),
        None => Err(format!("{name}() without an argument")),
    };
    let offset = || match params.args.as_slice() {
        [_] => Ok(1),
        [
            _,
            df::Expr::Literal(ScalarValue::Int64(Some(offset @ 1..)), _),
        ] => Ok(*offset as u64),
        _ => Err(format!(
            "{name}() with a default, or an offset that is no constant above 0"
        )),
    };
    Ok(match name {
        "row_number" => WindowFunction::RowNumber,
        "rank" => WindowFunction::Rank,
        "dense_rank" => WindowFunction::DenseRank,
        "lag" => WindowFunction::Lag {
            arg: arg()?,
            offset: offset()?,
        },
        "lead" => WindowFunction::Lead {
            arg: arg()?,
            offset: offset()?,
        },
        "first_value" => WindowFunction::FirstValue(arg()?),
        "last_value" => WindowFunction::LastValue(arg()?),
        _ => return Err(format!("window function {name}() runs here")),
    })
}

fn frame(frame: &WindowFrame, all_are_peers: bool) -> Result<Frame, Declined> {
    use WindowFrameUnits::{Groups, Range, Rows};
    let declined = || format!("a window's frame {frame}");
    let start = bound(&frame.start_bound, true).ok_or_else(declined)?;
    let end = bound(&frame.end_bound, false).ok_or_else(declined)?;
    match (frame.units, start, end) {
        (_, Bound::Unbounded, Bound::Unbounded) => Ok(Frame::Partition),
        (Range | Groups, Bound::Unbounded, Bound::CurrentRow) if all_are_peers => {
            Ok(Frame::Partition)
        }
        (Range | Groups, Bound::Unbounded, Bound::CurrentRow) => Ok(Frame::Peers),
        (Rows, start, end) => Ok(Frame::Rows { start, end }),
        _ => Err(declined()),
    }
}

fn bound(bound: &WindowFrameBound, is_start: bool) -> Option<Bound> {
    let rows = |value: &ScalarValue| match value {
        ScalarValue::UInt64(rows) => Some(*rows),
        _ => None,
    };
    Some(match bound {
        WindowFrameBound::CurrentRow => Bound::CurrentRow,
        WindowFrameBound::Preceding(value) if value.is_null() => {
            is_start.then_some(Bound::Unbounded)?
        }
        WindowFrameBound::Following(value) if value.is_null() => {
            (!is_start).then_some(Bound::Unbounded)?
        }
        WindowFrameBound::Preceding(value) => Bound::Preceding(rows(value)??),
        WindowFrameBound::Following(value) => Bound::Following(rows(value)??),
    })
}
