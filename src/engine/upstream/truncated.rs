//! `date_trunc` of times before 1677 and after 2262, which it refuses: it computes in nanoseconds, in which there are none, whatever
//! the unit of a time is.

use std::sync::Arc;

use chrono::{Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike};
use datafusion::arrow::array::timezone::Tz;
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray};
use datafusion::arrow::compute::kernels::zip::zip;
use datafusion::arrow::compute::nullif;
use datafusion::arrow::datatypes::{
    ArrowTimestampType, DataType, FieldRef, TimeUnit, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampSecondType,
};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::temporal_conversions::as_datetime;
use datafusion::common::{Result, ScalarValue};
use datafusion::execution::FunctionRegistry;
use datafusion::execution::context::SessionState;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{
    ColumnarValue, Documentation, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature,
};

use super::zones::{in_a_second, offset};

/// Seconds from 1970, either way, within which all times and the starts of their years are there in nanoseconds: 285 years.
const NEAR: i64 = 9_000_000_000;

pub(super) fn register(state: &mut SessionState) -> Result<()> {
    let inner = state.udf("date_trunc")?;
    state.register_udf(Arc::new(ScalarUDF::from(Truncated { inner })))?;
    Ok(())
}

/// DataFusion's function, and what it is of times that are far.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Truncated {
    inner: Arc<ScalarUDF>,
}

/// What a time is cut off to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Microsecond,
    Millisecond,
    Second,
    Minute,
    Hour,
    Day,
    Week,
    Month,
    Quarter,
    Year,
}

impl Part {
    /// None: DataFusion says that there is no such part.
    fn read(part: &ColumnarValue) -> Option<Self> {
        let ColumnarValue::Scalar(part) = part else {
            return None;
        };
        Some(match part.try_as_str()??.to_ascii_lowercase().as_str() {
            "microsecond" => Self::Microsecond,
            "millisecond" => Self::Millisecond,
            "second" => Self::Second,
            "minute" => Self::Minute,
            "hour" => Self::Hour,
            "day" => Self::Day,
            "week" => Self::Week,
            "month" => Self::Month,
            "quarter" => Self::Quarter,
            "year" => Self::Year,
            _ => return None,
        })
    }

    /// When the part of a time began.
    fn start(self, time: NaiveDateTime) -> Option<NaiveDateTime> {
        let date = time.date();
        let day = match self {
            Self::Week => date.checked_sub_signed(TimeDelta::days(
                date.weekday().num_days_from_monday().into(),
            )),
            Self::Month => date.with_day(1),
            Self::Quarter => date.with_day(1)?.with_month0(date.month0() / 3 * 3),
            Self::Year => date.with_ordinal(1),
            _ => Some(date),
        }?;
        let clock = time.time();
        let (hour, minute, second) = (clock.hour(), clock.minute(), clock.second());
        let nanos = clock.nanosecond();
        let of = |hour, minute, second, nanos| day.and_hms_nano_opt(hour, minute, second, nanos);
        match self {
            Self::Microsecond => of(hour, minute, second, nanos / 1_000 * 1_000),
            Self::Millisecond => of(hour, minute, second, nanos / 1_000_000 * 1_000_000),
            Self::Second => of(hour, minute, second, 0),
            Self::Minute => of(hour, minute, 0, 0),
            Self::Hour => of(hour, 0, 0, 0),
            _ => of(0, 0, 0, 0),
        }
    }

    /// The same of a moment, by the clock of a zone.
    fn start_in(self, moment: NaiveDateTime, zone: Option<Tz>) -> Option<NaiveDateTime> {
        let Some(zone) = zone else {
            return self.start(moment);
        };
        let ahead = zone.offset_from_utc_datetime(&moment).fix();
        let local = moment.checked_add_offset(ahead)?;
        let start = self.start(local)?;
        match self {
            // A day's clock may be put forward or back.
            Self::Day | Self::Week | Self::Month | Self::Quarter | Self::Year => {
                let ahead = TimeDelta::seconds(offset(zone, start)?.into());
                start.checked_sub_signed(ahead)
            }
            _ => start.checked_sub_offset(ahead),
        }
    }
}

impl Truncated {
    fn times<T: ArrowTimestampType>(
        &self,
        part: Part,
        times: &ArrayRef,
        args: &ScalarFunctionArgs,
    ) -> Result<ArrayRef> {
        let given: &PrimitiveArray<T> = times.as_primitive();
        let near = NEAR * in_a_second(T::UNIT);
        let is_far = |time: i64| !(-near..=near).contains(&time);
        let nearby = |of: &ArrayRef| {
            let mut args = args.clone();
            args.args[1] = ColumnarValue::Array(Arc::clone(of));
            self.inner.invoke_with_args(args)?.into_array(of.len())
        };
        if !given.iter().flatten().any(is_far) {
            return nearby(times);
        }
        let zone = given.timezone().map(str::parse).transpose()?;
        let far = BooleanArray::from_iter(given.iter().map(|time| Some(time.is_some_and(is_far))));
        let started = given.try_unary::<_, T, ArrowError>(|time| {
            if !is_far(time) {
                return Ok(time);
            }
            let start = as_datetime::<T>(time).and_then(|time| part.start_in(time, zone));
            let start = start.and_then(|start| T::from_datetime(start.and_utc()));
            start.ok_or_else(|| ArrowError::ComputeError("a time is out of range".into()))
        })?;
        let started = started.with_timezone_opt(given.timezone());
        let near = nearby(&nullif(times, &far)?)?;
        Ok(zip(&far, &started, &near)?)
    }
}

impl ScalarUDFImpl for Truncated {
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

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [part, time] = args.args.as_slice() else {
            return self.inner.invoke_with_args(args);
        };
        let (Some(part), DataType::Timestamp(unit, _)) = (Part::read(part), time.data_type())
        else {
            return self.inner.invoke_with_args(args);
        };
        let is_scalar = matches!(time, ColumnarValue::Scalar(_));
        let times = time.to_array(if is_scalar { 1 } else { args.number_rows })?;
        let started = match unit {
            TimeUnit::Second => self.times::<TimestampSecondType>(part, &times, &args)?,
            TimeUnit::Millisecond => self.times::<TimestampMillisecondType>(part, &times, &args)?,
            TimeUnit::Microsecond => self.times::<TimestampMicrosecondType>(part, &times, &args)?,
            TimeUnit::Nanosecond => return self.inner.invoke_with_args(args),
        };
        Ok(match is_scalar {
            true => ColumnarValue::Scalar(ScalarValue::try_from_array(&started, 0)?),
            false => ColumnarValue::Array(started),
        })
    }

    fn output_ordering(&self, input: &[ExprProperties]) -> Result<SortProperties> {
        self.inner.output_ordering(input)
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.inner.documentation()
    }
}
