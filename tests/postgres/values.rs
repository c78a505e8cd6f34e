use std::fmt::Write;

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use insta::assert_snapshot;
use tokio_postgres::types::Type;

use super::support::{Server, rows, said};

/// What PostgreSQL 16 prints of the same, but for what it has no value of.
#[tokio::test]
async fn texts_are_as_postgresql_prints_them() {
    let server = Server::start().await;
    let client = server
        .client_with("options='-c timezone=Europe/Berlin'")
        .await;
    let mut shown = String::new();
    for expression in [
        "true",
        "CAST(NULL AS INT)",
        "CAST(-32768 AS SMALLINT)",
        "9223372036854775807",
        "CAST(0.1 AS REAL)",
        "CAST(1e15 AS DOUBLE)",
        "CAST(-0.00001234 AS DOUBLE)",
        "CAST('NaN' AS DOUBLE)",
        "CAST('-inf' AS DOUBLE)",
        "CAST(-0.50 AS DECIMAL(10, 2))",
        "CAST('12345678901234567890123456789012345678.9' AS DECIMAL(39, 1))",
        "'it''s ü'",
        "arrow_cast(18446744073709551615, 'UInt64')",
        "decode('00ff10', 'hex')",
        "DATE '2024-02-29'",
        "DATE '0001-01-01'",
        "TIME '23:59:59.5'",
        "TIMESTAMP '2024-02-29 12:00:00.000001'",
        "TIMESTAMP '1969-12-31 23:59:59.999'",
        "TIMESTAMPTZ '2024-07-01 12:00:00+00'",
        "INTERVAL '1 year 2 months -3 days 4 hours 5 minutes 6.789 seconds'",
        "INTERVAL '-1 second'",
        "[1, NULL, 3]",
        "['a', 'b c', '', 'NULL', 'x\"y\\z', NULL]",
        "[[1, 2], [3, 4]]",
        "named_struct('a', 1, 'b', 'x')",
        "arrow_cast('x', 'Dictionary(Int32, Utf8)')",
    ] {
        let row = rows(&client, &format!("SELECT {expression}")).await;
        writeln!(shown, "{expression:70} {}", row.join("; ")).unwrap();
    }
    assert_snapshot!(shown, @r#"
    true                                                                   t
    CAST(NULL AS INT)                                                      NULL
    CAST(-32768 AS SMALLINT)                                               -32768
    9223372036854775807                                                    9223372036854775807
    CAST(0.1 AS REAL)                                                      0.1
    CAST(1e15 AS DOUBLE)                                                   1e+15
    CAST(-0.00001234 AS DOUBLE)                                            -1.234e-05
    CAST('NaN' AS DOUBLE)                                                  NaN
    CAST('-inf' AS DOUBLE)                                                 -Infinity
    CAST(-0.50 AS DECIMAL(10, 2))                                          -0.50
    CAST('12345678901234567890123456789012345678.9' AS DECIMAL(39, 1))     12345678901234567890123456789012345678.9
    'it''s ü'                                                              it's ü
    arrow_cast(18446744073709551615, 'UInt64')                             18446744073709551615
    decode('00ff10', 'hex')                                                \x00ff10
    DATE '2024-02-29'                                                      2024-02-29
    DATE '0001-01-01'                                                      0001-01-01
    TIME '23:59:59.5'                                                      23:59:59.5
    TIMESTAMP '2024-02-29 12:00:00.000001'                                 2024-02-29 12:00:00.000001
    TIMESTAMP '1969-12-31 23:59:59.999'                                    1969-12-31 23:59:59.999
    TIMESTAMPTZ '2024-07-01 12:00:00+00'                                   2024-07-01 14:00:00+02
    INTERVAL '1 year 2 months -3 days 4 hours 5 minutes 6.789 seconds'     1 year 2 mons -3 days +04:05:06.789
    INTERVAL '-1 second'                                                   -00:00:01
    [1, NULL, 3]                                                           {1,NULL,3}
    ['a', 'b c', '', 'NULL', 'x"y\z', NULL]                                {a,"b c","","NULL","x\"y\\z",NULL}
    [[1, 2], [3, 4]]                                                       {{1,2},{3,4}}
    named_struct('a', 1, 'b', 'x')                                         {"a":1,"b":"x"}
    arrow_cast('x', 'Dictionary(Int32, Utf8)')                             x
    "#);
}

#[tokio::test]
async fn binary_values_are_what_they_are() {
    let server = Server::start().await;
    let client = server.client().await;
    macro_rules! is {
        ($sql:literal, $of:expr, $type:ty, $value:expr) => {
            let row = client
                .query_one(concat!("SELECT ", $sql), &[])
                .await
                .unwrap();
            assert_eq!(row.columns()[0].type_(), &$of, $sql);
            assert_eq!(row.get::<_, $type>(0), $value, $sql);
        };
    }
    is!("true", Type::BOOL, bool, true);
    is!("CAST(-32768 AS SMALLINT)", Type::INT2, i16, i16::MIN);
    is!("CAST(2147483647 AS INT)", Type::INT4, i32, i32::MAX);
    is!("9223372036854775807", Type::INT8, i64, i64::MAX);
    is!("CAST(0.1 AS REAL)", Type::FLOAT4, f32, 0.1);
    is!(
        "CAST('-inf' AS DOUBLE)",
        Type::FLOAT8,
        f64,
        f64::NEG_INFINITY
    );
    is!("'it''s ü'", Type::TEXT, String, "it's ü");
    is!(
        "decode('00ff10', 'hex')",
        Type::BYTEA,
        Vec<u8>,
        [0, 255, 16]
    );
    let leap = NaiveDate::from_ymd_opt(2024, 2, 29).unwrap();
    is!("DATE '2024-02-29'", Type::DATE, NaiveDate, leap);
    let first = NaiveDate::from_ymd_opt(1, 1, 1).unwrap();
    is!("DATE '0001-01-01'", Type::DATE, NaiveDate, first);
    let late = NaiveTime::from_hms_milli_opt(23, 59, 59, 500).unwrap();
    is!("TIME '23:59:59.5'", Type::TIME, NaiveTime, late);
    let at = leap.and_hms_micro_opt(12, 0, 0, 1).unwrap();
    is!(
        "TIMESTAMP '2024-02-29 12:00:00.000001'",
        Type::TIMESTAMP,
        NaiveDateTime,
        at
    );
    let utc = DateTime::<Utc>::from_timestamp(1_719_835_200, 0).unwrap();
    is!(
        "TIMESTAMPTZ '2024-07-01 12:00:00+00'",
        Type::TIMESTAMPTZ,
        DateTime<Utc>,
        utc
    );
    is!(
        "[1, NULL, 3]",
        Type::INT8_ARRAY,
        Vec<Option<i64>>,
        [Some(1), None, Some(3)]
    );
    is!("['a', '']", Type::TEXT_ARRAY, Vec<String>, ["a", ""]);
    is!("CAST(NULL AS INT)", Type::INT4, Option<i32>, None);
}

/// What a client sends, in binary, is what comes back as text.
#[tokio::test]
async fn parameters_of_every_type_are_taken() {
    let server = Server::start().await;
    let client = server.client().await;
    macro_rules! is {
        ($of:expr, $value:expr, $text:literal) => {
            let statement = client
                .prepare_typed("SELECT CAST($1 AS TEXT)", &[$of])
                .await
                .unwrap();
            let row = client.query_one(&statement, &[&$value]).await;
            let row = row.unwrap_or_else(|e| panic!("{}: {}", $of, said(&e)));
            let shown = row.try_get::<_, String>(0);
            let shown = shown.unwrap_or_else(|e| panic!("{}: {e:?} {:?}", $of, row.columns()));
            assert_eq!(shown, $text, "{}", $of);
        };
    }
    is!(Type::BOOL, false, "false");
    is!(Type::INT2, -7i16, "-7");
    is!(Type::INT4, i32::MIN, "-2147483648");
    is!(Type::INT8, i64::MAX, "9223372036854775807");
    is!(Type::FLOAT8, 1.5f64, "1.5");
    is!(Type::TEXT, "ü", "ü");
    is!(Type::VARCHAR, "x", "x");
    is!(
        Type::DATE,
        NaiveDate::from_ymd_opt(2024, 2, 29).unwrap(),
        "2024-02-29"
    );
    is!(
        Type::TIME,
        NaiveTime::from_hms_opt(1, 2, 3).unwrap(),
        "01:02:03"
    );
    let at = NaiveDate::from_ymd_opt(2024, 2, 29)
        .unwrap()
        .and_hms_opt(12, 0, 0)
        .unwrap();
    is!(Type::TIMESTAMP, at, "2024-02-29T12:00:00");
    let statement = client
        .prepare_typed(
            "SELECT CAST(array_length($1) AS BIGINT)",
            &[Type::INT4_ARRAY],
        )
        .await
        .unwrap();
    let row = client
        .query_one(&statement, &[&vec![Some(1), None, Some(3)]])
        .await
        .unwrap();
    assert_eq!(row.get::<_, i64>(0), 3);
}
