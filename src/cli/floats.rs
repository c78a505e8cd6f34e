//! Floats in JSON that JSON has no number for, as texts: `"NaN"`, `"Infinity"`, as HTTP has them.

use std::sync::LazyLock;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, FieldRef, Float16Type, Float32Type, Float64Type};
use arrow::error::ArrowError;
use arrow::json::writer::{Encoder, EncoderFactory, EncoderOptions, NullableEncoder, make_encoder};

static PLAIN: LazyLock<EncoderOptions> = LazyLock::new(EncoderOptions::default);

#[derive(Debug)]
pub struct Floats;

impl EncoderFactory for Floats {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let is_float = array.data_type().is_floating();
        if !is_float {
            return Ok(None);
        }
        let encoder = Finite {
            array,
            finite: make_encoder(field, array, &PLAIN)?,
        };
        let nulls = array.nulls().cloned();
        Ok(Some(NullableEncoder::new(Box::new(encoder), nulls)))
    }
}

struct Finite<'a> {
    array: &'a dyn Array,
    finite: NullableEncoder<'a>,
}

impl Encoder for Finite<'_> {
    fn encode(&mut self, at: usize, out: &mut Vec<u8>) {
        let value = match self.array.data_type() {
            DataType::Float16 => f64::from(self.array.as_primitive::<Float16Type>().value(at)),
            DataType::Float32 => f64::from(self.array.as_primitive::<Float32Type>().value(at)),
            _ => self.array.as_primitive::<Float64Type>().value(at),
        };
        match value {
            f64::INFINITY => out.extend_from_slice(b"\"Infinity\""),
            f64::NEG_INFINITY => out.extend_from_slice(b"\"-Infinity\""),
            nan if nan.is_nan() => out.extend_from_slice(b"\"NaN\""),
            _ => self.finite.encode(at, out),
        }
    }
}
