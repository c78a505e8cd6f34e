//! `n * n` of decimals of 20 digits is typed as one of 38, the most there are, and computed in 128 bits: a product of 39
//! digits is not refused, but cut where it is shown. A quotient is refused although it has room, since its numerator is
//! scaled up in 128 bits. `CAST(n AS DOUBLE)` rounds twice, so that `CAST(n AS DOUBLE) = 110.714286` finds nothing.

use std::sync::{Arc, LazyLock};

use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, Datum, Decimal128Array, Decimal256Array, Scalar,
};
use datafusion::arrow::compute::kernels::numeric;
use datafusion::arrow::datatypes::{
    DECIMAL128_MAX_PRECISION, DECIMAL256_MAX_PRECISION, DataType, Decimal128Type, Decimal256Type,
    Field, FieldRef, i256,
};
use datafusion::arrow::error::ArrowError;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::utils::take_function_args;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, internal_err};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion::logical_expr::{
    BinaryExpr, Cast, ColumnarValue, Expr, ExprSchemable, LogicalPlan, Operator, ReturnFieldArgs,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TryCast, Volatility,
};
use datafusion::physical_expr_common::datum::apply;

use super::{expressions, folding};
use crate::exact;

/// The plan with arithmetic of decimals that is right or fails, and casts to the nearest float. Runs when all that sources
/// are sent is cut out.
pub fn exact_decimals(plan: LogicalPlan) -> Result<LogicalPlan> {
    let plan = plan.transform_up_with_subqueries(|node| {
        // A scan's filters are of all its table's columns; other nodes' expressions of their inputs'.
        let scanned = match &node {
            LogicalPlan::TableScan(scan) if !scan.filters.is_empty() => {
                Some(DFSchema::try_from_qualified_schema(
                    scan.table_name.clone(),
                    &scan.source.schema(),
                )?)
            }
            _ => None,
        };
        let names = NamePreserver::new_for_projection();
        expressions::rewritten(node, may_be_inexact, |expr, schema| {
            let schema = scanned.as_ref().unwrap_or(schema);
            let rewrite = |expr: Expr| expr.transform_up(|expr| exactly(expr, schema));
            // Its keys are columns, each by its own name.
            let Expr::GroupingSet(_) = expr else {
                return rewrite(expr);
            };
            expr.map_children(|key| {
                let name = names.save(&key);
                Ok(rewrite(key)?.update_data(|key| name.restore(key)))
            })
        })
    })?;
    Ok(plan.data)
}

/// The node with the same for what is folded to a constant.
pub fn folds_exactly(node: LogicalPlan) -> Result<Transformed<LogicalPlan>> {
    expressions::rewritten(node, may_be_inexact, |expr, schema| {
        expr.transform_up(
            |expr| match may_be_inexact(&expr) && folding::is_constant(&expr) {
                true => exactly(expr, schema),
                false => Ok(Transformed::no(expr)),
            },
        )
    })
}

/// Types are not looked at.
fn may_be_inexact(expr: &Expr) -> bool {
    match expr {
        Expr::BinaryExpr(binary) => binary.op.is_numerical_operators(),
        Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => {
            field.data_type().is_floating()
        }
        _ => false,
    }
}

fn exactly(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let is_nullable = matches!(expr, Expr::TryCast(_));
    Ok(match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let types = (left.get_type(schema), right.get_type(schema));
            match types {
                (Ok(l), Ok(r)) if may_exceed(op, &l, &r) => {
                    let data_type = BinaryTypeCoercer::new(&l, &op, &r).get_result_type()?;
                    let function = ScalarUDF::from(Arithmetic { op, data_type });
                    Transformed::yes(function.call(vec![*left, *right]))
                }
                _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
            }
        }
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field })
            if expr
                .get_type(schema)
                .is_ok_and(|from| exact::rounds_to_float(&from, field.data_type())) =>
        {
            let data_type = field.data_type().clone();
            let function = ScalarUDF::from(NearestFloat {
                data_type,
                is_nullable,
            });
            Transformed::yes(function.call(vec![*expr]))
        }
        other => Transformed::no(other),
    })
}

/// Whether a result, or what it is computed from, may have more digits than decimals of this width have.
fn may_exceed(op: Operator, left: &DataType, right: &DataType) -> bool {
    use DataType::{Decimal128, Decimal256};
    let most = match (left, right) {
        (Decimal128(..), Decimal128(..)) => DECIMAL128_MAX_PRECISION,
        (Decimal256(..), Decimal256(..)) => DECIMAL256_MAX_PRECISION,
        _ => return false,
    };
    let (Some((p1, s1)), Some((p2, s2))) = (exact::digits(left), exact::digits(right)) else {
        return false;
    };
    let ([p1, p2], [s1, s2]) = ([p1, p2].map(i32::from), [s1, s2].map(i32::from));
    // Both at the greater scale.
    let same_scale = (p1 - s1).max(p2 - s2) + s1.max(s2);
    let needed = match op {
        Operator::Plus | Operator::Minus => same_scale + 1,
        Operator::Multiply => p1 + p2,
        // Arrow's quotient has four more decimal places than what is divided.
        Operator::Divide => p1 + s2 + 4,
        Operator::Modulo => same_scale,
        _ => return false,
    };
    needed > i32::from(most)
}

/// Arithmetic whose result is of its type, or an error.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Arithmetic {
    op: Operator,
    /// DataFusion's.
    data_type: DataType,
}

impl Arithmetic {
    fn of(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef> {
        match self.computed(left, right) {
            Ok(array) if self.holds(&array) => Ok(array),
            Ok(_) => Err(self.out_of_range()),
            Err(ArrowError::ArithmeticOverflow(_)) => self.in_256_bits(left, right),
            Err(e) => Err(e.into()),
        }
    }

    /// What is scaled up on the way to a result may not fit 128 bits, though the result does.
    fn in_256_bits(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef> {
        let (DataType::Decimal128(..), Some((_, scale))) =
            (&self.data_type, exact::digits(&self.data_type))
        else {
            return Err(self.out_of_range());
        };
        let widened = |datum: &dyn Datum| -> Result<Box<dyn Datum>> {
            let (array, is_scalar) = datum.get();
            let wide = exact::widened(array)?;
            Ok(match is_scalar {
                true => Box::new(Scalar::new(wide)),
                false => Box::new(wide),
            })
        };
        let (left, right) = (widened(left)?, widened(right)?);
        let result = match self.computed(left.as_ref(), right.as_ref()) {
            Ok(result) => result,
            Err(ArrowError::ArithmeticOverflow(_)) => return Err(self.out_of_range()),
            Err(e) => return Err(e.into()),
        };
        let result = result.as_primitive::<Decimal256Type>();
        // A quotient has the more decimal places for which there is room here. Cut twice it is as if it were once.
        let more = u32::try_from(result.scale() - scale).unwrap_or_default();
        let result: Decimal256Array = match more {
            0 => result.clone(),
            more => {
                let cut = i256::from_i128(10_i128.pow(more));
                let shorter: Decimal256Array = result.unary(|value| value.wrapping_div(cut));
                shorter.with_precision_and_scale(result.precision(), scale)?
            }
        };
        exact::narrowed(&result, self.what(), &self.data_type)
    }

    fn computed(&self, left: &dyn Datum, right: &dyn Datum) -> Result<ArrayRef, ArrowError> {
        match self.op {
            Operator::Plus => numeric::add(left, right),
            Operator::Minus => numeric::sub(left, right),
            Operator::Multiply => numeric::mul(left, right),
            Operator::Divide => numeric::div(left, right),
            _ => numeric::rem(left, right),
        }
    }

    fn holds(&self, array: &ArrayRef) -> bool {
        let valid = match (array.data_type(), exact::digits(&self.data_type)) {
            (DataType::Decimal128(..), Some((precision, _))) => {
                let array: &Decimal128Array = array.as_primitive::<Decimal128Type>();
                array.validate_decimal_precision(precision)
            }
            (DataType::Decimal256(..), Some((precision, _))) => {
                let array: &Decimal256Array = array.as_primitive::<Decimal256Type>();
                array.validate_decimal_precision(precision)
            }
            _ => return true,
        };
        valid.is_ok()
    }

    fn what(&self) -> &'static str {
        match self.op {
            Operator::Plus => "a sum of decimals",
            Operator::Minus => "a difference of decimals",
            Operator::Multiply => "a product of decimals",
            Operator::Divide => "a quotient of decimals",
            _ => "a remainder of decimals",
        }
    }

    fn out_of_range(&self) -> DataFusionError {
        exact::out_of_range(self.what(), &self.data_type).into()
    }
}

static OF_ONE: LazyLock<Signature> = LazyLock::new(|| Signature::any(1, Volatility::Immutable));
static OF_TWO: LazyLock<Signature> = LazyLock::new(|| Signature::any(2, Volatility::Immutable));

impl ScalarUDFImpl for Arithmetic {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "exact_sum",
            Operator::Minus => "exact_difference",
            Operator::Multiply => "exact_product",
            Operator::Divide => "exact_quotient",
            _ => "exact_remainder",
        }
    }

    fn signature(&self) -> &Signature {
        &OF_TWO
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let is_nullable = arguments.arg_fields.iter().any(|arg| arg.is_nullable());
        let field = Field::new(self.name(), self.data_type.clone(), is_nullable);
        Ok(Arc::new(field))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [left, right] = take_function_args(self.name(), arguments.args)?;
        let result = apply(&left, &right, |left, right| Ok(self.of(left, right)?))?;
        match result.data_type() == self.data_type {
            true => Ok(result),
            false => internal_err!("{} is {}", self.name(), result.data_type()),
        }
    }
}

/// A decimal cast to a float.
#[derive(Debug, PartialEq, Eq, Hash)]
struct NearestFloat {
    data_type: DataType,
    /// As what TRY_CAST gives is.
    is_nullable: bool,
}

impl ScalarUDFImpl for NearestFloat {
    fn name(&self) -> &str {
        "nearest_float"
    }

    fn signature(&self) -> &Signature {
        &OF_ONE
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.data_type.clone())
    }

    // What is known of a field stays, as with a cast.
    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let [decimal] = take_function_args(self.name(), arguments.arg_fields)?;
        let is_nullable = self.is_nullable || decimal.is_nullable();
        let field = Field::clone(decimal).with_data_type(self.data_type.clone());
        Ok(Arc::new(field.with_nullable(is_nullable)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [decimal] = take_function_args(self.name(), arguments.args)?;
        let is_scalar = matches!(decimal, ColumnarValue::Scalar(_));
        let rows = if is_scalar { 1 } else { arguments.number_rows };
        let floats = exact::nearest_floats(&decimal.into_array(rows)?, &self.data_type)?;
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&floats, 0)?),
            false => ColumnarValue::Array(floats),
        })
    }
}
