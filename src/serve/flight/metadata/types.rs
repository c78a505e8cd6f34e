use std::sync::OnceLock;

use arrow_flight::sql::metadata::{XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{Nullable, Searchable, XdbcDataType as Type, XdbcDatetimeSubcode as Sub};
use tonic::Status;

/// The types CAST takes.
pub(in crate::serve::flight) fn all() -> Result<&'static XdbcTypeInfoData, Status> {
    static ALL: OnceLock<XdbcTypeInfoData> = OnceLock::new();
    if let Some(all) = ALL.get() {
        return Ok(all);
    }
    let mut builder = XdbcTypeInfoDataBuilder::new();
    for info in types() {
        builder.append(info);
    }
    let built = builder.build()?;
    Ok(ALL.get_or_init(|| built))
}

fn types() -> Vec<XdbcTypeInfo> {
    vec![
        XdbcTypeInfo {
            literal_prefix: None,
            literal_suffix: None,
            searchable: Searchable::Basic,
            ..described("boolean", Type::XdbcBit, 1)
        },
        integer("tinyint", Type::XdbcTinyint, 3, false),
        integer("smallint", Type::XdbcSmallint, 5, false),
        integer("integer", Type::XdbcInteger, 10, false),
        integer("bigint", Type::XdbcBigint, 19, false),
        integer("tinyint unsigned", Type::XdbcTinyint, 3, true),
        integer("smallint unsigned", Type::XdbcSmallint, 5, true),
        integer("integer unsigned", Type::XdbcInteger, 10, true),
        integer("bigint unsigned", Type::XdbcBigint, 20, true),
        float("real", Type::XdbcReal, 24),
        float("double precision", Type::XdbcDouble, 53),
        XdbcTypeInfo {
            create_params: Some(vec!["precision".into(), "scale".into()]),
            unsigned_attribute: Some(false),
            auto_increment: Some(false),
            minimum_scale: Some(0),
            maximum_scale: Some(38),
            num_prec_radix: Some(10),
            searchable: Searchable::Basic,
            ..described("numeric", Type::XdbcNumeric, 38)
        },
        XdbcTypeInfo {
            case_sensitive: true,
            ..quoted("varchar", Type::XdbcVarchar, i32::MAX)
        },
        XdbcTypeInfo {
            literal_prefix: Some("X'".into()),
            searchable: Searchable::Basic,
            ..quoted("bytea", Type::XdbcVarbinary, i32::MAX)
        },
        time("date", Type::XdbcDate, 10, Sub::XdbcSubcodeYear, "DATE '"),
        time("time", Type::XdbcTime, 18, Sub::XdbcSubcodeTime, "TIME '"),
        time(
            "timestamp",
            Type::XdbcTimestamp,
            29,
            Sub::XdbcSubcodeTimestamp,
            "TIMESTAMP '",
        ),
        time(
            "timestamp with time zone",
            Type::XdbcTimestamp,
            35,
            Sub::XdbcSubcodeTimestampWithTimezone,
            "TIMESTAMP WITH TIME ZONE '",
        ),
        time(
            "interval",
            Type::XdbcInterval,
            40,
            Sub::XdbcSubcodeUnknown,
            "INTERVAL '",
        ),
    ]
}

fn described(name: &str, data_type: Type, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        type_name: name.into(),
        data_type,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        local_type_name: Some(name.into()),
        sql_data_type: data_type,
        ..Default::default()
    }
}

fn integer(name: &str, data_type: Type, digits: i32, unsigned: bool) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: Some(unsigned),
        auto_increment: Some(false),
        minimum_scale: Some(0),
        maximum_scale: Some(0),
        num_prec_radix: Some(10),
        searchable: Searchable::Basic,
        ..described(name, data_type, digits)
    }
}

fn float(name: &str, data_type: Type, bits: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        num_prec_radix: Some(2),
        searchable: Searchable::Basic,
        ..described(name, data_type, bits)
    }
}

fn quoted(name: &str, data_type: Type, size: i32) -> XdbcTypeInfo {
    XdbcTypeInfo {
        literal_prefix: Some("'".into()),
        literal_suffix: Some("'".into()),
        ..described(name, data_type, size)
    }
}

fn time(name: &str, data_type: Type, size: i32, subcode: Sub, prefix: &str) -> XdbcTypeInfo {
    let code = match data_type {
        Type::XdbcInterval => Type::XdbcInterval,
        _ => Type::XdbcDatetime,
    };
    XdbcTypeInfo {
        literal_prefix: Some(prefix.into()),
        sql_data_type: code,
        datetime_subcode: Some(subcode),
        searchable: Searchable::Basic,
        ..quoted(name, data_type, size)
    }
}
