use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};

use crate::settings::Reading;

/// Precision and scale of a `numeric` that declares none.
pub const UNCONSTRAINED: (u8, i8) = (38, 20);

/// Ends the native type of a column that is null where a value does not fit. The rendering of a column sees its native
/// type and nothing else of the decision.
pub const NULL_WHERE_UNFIT: &str = " (null where it does not fit)";

/// A type as `pg_type` describes it, its domains resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct NativeType {
    /// Its own name, unqualified: `int4`, `mood`.
    pub name: String,
    /// As `format_type` writes it.
    pub display: String,
    pub modifier: i32,
    pub kind: NativeKind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum NativeKind {
    Base,
    Enum,
    Array(Box<NativeType>),
    /// Ranges, composites, pseudo types …
    Other,
}

/// How a column is read.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    pub data_type: DataType,
    pub note: Option<String>,
    /// [`Reading::Null`] applies: there are values that may not fit.
    pub or_null: bool,
}

impl Mapping {
    fn of(data_type: DataType) -> Self {
        Self {
            data_type,
            note: None,
            or_null: false,
        }
    }

    fn text(note: impl Into<Option<String>>) -> Self {
        Self {
            note: note.into(),
            ..Self::of(DataType::Utf8)
        }
    }
}

/// What a column of this type is read as, under the user's decision about it.
pub fn mapping(native: &NativeType, decision: Option<Reading>) -> Mapping {
    let plain = by_type(native);
    match decision {
        None => plain,
        Some(Reading::Text) => {
            Mapping::text(format!("{} read as text, as decided", native.display))
        }
        Some(Reading::Null) => Mapping {
            or_null: may_not_fit(&plain.data_type),
            ..plain
        },
        Some(Reading::Decimal {
            precision,
            scale,
            or_null,
        }) => {
            let number = matches!(
                native.name.as_str(),
                "numeric" | "money" | "int2" | "int4" | "int8"
            );
            if number && native.kind == NativeKind::Base {
                Mapping {
                    data_type: DataType::Decimal128(precision, scale),
                    note: None,
                    or_null,
                }
            } else {
                Mapping {
                    note: Some(format!(
                        "the decision decimal({precision},{scale}) does not apply to {}",
                        native.display
                    )),
                    ..plain
                }
            }
        }
    }
}

fn by_type(native: &NativeType) -> Mapping {
    let as_text = || Mapping::text(format!("{} has no mapping: read as text", native.display));
    match &native.kind {
        NativeKind::Enum => Mapping::text(None),
        NativeKind::Other => as_text(),
        NativeKind::Array(element) => {
            let element = by_type(element);
            let data_type = DataType::List(Field::new_list_field(element.data_type, true).into());
            Mapping {
                data_type,
                note: element.note,
                or_null: false,
            }
        }
        NativeKind::Base => match native.name.as_str() {
            "bool" => Mapping::of(DataType::Boolean),
            "int2" => Mapping::of(DataType::Int16),
            "int4" => Mapping::of(DataType::Int32),
            "int8" | "oid" => Mapping::of(DataType::Int64),
            "float4" => Mapping::of(DataType::Float32),
            "float8" => Mapping::of(DataType::Float64),
            "numeric" => numeric(native),
            "text" | "varchar" | "name" | "citext" | "json" | "jsonb" | "uuid" | "char"
            | "inet" | "cidr" | "macaddr" | "macaddr8" | "timetz" | "xml" => Mapping::text(None),
            "bpchar" => Mapping::text("read without its padding".to_string()),
            "bytea" => Mapping::of(DataType::Binary),
            "date" => Mapping::of(DataType::Date32),
            "time" => Mapping::of(DataType::Time64(TimeUnit::Microsecond)),
            "timestamp" => Mapping::of(DataType::Timestamp(TimeUnit::Microsecond, None)),
            "timestamptz" => Mapping::of(DataType::Timestamp(
                TimeUnit::Microsecond,
                Some("UTC".into()),
            )),
            "interval" => Mapping::of(DataType::Interval(IntervalUnit::MonthDayNano)),
            _ => as_text(),
        },
    }
}

/// The modifier packs precision and a signed scale of 11 bits.
fn numeric(native: &NativeType) -> Mapping {
    if native.modifier < 4 {
        let (precision, scale) = UNCONSTRAINED;
        return Mapping {
            note: Some(format!(
                "numeric without precision: read as decimal({precision},{scale}); a value that does not fit is an error"
            )),
            ..Mapping::of(DataType::Decimal128(precision, scale))
        };
    }
    let packed = native.modifier - 4;
    let precision = (packed >> 16) & 0xffff;
    let scale = ((packed & 0x7ff) ^ 1024) - 1024;
    // Arrow wants 0 <= scale <= precision: hundreds are read as units, all of thousandths' zeros as digits.
    let (digits, scale) = if scale < 0 {
        (precision - scale, 0)
    } else {
        (precision.max(scale), scale)
    };
    match digits {
        ..=38 => Mapping::of(DataType::Decimal128(digits as u8, scale as i8)),
        39..=76 => Mapping::of(DataType::Decimal256(digits as u8, scale as i8)),
        _ => Mapping::text(format!(
            "{} has more than 76 digits: read as text",
            native.display
        )),
    }
}

/// Whether PostgreSQL has values of a type so read that Arrow's type has not.
fn may_not_fit(data_type: &DataType) -> bool {
    use DataType::*;
    matches!(
        data_type,
        Decimal128(..)
            | Decimal256(..)
            | Date32
            | Time64(_)
            | Timestamp(..)
            | Interval(_)
            | List(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn native(name: &str, modifier: i32) -> NativeType {
        NativeType {
            name: name.into(),
            display: name.into(),
            modifier,
            kind: NativeKind::Base,
        }
    }

    fn numeric_of(precision: i32, scale: i32) -> DataType {
        let modifier = ((precision << 16) | (scale & 0x7ff)) + 4;
        mapping(&native("numeric", modifier), None).data_type
    }

    #[test]
    fn numerics_of_every_shape_have_room() {
        assert_eq!(numeric_of(10, 2), DataType::Decimal128(10, 2));
        assert_eq!(numeric_of(5, -2), DataType::Decimal128(7, 0));
        assert_eq!(numeric_of(3, 5), DataType::Decimal128(5, 5));
        assert_eq!(numeric_of(38, 38), DataType::Decimal128(38, 38));
        assert_eq!(numeric_of(50, 10), DataType::Decimal256(50, 10));
        assert_eq!(numeric_of(1000, 0), DataType::Utf8);
        assert_eq!(
            mapping(&native("numeric", -1), None).data_type,
            DataType::Decimal128(38, 20)
        );
    }

    #[test]
    fn decisions_apply_where_they_can() {
        let money = native("money", -1);
        assert!(mapping(&money, None).note.unwrap().contains("no mapping"));
        let decision = Some(Reading::Decimal {
            precision: 12,
            scale: 2,
            or_null: true,
        });
        let decided = mapping(&money, decision);
        assert_eq!(decided.data_type, DataType::Decimal128(12, 2));
        assert!(decided.or_null);
        let text = mapping(&native("text", -1), decision);
        assert!(text.note.unwrap().contains("does not apply"));
        assert!(!mapping(&native("int4", -1), Some(Reading::Null)).or_null);
        assert!(mapping(&native("date", -1), Some(Reading::Null)).or_null);
    }
}
