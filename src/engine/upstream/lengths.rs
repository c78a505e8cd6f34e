//! Functions make values as long as they are told to, and no limit of memory counts those: whoever asks for one that would take the
//! machine's memory is refused before it is made.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::compute::kernels::length::length;
use datafusion::arrow::datatypes::{DataType, FieldRef, Int64Type};
use datafusion::common::Result;
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use crate::error::Error;

/// Bytes of one value.
const VALUE: i64 = 64 << 20;
/// Of the values of one batch of rows.
const BATCH: i64 = 512 << 20;

/// What the second argument counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Counts {
    /// The first, which is text.
    Texts,
    /// The first, which is an item of a list.
    Items,
    /// Characters.
    Characters,
}

const FUNCTIONS: &[(&str, Counts)] = &[
    ("repeat", Counts::Texts),
    ("array_repeat", Counts::Items),
    ("lpad", Counts::Characters),
    ("rpad", Counts::Characters),
];

pub(super) fn register(state: &mut SessionState) -> Result<()> {
    for (name, counts) in FUNCTIONS {
        let bounded = Bounded {
            inner: state.udf(name)?,
            counts: *counts,
        };
        state.register_udf(Arc::new(ScalarUDF::from(bounded)))?;
    }
    Ok(())
}

/// DataFusion's function, for values of a length that may be.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Bounded {
    inner: Arc<ScalarUDF>,
    counts: Counts,
}

impl Bounded {
    fn check(&self, args: &[ColumnarValue], rows: usize) -> Result<()> {
        let [value, count, ..] = args else {
            return Ok(());
        };
        // A constant is looked at once.
        let once = |arg: &ColumnarValue| match arg {
            ColumnarValue::Scalar(_) => arg.to_array(1),
            ColumnarValue::Array(_) => arg.to_array(rows),
        };
        let are_constant = matches!(
            (value, count),
            (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
        );
        let rows = if are_constant { 1 } else { rows };
        let counts = whole(&once(count)?)?;
        let sizes = self.sizes(&once(value)?)?;
        let at = |of: &ArrayRef, row: usize| {
            let row = if of.len() == 1 { 0 } else { row };
            let is_there = of.is_valid(row);
            is_there.then(|| of.as_primitive::<Int64Type>().value(row))
        };
        let mut all = 0_i64;
        for row in 0..rows {
            let (Some(count), Some(size)) = (at(&counts, row), at(&sizes, row)) else {
                continue;
            };
            let bytes = size.saturating_mul(count.max(0));
            all = all.saturating_add(bytes);
            let (what, limit) = match bytes > VALUE {
                true => ("a value", VALUE),
                false => ("values", BATCH),
            };
            if bytes > VALUE || all > BATCH {
                let message = format!(
                    "{} would make {what} of more than {} MB",
                    self.name(),
                    limit >> 20
                );
                let sqlstate = "54000";
                return Err(Error::Data { message, sqlstate }.into());
            }
        }
        Ok(())
    }

    /// Bytes of each of what is counted.
    fn sizes(&self, values: &ArrayRef) -> Result<ArrayRef> {
        let same = |bytes: i64| {
            let bytes = std::iter::repeat_n(bytes, values.len());
            Arc::new(Int64Array::from_iter_values(bytes)) as ArrayRef
        };
        Ok(match self.counts {
            Counts::Texts if values.data_type().is_string() => whole(&length(values)?)?,
            Counts::Texts | Counts::Characters => same(1),
            // As large as they are on average.
            Counts::Items => {
                let bytes = values.to_data().get_slice_memory_size()? / values.len().max(1);
                same(i64::try_from(bytes).unwrap_or(i64::MAX).max(1))
            }
        })
    }
}

fn whole(numbers: &ArrayRef) -> Result<ArrayRef> {
    Ok(cast(numbers, &DataType::Int64)?)
}

impl ScalarUDFImpl for Bounded {
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

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        self.inner.return_field_from_args(args)
    }

    fn coerce_types(&self, arg_types: &[DataType]) -> Result<Vec<DataType>> {
        self.inner.coerce_types(arg_types)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        self.check(&args.args, args.number_rows)?;
        self.inner.invoke_with_args(args)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
