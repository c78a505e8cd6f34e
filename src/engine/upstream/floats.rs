//! `0.0 = -0.0` holds, but `0.0 IN (-0.0, 1, 2, 3)`, `CASE 0.0 WHEN -0.0` and `nullif(0.0, -0.0)` compare bits, as
//! partitions of windows and some kinds of groups do; in others the zero that comes first stands for both, which depends
//! on the order of rows. A sort puts -0.0 below 0.0, unless `WHERE x = 0.0` has made x one value, or it is a top-n that
//! asks of further rows whether they are less than its last one. Of NaN, which equals itself, the processor's own result
//! (0.0 / 0.0) and that of a negation compare and sort below everything, and what was read above.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{ArrayRef, AsArray, BooleanArray};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Float32Type, Float64Type};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeContainer, TreeNodeRecursion};
use datafusion::common::utils::take_function_args;
use datafusion::common::{Column, DFSchema, Result, ScalarValue};
use datafusion::logical_expr::expr::Sort as SortExpr;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{
    Aggregate, Case, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, Projection,
    ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Sort, Volatility,
    Window, when,
};

use crate::exact;

/// The plan with one zero and one NaN in the places that would tell several.
pub fn equal_floats(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| match node {
        LogicalPlan::Aggregate(aggregate) => grouped(aggregate)?.transform_data(compared),
        LogicalPlan::Sort(sort) => sorted(sort)?.transform_data(compared),
        LogicalPlan::Window(window) => windowed(window)?.transform_data(compared),
        node => compared(node),
    })?;
    Ok(plan.data)
}

fn sorted(mut sort: Sort) -> Result<Transformed<LogicalPlan>> {
    let schema = sort.input.schema().clone();
    let ties = ordered(&mut sort.expr, &schema);
    if ties.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Sort(sort)));
    }
    sort.expr.extend(ties);
    let mut keys = KeyColumns::beside(&schema);
    for key in &mut sort.expr {
        keys.put(&mut key.expr);
    }
    sort.input = Arc::new(keys.below(sort.input)?);
    let columns = schema.columns().into_iter().map(Expr::Column).collect();
    let projection = Projection::try_new(columns, Arc::new(LogicalPlan::Sort(sort)))?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}

/// Partitions of equal floats, in an order by which they are equal.
fn windowed(window: Window) -> Result<Transformed<LogicalPlan>> {
    let schema = window.input.schema().clone();
    let mut keys = KeyColumns::beside(&schema);
    let names = NamePreserver::new_for_projection();
    let exprs = window.window_expr.iter().map(|expr| {
        let name = names.save(expr);
        let expr = expr.clone().transform_up(|expr| {
            let Expr::WindowFunction(mut function) = expr else {
                return Ok(Transformed::no(expr));
            };
            for key in &mut function.params.partition_by {
                *key = canonical(key.clone(), &schema);
                keys.put(key);
            }
            let ties = ordered(&mut function.params.order_by, &schema);
            // Others take equal values for peers.
            if function.fun.name() == "row_number" {
                function.params.order_by.extend(ties);
            }
            for key in &mut function.params.order_by {
                keys.put(&mut key.expr);
            }
            Ok(Transformed::yes(Expr::WindowFunction(function)))
        })?;
        Ok(name.restore(expr.data))
    });
    let exprs = exprs.collect::<Result<Vec<_>>>()?;
    if keys.added.is_empty() {
        return Ok(Transformed::no(LogicalPlan::Window(window)));
    }
    let input = Arc::new(keys.below(window.input)?);
    let widened = LogicalPlan::Window(Window::try_new(exprs, input)?);
    let (inputs, values) = (schema.fields().len(), window.window_expr.len());
    let computed = widened
        .schema()
        .columns()
        .split_off(widened.schema().fields().len() - values);
    let named = window.schema.iter().skip(inputs);
    let values = computed
        .into_iter()
        .zip(named)
        .map(|(column, (qualifier, field))| {
            Expr::Column(column).alias_qualified(qualifier.cloned(), field.name())
        });
    let columns = schema.columns().into_iter().map(Expr::Column);
    let projection = Projection::try_new(columns.chain(values).collect(), Arc::new(widened))?;
    Ok(Transformed::yes(LogicalPlan::Projection(projection)))
}

/// Keys that are computed, as columns: of an order by columns DataFusion knows what it is worth; of one by our functions
/// it loses what it knows where two columns of one side of a union are the same.
struct KeyColumns<'a> {
    schema: &'a DFSchema,
    added: Vec<(Expr, String)>,
}

impl<'a> KeyColumns<'a> {
    fn beside(schema: &'a DFSchema) -> Self {
        let added = Vec::new();
        Self { schema, added }
    }

    /// A column in place of a key that is computed here.
    fn put(&mut self, key: &mut Expr) {
        let ours =
            matches!(key, Expr::ScalarFunction(call) if call.func.inner().is::<FloatFunction>());
        if !ours {
            return;
        }
        let known = self.added.iter().find(|(expr, _)| expr == key);
        let name = match known {
            Some((_, name)) => name.clone(),
            None => {
                let is_free = |name: &String| !self.schema.has_column_with_unqualified_name(name);
                let mut names = (self.added.len()..).map(|i| format!("key {i}"));
                let name = names.find(is_free).unwrap_or_default();
                self.added.push((key.clone(), name.clone()));
                name
            }
        };
        *key = Expr::Column(Column::new_unqualified(name));
    }

    fn below(self, input: Arc<LogicalPlan>) -> Result<LogicalPlan> {
        let columns = self.schema.columns().into_iter().map(Expr::Column);
        let keys = self.added.into_iter().map(|(expr, name)| expr.alias(name));
        let projection = Projection::try_new(columns.chain(keys).collect(), input)?;
        Ok(LogicalPlan::Projection(projection))
    }
}

/// Make the keys equal where their floats are; gives those that then tell -0.0 from 0.0, where the order is to be one.
fn ordered(keys: &mut [SortExpr], schema: &DFSchema) -> Vec<SortExpr> {
    let mut ties = Vec::new();
    for key in keys.iter_mut().filter(|key| is_float(&key.expr, schema)) {
        let tie = FloatFunction::AboveNegativeZero.call(key.expr.clone());
        ties.push(SortExpr { expr: tie, ..*key });
        key.expr = canonical(key.expr.clone(), schema);
    }
    ties
}

fn compared(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    let mut found = false;
    // What is compared above is a column there.
    let is_projection = matches!(node, LogicalPlan::Projection(_));
    node.apply_expressions(|expr| {
        found |= expr.exists(|expr| Ok(may_compare_bits(expr)))?;
        found |= is_projection && may_be_a_nan(expr);
        Ok(TreeNodeRecursion::Continue)
    })?;
    if !found {
        return Ok(Transformed::no(node));
    }
    let schema = merge_schema(&node.inputs());
    let names = NamePreserver::new(&node);
    node.map_expressions(|expr| {
        let name = names.save(&expr);
        let expr = expr.transform_up(|expr| rewritten(expr, &schema))?;
        Ok(expr.update_data(|expr| {
            let expr = match is_projection {
                true => with_one_nan(expr, &schema),
                false => expr,
            };
            name.restore(expr)
        }))
    })
}

fn grouped(aggregate: Aggregate) -> Result<Transformed<LogicalPlan>> {
    let schema = aggregate.input.schema();
    let key = |expr: Expr| {
        if !is_float(&expr, schema) {
            return Ok(Transformed::no(expr));
        }
        let (qualifier, name) = expr.qualified_name();
        let expr = canonical(expr, schema);
        Ok(Transformed::yes(expr.alias_qualified(qualifier, name)))
    };
    let groups = aggregate
        .group_expr
        .clone()
        .map_elements(|expr| match expr {
            Expr::GroupingSet(_) => expr.map_children(key),
            expr => key(expr),
        })?;
    if !groups.transformed {
        return Ok(Transformed::no(LogicalPlan::Aggregate(aggregate)));
    }
    let aggregate = Aggregate::try_new(aggregate.input, groups.data, aggregate.aggr_expr)?;
    Ok(Transformed::yes(LogicalPlan::Aggregate(aggregate)))
}

/// Whether [`rewritten`] may have something to do, without knowing types.
fn may_compare_bits(expr: &Expr) -> bool {
    match expr {
        Expr::InList(_) => true,
        Expr::Case(case) => case.expr.is_some(),
        Expr::BinaryExpr(test) if compares(test.op) => {
            may_be_a_nan(&test.left) || may_be_a_nan(&test.right)
        }
        Expr::ScalarFunction(call) => call.name() == "nullif",
        Expr::AggregateFunction(call) if is_extreme(call.func.name()) => {
            call.params.args.iter().any(may_be_a_nan)
        }
        Expr::WindowFunction(call) if is_extreme(call.fun.name()) => {
            call.params.args.iter().any(may_be_a_nan)
        }
        _ => false,
    }
}

fn is_extreme(function: &str) -> bool {
    matches!(function, "min" | "max")
}

fn compares(op: Operator) -> bool {
    use Operator::{Eq, Gt, GtEq, IsDistinctFrom, IsNotDistinctFrom, Lt, LtEq, NotEq};
    let distinct = matches!(op, IsDistinctFrom | IsNotDistinctFrom);
    distinct || matches!(op, Eq | NotEq | Lt | LtEq | Gt | GtEq)
}

/// Whether the value may be a NaN that is computed here.
fn may_be_a_nan(expr: &Expr) -> bool {
    match expr {
        Expr::Column(_) | Expr::Literal(..) => false,
        Expr::Alias(alias) => may_be_a_nan(&alias.expr),
        Expr::Cast(cast) => may_be_a_nan(&cast.expr),
        Expr::BinaryExpr(_) | Expr::Negative(_) | Expr::ScalarFunction(_) | Expr::Case(_) => true,
        _ => false,
    }
}

/// The expression, or, of one that may be a NaN computed here, the one NaN.
pub fn with_one_nan(expr: Expr, schema: &DFSchema) -> Expr {
    match expr {
        Expr::Alias(mut alias) => {
            *alias.expr = with_one_nan(*alias.expr, schema);
            Expr::Alias(alias)
        }
        expr if is_one_nan(&expr) => expr,
        expr if may_be_a_nan(&expr) && is_float(&expr, schema) => FloatFunction::OneNan.call(expr),
        expr => expr,
    }
}

fn each_with_one_nan(exprs: &mut [Expr], schema: &DFSchema) {
    for expr in exprs {
        *expr = with_one_nan(std::mem::take(expr), schema);
    }
}

pub fn is_one_nan(expr: &Expr) -> bool {
    let Expr::ScalarFunction(call) = expr else {
        return false;
    };
    call.func.inner().downcast_ref::<FloatFunction>() == Some(&FloatFunction::OneNan)
}

fn rewritten(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    Ok(match expr {
        Expr::InList(mut list) if is_float(&list.expr, schema) => {
            *list.expr = canonical(*list.expr, schema);
            let items = list.list.into_iter().map(|item| canonical(item, schema));
            list.list = items.collect();
            Transformed::yes(Expr::InList(list))
        }
        Expr::Case(Case {
            expr: Some(base),
            when_then_expr,
            else_expr,
        }) if is_float(&base, schema) => {
            let cases = when_then_expr
                .into_iter()
                .map(|(when, then)| (Box::new(canonical(*when, schema)), then))
                .collect();
            let base = Box::new(canonical(*base, schema));
            Transformed::yes(Expr::Case(Case::new(Some(base), cases, else_expr)))
        }
        Expr::BinaryExpr(mut test) if compares(test.op) => {
            *test.left = with_one_nan(*test.left, schema);
            *test.right = with_one_nan(*test.right, schema);
            Transformed::yes(Expr::BinaryExpr(test))
        }
        Expr::ScalarFunction(call)
            if call.name() == "nullif" && call.args.iter().any(|arg| is_float(arg, schema)) =>
        {
            let value = call.args[0].clone();
            let null = Expr::Literal(ScalarValue::try_from(&value.get_type(schema)?)?, None);
            let [left, right] = [0, 1].map(|i| with_one_nan(call.args[i].clone(), schema));
            let equal = left.eq(right);
            Transformed::yes(when(equal, null).otherwise(value)?)
        }
        Expr::AggregateFunction(mut call) if is_extreme(call.func.name()) => {
            each_with_one_nan(&mut call.params.args, schema);
            Transformed::yes(Expr::AggregateFunction(call))
        }
        Expr::WindowFunction(mut call) if is_extreme(call.fun.name()) => {
            each_with_one_nan(&mut call.params.args, schema);
            Transformed::yes(Expr::WindowFunction(call))
        }
        other => Transformed::no(other),
    })
}

fn is_float(expr: &Expr, schema: &DFSchema) -> bool {
    expr.get_type(schema).is_ok_and(|t| t.is_floating())
}

/// The float that stands for all that equal it.
fn canonical(expr: Expr, schema: &DFSchema) -> Expr {
    match expr {
        Expr::Literal(ScalarValue::Float32(Some(v)), metadata) => {
            Expr::Literal(ScalarValue::Float32(Some(canonical_32(v))), metadata)
        }
        Expr::Literal(ScalarValue::Float64(Some(v)), metadata) => {
            Expr::Literal(ScalarValue::Float64(Some(exact::canonical(v))), metadata)
        }
        expr if is_float(&expr, schema) => FloatFunction::Canonical.call(expr),
        expr => expr,
    }
}

/// Functions of one float, so that the column is seen in them by what optimizes plans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum FloatFunction {
    /// The float that stands for all that equal it.
    Canonical,
    /// The float itself, or the one NaN that is read.
    OneNan,
    /// Of those that equal zero, whether it is 0.0: -0.0 comes before it. True for all others.
    AboveNegativeZero,
}

static ANY: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));

impl FloatFunction {
    fn call(self, float: Expr) -> Expr {
        ScalarUDF::from(self).call(vec![float])
    }

    fn of(self, array: &ArrayRef) -> ArrayRef {
        let is_above = |v: f64| v != 0.0 || v.is_sign_positive();
        match (self, array.data_type()) {
            (Self::Canonical, DataType::Float32) => Arc::new(
                array
                    .as_primitive::<Float32Type>()
                    .unary::<_, Float32Type>(canonical_32),
            ),
            (Self::Canonical, DataType::Float64) => Arc::new(
                array
                    .as_primitive::<Float64Type>()
                    .unary::<_, Float64Type>(exact::canonical),
            ),
            (Self::OneNan, DataType::Float32) => Arc::new(
                array
                    .as_primitive::<Float32Type>()
                    .unary::<_, Float32Type>(|v| if v.is_nan() { f32::NAN } else { v }),
            ),
            (Self::OneNan, DataType::Float64) => Arc::new(
                array
                    .as_primitive::<Float64Type>()
                    .unary::<_, Float64Type>(|v| if v.is_nan() { f64::NAN } else { v }),
            ),
            (Self::Canonical | Self::OneNan, _) => array.clone(),
            (Self::AboveNegativeZero, DataType::Float32) => Arc::new(BooleanArray::from_unary(
                array.as_primitive::<Float32Type>(),
                |v| is_above(v.into()),
            )),
            (Self::AboveNegativeZero, DataType::Float64) => Arc::new(BooleanArray::from_unary(
                array.as_primitive::<Float64Type>(),
                is_above,
            )),
            // A half float: arrow compares these by their bits everywhere.
            (Self::AboveNegativeZero, _) => Arc::new(BooleanArray::from(vec![true; array.len()])),
        }
    }
}

impl ScalarUDFImpl for FloatFunction {
    fn name(&self) -> &str {
        match self {
            Self::Canonical => "canonical",
            Self::OneNan => "one_nan",
            Self::AboveNegativeZero => "above_negative_zero",
        }
    }

    fn signature(&self) -> &Signature {
        &ANY
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        let [number] = take_function_args(self.name(), arguments)?;
        Ok(match self {
            Self::Canonical | Self::OneNan => number.clone(),
            Self::AboveNegativeZero => DataType::Boolean,
        })
    }

    // A column stays what is known of its field.
    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let [number] = take_function_args(self.name(), arguments.arg_fields)?;
        Ok(match self {
            Self::Canonical | Self::OneNan => number.clone(),
            Self::AboveNegativeZero => Arc::new(Field::new(self.name(), DataType::Boolean, true)),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [number] = take_function_args(self.name(), arguments.args)?;
        let scalar = matches!(number, ColumnarValue::Scalar(_));
        let array = self.of(&number.into_array(if scalar { 1 } else { arguments.number_rows })?);
        Ok(match scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
            false => ColumnarValue::Array(array),
        })
    }
}

fn canonical_32(value: f32) -> f32 {
    exact::canonical(value.into()) as f32
}
