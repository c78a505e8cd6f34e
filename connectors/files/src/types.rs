use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Fields, TimeUnit};

/// The type a table gives a column of this type: text is `Utf8`, bytes are `Binary`, and dictionaries are their values.
pub fn plain(data_type: &DataType) -> DataType {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => DataType::Utf8,
        DataType::LargeBinary | DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, value) => plain(value),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        // A column of which nothing is known but NULL.
        DataType::Null => DataType::Utf8,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => DataType::List(plain_field(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(plain_field).collect()),
        other => other.clone(),
    }
}

fn plain_field(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(
        field.name(),
        plain(field.data_type()),
        field.is_nullable(),
    ))
}

/// The narrowest type that holds all values of both, or text; None if not even that.
pub fn both(a: &DataType, b: &DataType) -> Option<DataType> {
    use DataType::*;
    if a == b {
        return Some(a.clone());
    }
    if let (Some(a), Some(b)) = (whole_digits(a), whole_digits(b)) {
        return Some(numeric(a, b));
    }
    match (a, b) {
        (Null, other) | (other, Null) => Some(other.clone()),
        (x, y) if x.is_floating() && y.is_numeric() || x.is_numeric() && y.is_floating() => {
            Some(Float64)
        }
        (Date32, Timestamp(unit, None)) | (Timestamp(unit, None), Date32) => {
            Some(Timestamp(*unit, None))
        }
        (Timestamp(x, zone), Timestamp(y, other)) if zone == other => {
            Some(Timestamp(finer(*x, *y), zone.clone()))
        }
        (List(x), List(y)) => {
            let item = both(x.data_type(), y.data_type())?;
            Some(List(Arc::new(Field::new(x.name(), item, true))))
        }
        (Struct(x), Struct(y)) => both_structs(x, y).map(Struct),
        (x, y) if !x.is_nested() && !y.is_nested() && !is_bytes(x) && !is_bytes(y) => Some(Utf8),
        _ => None,
    }
}

/// Whether a table's column of type `table` holds every value of a file's column of type `file`.
pub fn holds(table: &DataType, file: &DataType) -> bool {
    both(table, file).as_ref() == Some(table)
}

fn is_bytes(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Binary | DataType::FixedSizeBinary(_))
}

fn finer(a: TimeUnit, b: TimeUnit) -> TimeUnit {
    a.max(b)
}

fn both_structs(a: &Fields, b: &Fields) -> Option<Fields> {
    let mut fields: Vec<FieldRef> = Vec::new();
    for field in a {
        let data_type = match b.iter().find(|f| f.name() == field.name()) {
            Some(other) => both(field.data_type(), other.data_type())?,
            None => field.data_type().clone(),
        };
        fields.push(Arc::new(Field::new(field.name(), data_type, true)));
    }
    let missing = b
        .iter()
        .filter(|f| !a.iter().any(|known| known.name() == f.name()));
    fields.extend(missing.map(|f| Arc::new(f.as_ref().clone().with_nullable(true))));
    Some(fields.into())
}

/// (signed, digits before the point, digits after it, bits if an integer) of an exact number.
type Digits = (bool, u8, u8, Option<u8>);

fn whole_digits(data_type: &DataType) -> Option<Digits> {
    use DataType::*;
    Some(match data_type {
        Int8 => (true, 3, 0, Some(8)),
        Int16 => (true, 5, 0, Some(16)),
        Int32 => (true, 10, 0, Some(32)),
        Int64 => (true, 19, 0, Some(64)),
        UInt8 => (false, 3, 0, Some(8)),
        UInt16 => (false, 5, 0, Some(16)),
        UInt32 => (false, 10, 0, Some(32)),
        UInt64 => (false, 20, 0, Some(64)),
        Decimal128(precision, scale) if *scale >= 0 => (
            true,
            precision.saturating_sub(*scale as u8),
            *scale as u8,
            None,
        ),
        _ => return None,
    })
}

fn numeric(a: Digits, b: Digits) -> DataType {
    use DataType::*;
    if let (Some(x), Some(y)) = (a.3, b.3) {
        let bits = match (a.0, b.0) {
            (true, true) => [Int8, Int16, Int32, Int64][x.max(y).ilog2() as usize - 3].clone(),
            (false, false) => {
                [UInt8, UInt16, UInt32, UInt64][x.max(y).ilog2() as usize - 3].clone()
            }
            // One bit more than the unsigned one has.
            (signed, _) => {
                let (signed_bits, unsigned_bits) = if signed { (x, y) } else { (y, x) };
                match signed_bits.max(unsigned_bits.saturating_mul(2)) {
                    16 => Int16,
                    32 => Int32,
                    64 => Int64,
                    _ => Decimal128(20, 0),
                }
            }
        };
        return bits;
    }
    let (whole, fraction) = (a.1.max(b.1), a.2.max(b.2));
    match whole + fraction {
        precision if precision <= DECIMAL128_MAX_PRECISION => Decimal128(precision, fraction as i8),
        _ => Utf8,
    }
}

/// A type as people write it in option `columns`.
pub fn declared(text: &str) -> Option<DataType> {
    let text = text.trim().to_ascii_lowercase();
    if let Some(arguments) = text
        .strip_prefix("decimal")
        .or_else(|| text.strip_prefix("numeric"))
        .map(str::trim)
    {
        let (precision, scale) = arguments
            .strip_prefix('(')?
            .strip_suffix(')')?
            .split_once(',')
            .or(None)?;
        let (precision, scale): (u8, i8) =
            (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
        let valid = (1..=DECIMAL128_MAX_PRECISION).contains(&precision)
            && (0..=precision as i8).contains(&scale);
        return valid.then_some(DataType::Decimal128(precision, scale));
    }
    Some(match text.as_str() {
        "text" | "varchar" | "string" => DataType::Utf8,
        "boolean" | "bool" => DataType::Boolean,
        "smallint" | "int2" => DataType::Int16,
        "integer" | "int" | "int4" => DataType::Int32,
        "bigint" | "int8" => DataType::Int64,
        "real" | "float4" => DataType::Float32,
        "double" | "double precision" | "float8" => DataType::Float64,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" | "timestamp with time zone" => {
            DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
        }
        _ => return None,
    })
}

/// The type of a partition column, from the values in the folders' names.
pub fn of_partition<'a>(values: impl Iterator<Item = &'a str> + Clone) -> DataType {
    let integer = |v: &str| v.parse::<i64>().is_ok() && !v.starts_with('+');
    let date = |v: &str| v.len() == 10 && v.parse::<chrono::NaiveDate>().is_ok();
    if values.clone().next().is_none() {
        DataType::Utf8
    } else if values.clone().all(integer) {
        DataType::Int64
    } else if values.clone().all(date) {
        DataType::Date32
    } else {
        DataType::Utf8
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DataType::*;

    #[test]
    fn a_type_that_holds_both() {
        let stamp = |unit| Timestamp(unit, None);
        for (a, b, expected) in [
            (Int64, Int64, Some(Int64)),
            (Int8, Int32, Some(Int32)),
            (UInt8, UInt64, Some(UInt64)),
            (UInt8, Int8, Some(Int16)),
            (UInt32, Int8, Some(Int64)),
            (UInt64, Int8, Some(Decimal128(20, 0))),
            (Int64, Float32, Some(Float64)),
            (Float32, Float64, Some(Float64)),
            (Decimal128(10, 2), Decimal128(8, 4), Some(Decimal128(12, 4))),
            (Decimal128(38, 0), Decimal128(38, 10), Some(Utf8)),
            (Int64, Decimal128(5, 2), Some(Decimal128(21, 2))),
            (Int64, Utf8, Some(Utf8)),
            (Boolean, Int64, Some(Utf8)),
            (Null, Date32, Some(Date32)),
            (
                Date32,
                stamp(TimeUnit::Second),
                Some(stamp(TimeUnit::Second)),
            ),
            (
                stamp(TimeUnit::Second),
                stamp(TimeUnit::Nanosecond),
                Some(stamp(TimeUnit::Nanosecond)),
            ),
            (Binary, Utf8, None),
            (List(Arc::new(Field::new("item", Int64, true))), Int64, None),
        ] {
            assert_eq!(both(&a, &b), expected, "{a} and {b}");
            assert_eq!(both(&b, &a), expected, "{b} and {a}");
        }
    }

    #[test]
    fn partitions_are_typed_by_their_values() {
        let of = |values: &[&str]| of_partition(values.iter().copied());
        assert_eq!(of(&["2024", "07", "-1"]), Int64);
        assert_eq!(of(&["2024-01-01", "2024-02-29"]), Date32);
        assert_eq!(of(&["2024-01-01", "7"]), Utf8);
        assert_eq!(of(&["DE"]), Utf8);
        assert_eq!(of(&[]), Utf8);
    }

    #[test]
    fn declared_types() {
        assert_eq!(declared("Decimal( 12 , 2 )"), Some(Decimal128(12, 2)));
        for wrong in [
            "decimal",
            "decimal(50,2)",
            "decimal(5,6)",
            "null",
            "money",
            "",
        ] {
            assert_eq!(declared(wrong), None, "{wrong}");
        }
    }
}
