//! DataFusion's `min` and `max` by group take a NaN for smaller and for larger than what they have, so that the answer
//! follows from the order of the rows; and begin at the largest finite float, so that one infinity alone is not found.
//! Without groups, and in comparisons, NaN is above everything: so it is here.

use std::sync::Arc;

use datafusion::arrow::array::ArrowPrimitiveType;
use datafusion::arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::functions_aggregate::min_max::{Max, Min};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Documentation, GroupsAccumulator, ReversedUDAF,
    SetMonotonicity, Signature, StatisticsArgs,
};
use datafusion_functions_aggregate_common::aggregate::groups_accumulator::prim_op::PrimitiveGroupsAccumulator;

pub(super) fn functions() -> [Arc<AggregateUDF>; 2] {
    [
        Arc::new(AggregateUDF::from(Extreme {
            inner: AggregateUDF::from(Min::new()),
            least: true,
        })),
        Arc::new(AggregateUDF::from(Extreme {
            inner: AggregateUDF::from(Max::new()),
            least: false,
        })),
    ]
}

/// DataFusion's function, but for floats by group.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Extreme {
    inner: AggregateUDF,
    least: bool,
}

impl AggregateUDFImpl for Extreme {
    fn create_groups_accumulator(
        &self,
        args: AccumulatorArgs,
    ) -> Result<Box<dyn GroupsAccumulator>> {
        // The last of all floats, and the first: the NaNs of either sign without a clear bit.
        Ok(match (args.return_field.data_type(), self.least) {
            (DataType::Float32, true) => {
                floats::<Float32Type>(f32::from_bits(u32::MAX >> 1), |value, new| {
                    *value = std::cmp::min_by(*value, new, f32::total_cmp)
                })
            }
            (DataType::Float32, false) => {
                floats::<Float32Type>(f32::from_bits(u32::MAX), |value, new| {
                    *value = std::cmp::max_by(*value, new, f32::total_cmp);
                })
            }
            (DataType::Float64, true) => {
                floats::<Float64Type>(f64::from_bits(u64::MAX >> 1), |value, new| {
                    *value = std::cmp::min_by(*value, new, f64::total_cmp)
                })
            }
            (DataType::Float64, false) => {
                floats::<Float64Type>(f64::from_bits(u64::MAX), |value, new| {
                    *value = std::cmp::max_by(*value, new, f64::total_cmp);
                })
            }
            _ => return self.inner.create_groups_accumulator(args),
        })
    }

    fn name(&self) -> &str {
        self.inner.name()
    }

    fn signature(&self) -> &Signature {
        self.inner.signature()
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        self.inner.return_type(arg_types)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.accumulator(args)
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        self.inner.create_sliding_accumulator(args)
    }

    fn groups_accumulator_supported(&self, args: AccumulatorArgs) -> bool {
        self.inner.groups_accumulator_supported(args)
    }

    fn state_fields(
        &self,
        args: StateFieldsArgs,
    ) -> Result<Vec<datafusion::arrow::datatypes::FieldRef>> {
        self.inner.state_fields(args)
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.inner.order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        self.inner.reverse_udf()
    }

    fn is_descending(&self) -> Option<bool> {
        self.inner.is_descending()
    }

    fn value_from_stats(&self, statistics: &StatisticsArgs) -> Option<ScalarValue> {
        self.inner.value_from_stats(statistics)
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.inner.inner().set_monotonicity(data_type)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}

fn floats<T: ArrowPrimitiveType + Send>(
    start: T::Native,
    better: fn(&mut T::Native, T::Native),
) -> Box<dyn GroupsAccumulator> {
    Box::new(
        PrimitiveGroupsAccumulator::<T, _>::new(&T::DATA_TYPE, better).with_starting_value(start),
    )
}
