//! Ranks, and lengths of lists, are unsigned in DataFusion. Everywhere else they are `bigint` and `integer`; to a client of
//! PostgreSQL, which has no unsigned ones, they would be `numeric`.

use std::ops::Range;
use std::sync::Arc;

use datafusion::arrow::array::ArrayRef;
use datafusion::arrow::compute::{SortOptions, cast};
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::functions_window::{ntile, rank, row_number};
use datafusion::logical_expr::function::{
    ExpressionArgs, PartitionEvaluatorArgs, WindowFunctionSimplification, WindowUDFFieldArgs,
};
use datafusion::logical_expr::window_state::WindowAggState;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, LimitEffect, PartitionEvaluator, ReturnFieldArgs, ReversedUDWF,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, WindowUDF, WindowUDFImpl,
};
use datafusion::physical_plan::PhysicalExpr;

/// Of ranks.
const RANK: DataType = DataType::Int64;
/// Of lengths and places in lists.
const PLACE: DataType = DataType::Int32;

const LISTS: &[&str] = &[
    "array_length",
    "array_ndims",
    "array_position",
    "cardinality",
];

pub(super) fn row_number() -> Arc<WindowUDF> {
    signed(&row_number::row_number_udwf())
}

fn signed(function: &Arc<WindowUDF>) -> Arc<WindowUDF> {
    let inner = Arc::clone(function);
    Arc::new(WindowUDF::from(Rank { inner }))
}

pub(super) fn register(state: &mut SessionState) -> Result<()> {
    let ranks = [
        row_number(),
        signed(&rank::rank_udwf()),
        signed(&rank::dense_rank_udwf()),
        signed(&ntile::ntile_udwf()),
    ];
    for function in ranks {
        state.register_udwf(function)?;
    }
    for name in LISTS {
        let inner = state.udf(name)?;
        state.register_udf(Arc::new(ScalarUDF::from(Place { inner })))?;
    }
    Ok(())
}

/// DataFusion's function, with a sign.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Rank {
    inner: Arc<WindowUDF>,
}

impl WindowUDFImpl for Rank {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn expressions(&self, args: ExpressionArgs) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.expressions(args)
    }

    fn partition_evaluator(
        &self,
        args: PartitionEvaluatorArgs,
    ) -> Result<Box<dyn PartitionEvaluator>> {
        let inner = self.inner.partition_evaluator_factory(args)?;
        Ok(Box::new(Evaluator { inner }))
    }

    fn simplify(&self) -> Option<WindowFunctionSimplification> {
        self.inner.simplify()
    }

    fn field(&self, args: WindowUDFFieldArgs) -> Result<FieldRef> {
        let field = self.inner.field(args)?.as_ref().clone();
        Ok(Arc::new(field.with_data_type(RANK)))
    }

    fn sort_options(&self) -> Option<SortOptions> {
        self.inner.sort_options()
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn reverse_expr(&self) -> ReversedUDWF {
        match self.inner.reverse_expr() {
            ReversedUDWF::Reversed(other) => ReversedUDWF::Reversed(signed(&other)),
            as_it_is => as_it_is,
        }
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }

    fn limit_effect(&self, args: &[Arc<dyn PhysicalExpr>]) -> LimitEffect {
        self.inner.inner().limit_effect(args)
    }
}

#[derive(Debug)]
struct Evaluator {
    inner: Box<dyn PartitionEvaluator>,
}

impl PartitionEvaluator for Evaluator {
    fn memoize(&mut self, state: &mut WindowAggState) -> Result<()> {
        self.inner.memoize(state)
    }

    fn get_range(&self, row: usize, rows: usize) -> Result<Range<usize>> {
        self.inner.get_range(row, rows)
    }

    fn is_causal(&self) -> bool {
        self.inner.is_causal()
    }

    fn evaluate_all(&mut self, values: &[ArrayRef], rows: usize) -> Result<ArrayRef> {
        Ok(cast(&self.inner.evaluate_all(values, rows)?, &RANK)?)
    }

    fn evaluate(&mut self, values: &[ArrayRef], range: &Range<usize>) -> Result<ScalarValue> {
        self.inner.evaluate(values, range)?.cast_to(&RANK)
    }

    fn evaluate_all_with_rank(&self, rows: usize, ranks: &[Range<usize>]) -> Result<ArrayRef> {
        Ok(cast(
            &self.inner.evaluate_all_with_rank(rows, ranks)?,
            &RANK,
        )?)
    }

    fn supports_bounded_execution(&self) -> bool {
        self.inner.supports_bounded_execution()
    }

    fn uses_window_frame(&self) -> bool {
        self.inner.uses_window_frame()
    }

    fn include_rank(&self) -> bool {
        self.inner.include_rank()
    }
}

/// DataFusion's function over lists, with a sign.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Place {
    inner: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for Place {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn aliases(&self) -> &[String] {
        self.inner.aliases()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(PLACE)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let field = self.inner.return_field_from_args(args)?.as_ref().clone();
        Ok(Arc::new(field.with_data_type(PLACE)))
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let unsigned = args.return_field.as_ref().clone();
        args.return_field = Arc::new(unsigned.with_data_type(DataType::UInt64));
        self.inner.invoke_with_args(args)?.cast_to(&PLACE, None)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
