use datafusion::arrow::datatypes::{DataType, TimeUnit};

/// A type as SQL writes it.
pub(crate) fn sql_type(data_type: &DataType) -> String {
    let named = match data_type {
        DataType::Boolean => "boolean",
        DataType::Int8 => "tinyint",
        DataType::Int16 => "smallint",
        DataType::Int32 => "integer",
        DataType::Int64 => "bigint",
        DataType::UInt8 => "tinyint unsigned",
        DataType::UInt16 => "smallint unsigned",
        DataType::UInt32 => "integer unsigned",
        DataType::UInt64 => "bigint unsigned",
        DataType::Float16 | DataType::Float32 => "real",
        DataType::Float64 => "double precision",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "text",
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => "bytea",
        DataType::Date32 | DataType::Date64 => "date",
        DataType::Time32(_) | DataType::Time64(_) => "time",
        DataType::Timestamp(_, None) => "timestamp",
        DataType::Timestamp(_, Some(_)) => "timestamp with time zone",
        DataType::Interval(_) | DataType::Duration(_) => "interval",
        DataType::Decimal32(p, s)
        | DataType::Decimal64(p, s)
        | DataType::Decimal128(p, s)
        | DataType::Decimal256(p, s) => {
            return format!("numeric({p},{s})");
        }
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            return format!("{}[]", sql_type(item.data_type()));
        }
        DataType::Dictionary(_, value) => return sql_type(value),
        other => return other.to_string(),
    };
    named.to_string()
}

/// A type as `information_schema.columns` takes it apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Facets {
    pub data_type: String,
    /// As PostgreSQL calls it.
    pub udt_name: String,
    pub precision: Option<i32>,
    pub radix: Option<i32>,
    pub scale: Option<i32>,
    /// Digits of a second.
    pub datetime: Option<i32>,
    /// Characters, as the source declares them.
    pub length: Option<i32>,
}

pub(super) fn facets(data_type: &DataType, native_type: Option<&str>) -> Facets {
    let named = |udt_name: &str| Facets {
        data_type: sql_type(data_type),
        udt_name: udt_name.to_string(),
        ..Facets::default()
    };
    let binary = |udt_name, bits, scale| Facets {
        precision: Some(bits),
        radix: Some(2),
        scale,
        ..named(udt_name)
    };
    let integer = |udt_name, bits| binary(udt_name, bits, Some(0));
    let standard = |name: &str, udt_name, unit: &TimeUnit| Facets {
        data_type: name.to_string(),
        datetime: Some(match unit {
            TimeUnit::Second => 0,
            TimeUnit::Millisecond => 3,
            TimeUnit::Microsecond => 6,
            TimeUnit::Nanosecond => 9,
        }),
        ..named(udt_name)
    };
    match data_type {
        DataType::Boolean => named("bool"),
        DataType::Int8 => integer("int2", 8),
        DataType::Int16 => integer("int2", 16),
        DataType::Int32 => integer("int4", 32),
        DataType::Int64 => integer("int8", 64),
        DataType::UInt8 => integer("int2", 8),
        DataType::UInt16 => integer("int4", 16),
        DataType::UInt32 => integer("int8", 32),
        DataType::UInt64 => integer("numeric", 64),
        DataType::Float16 | DataType::Float32 => binary("float4", 24, None),
        DataType::Float64 => binary("float8", 53, None),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Facets {
            length: native_type.and_then(declared_length),
            ..named("text")
        },
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => named("bytea"),
        DataType::Date32 | DataType::Date64 => standard("date", "date", &TimeUnit::Second),
        DataType::Time32(unit) | DataType::Time64(unit) => {
            standard("time without time zone", "time", unit)
        }
        DataType::Timestamp(unit, None) => {
            standard("timestamp without time zone", "timestamp", unit)
        }
        DataType::Timestamp(unit, Some(_)) => {
            standard("timestamp with time zone", "timestamptz", unit)
        }
        DataType::Interval(_) | DataType::Duration(_) => named("interval"),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
        | DataType::Decimal256(precision, scale) => Facets {
            data_type: "numeric".to_string(),
            precision: Some(i32::from(*precision)),
            radix: Some(10),
            scale: Some(i32::from(*scale)),
            ..named("numeric")
        },
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
            let item = facets(item.data_type(), None);
            Facets {
                data_type: "ARRAY".to_string(),
                ..named(&format!("_{}", item.udt_name))
            }
        }
        DataType::Dictionary(_, value) => facets(value, native_type),
        _ => named("text"),
    }
}

/// The length in a declaration like `character varying(20)`.
fn declared_length(native_type: &str) -> Option<i32> {
    let (name, rest) = native_type.split_once('(')?;
    let is_character = name.to_ascii_lowercase().contains("char");
    rest.split_once(')')
        .filter(|_| is_character)?
        .0
        .trim()
        .parse()
        .ok()
}
