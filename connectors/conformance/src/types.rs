//! Every type at its extremes: read as it is, and compared, ordered and grouped alike with pushdown on and off.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array,
    Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, StringArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, UInt8Array, UInt16Array, UInt32Array,
    UInt64Array, new_null_array,
};
use arrow::compute::{cast, concat};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::scalar::ScalarValue;

use crate::changes::both_ways;
use crate::fixture::Fixture;
use crate::lab::{Lab, NULL, batch, numbers};
use crate::suite::Outcome;

const NO_SUCH_TYPE: &str = "the system has no such type";

/// Values, each once, then one of them again and NULL.
async fn check(fixture: Arc<dyn Fixture>, values: ArrayRef) -> Outcome {
    let Some(read_as) = fixture.reads(values.data_type()) else {
        return Err(NO_SUCH_TYPE);
    };
    let more = [values.slice(0, 1), new_null_array(values.data_type(), 2)];
    let all = concat(&[&values, &more[0], &more[1]]).expect("one type");
    let data = batch(vec![
        ("id", numbers(0..all.len() as i64)),
        ("v", all.clone()),
    ]);
    let lab = Lab::with(
        &fixture,
        &[
            ("t", data),
            (
                "u",
                batch(vec![("w", values.slice(0, values.len().min(4)))]),
            ),
        ],
    )
    .await;

    let found = lab.run("SELECT id, v FROM src.t ORDER BY id").await;
    assert_eq!(
        found.types[1],
        read_as.to_string(),
        "what the column is read as"
    );
    let expected = cast(&all, &read_as).expect("the type it is read as holds it");
    same_values(&found.rows, &expected);

    for sql in [
        "SELECT id, v FROM src.t",
        "SELECT id FROM src.t WHERE v IS NULL",
        "SELECT id FROM src.t WHERE v IS NOT NULL ORDER BY id",
        "SELECT count(*), count(v), count(DISTINCT v) FROM src.t",
        "SELECT min(v), max(v) FROM src.t",
        "SELECT v, count(*) FROM src.t GROUP BY v",
        "SELECT DISTINCT v FROM src.t",
        "SELECT v FROM src.t ORDER BY v",
        "SELECT v, id FROM src.t ORDER BY v DESC NULLS LAST, id",
        "SELECT v, id FROM src.t ORDER BY v NULLS FIRST, id LIMIT 3",
        "SELECT id FROM src.t JOIN src.u ON v = w",
        "SELECT id FROM src.t WHERE v IN (SELECT w FROM src.u)",
        "SELECT id FROM src.t LEFT JOIN src.u ON v = w WHERE w IS NULL",
        "SELECT a.id, b.id FROM src.t a JOIN src.t b ON a.v < b.v",
        // The limit ends its fragment: its keys are sent to the other.
        "SELECT a.id, b.id FROM (SELECT * FROM src.t ORDER BY id LIMIT 4) AS a JOIN src.t AS b ON a.v = b.v",
        "SELECT CASE WHEN id > 2 THEN v END, coalesce(v, v) FROM src.t",
    ] {
        lab.same(sql).await;
    }
    for i in 0..values.len() {
        let value = ScalarValue::try_from_array(&expected, i).expect("a value");
        // Two operators tell where a value stands among all others; all of them agree with that for the extremes.
        let operators: &[_] = match i {
            0..3 => &["=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM"],
            _ => &["=", "<"],
        };
        for op in operators {
            lab.same_with(
                &format!("SELECT id FROM src.t WHERE v {op} $1"),
                std::slice::from_ref(&value),
            )
            .await;
        }
        if i < 3 {
            lab.same_with(
                "SELECT id FROM src.t WHERE NOT (v < $1)",
                std::slice::from_ref(&value),
            )
            .await;
            lab.same_with(
                "SELECT count(*) FROM src.t WHERE v IN ($1, NULL)",
                std::slice::from_ref(&value),
            )
            .await;
        }
    }
    both_ways(&fixture, &["t"]).await;
    Ok(())
}

/// Rows of a number and a value are those of the array, in order.
fn same_values(rows: &[String], expected: &ArrayRef) {
    let options = FormatOptions::default().with_null(NULL);
    let shown = ArrayFormatter::try_new(expected.as_ref(), &options).expect("values can be shown");
    for (row, text) in rows.iter().enumerate() {
        let value = shown.value(row).to_string();
        assert!(
            *text == format!("{row}|{value}"),
            "row {row}: {text:.300} is not {value:.300}"
        );
    }
    assert_eq!(rows.len(), expected.len());
}

macro_rules! integers {
    ($($name:ident: $array:ident, $native:ty;)+) => {
        $(pub(crate) async fn $name(fixture: Arc<dyn Fixture>) -> Outcome {
            let (low, high) = (<$native>::MIN, <$native>::MAX);
            let values = [low, low + 1, 1, 42, high - 1, high];
            check(fixture, Arc::new($array::from_iter_values(values))).await
        })+
    };
}

integers! {
    int8: Int8Array, i8;
    int16: Int16Array, i16;
    int32: Int32Array, i32;
    int64: Int64Array, i64;
    uint8: UInt8Array, u8;
    uint16: UInt16Array, u16;
    uint32: UInt32Array, u32;
    uint64: UInt64Array, u64;
}

pub(crate) async fn booleans(fixture: Arc<dyn Fixture>) -> Outcome {
    check(fixture, Arc::new(BooleanArray::from(vec![true, false]))).await
}

pub(crate) async fn float32(fixture: Arc<dyn Fixture>) -> Outcome {
    let all = [
        f32::MIN,
        f32::MAX,
        f32::MIN_POSITIVE,
        0.1,
        1.5,
        0.0,
        16_777_216.0,
        -0.0,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
    ];
    let held = all
        .into_iter()
        .filter(|v| fixture.holds_float(f64::from(*v)));
    let values = Float32Array::from_iter_values(held);
    check(fixture, Arc::new(values)).await
}

pub(crate) async fn float64(fixture: Arc<dyn Fixture>) -> Outcome {
    let all = [
        f64::MIN,
        f64::MAX,
        f64::MIN_POSITIVE,
        0.1,
        1.0 / 3.0,
        0.0,
        9_007_199_254_740_993.0,
        1e300,
        -1e-300,
        5e-324,
        -0.0,
        f64::INFINITY,
        f64::NEG_INFINITY,
        f64::NAN,
    ];
    let held = all.into_iter().filter(|v| fixture.holds_float(*v));
    let values = Float64Array::from_iter_values(held);
    check(fixture, Arc::new(values)).await
}

async fn decimals(fixture: Arc<dyn Fixture>, precision: u8, scale: i8) -> Outcome {
    let nines = 10_i128.pow(u32::from(precision)) - 1;
    let values =
        Decimal128Array::from_iter_values([nines, -nines, 0, 1, -1, 10_i128.pow(scale as u32), 5]);
    check(
        fixture,
        Arc::new(
            values
                .with_precision_and_scale(precision, scale)
                .expect("they fit"),
        ),
    )
    .await
}

pub(crate) async fn decimal(fixture: Arc<dyn Fixture>) -> Outcome {
    decimals(fixture, 12, 2).await
}

pub(crate) async fn wide_decimal(fixture: Arc<dyn Fixture>) -> Outcome {
    decimals(fixture, 38, 10).await
}

pub(crate) async fn dates(fixture: Arc<dyn Fixture>) -> Outcome {
    // 1000-01-01, 1969-12-31, 1970-01-01, 2000-02-29, 2024-12-31, 9999-12-31
    check(
        fixture,
        Arc::new(Date32Array::from_iter_values([
            -354_285, -1, 0, 11_016, 20_088, 2_932_896,
        ])),
    )
    .await
}

pub(crate) async fn times(fixture: Arc<dyn Fixture>) -> Outcome {
    check(
        fixture,
        Arc::new(Time64MicrosecondArray::from_iter_values([
            0,
            1,
            43_200_000_000,
            86_399_999_999,
        ])),
    )
    .await
}

pub(crate) async fn timestamps(fixture: Arc<dyn Fixture>) -> Outcome {
    // 1000-01-01, a microsecond before and at the epoch, 2024-02-29 12:34:56.789012, the last of 9999
    let values = [
        -30_610_224_000_000_000,
        -1,
        0,
        1_709_210_096_789_012,
        253_402_300_799_999_999,
    ];
    check(
        fixture,
        Arc::new(TimestampMicrosecondArray::from_iter_values(values)),
    )
    .await
}

pub(crate) async fn timestamps_with_zone(fixture: Arc<dyn Fixture>) -> Outcome {
    // Within what every system's type of this kind reaches: 1970-01-02 to 2037.
    let values = [86_400_000_000, 1_709_210_096_789_012, 2_145_916_799_999_999];
    check(
        fixture,
        Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC")),
    )
    .await
}

pub(crate) async fn text(fixture: Arc<dyn Fixture>) -> Outcome {
    let long = "ab".repeat(5_000);
    let values = [
        "a",
        "",
        " ",
        "A",
        "a ",
        " a",
        "b",
        "B",
        "Ä",
        "ä",
        "ss",
        "ß",
        "é",
        "e\u{301}",
        "日本語",
        "𝄞🎉",
        "I",
        "ı",
        "İ",
        "i",
        "it's",
        "\"quoted\"",
        "back\\slash",
        "100%",
        "a_c",
        "line\nbreak",
        "tab\t",
        "; DROP TABLE t; --",
        "NULL",
        "1",
        "\u{feff}bom",
        "\u{7f}\u{1}",
        long.as_str(),
    ];
    check(fixture, Arc::new(StringArray::from_iter_values(values))).await
}

pub(crate) async fn binary(fixture: Arc<dyn Fixture>) -> Outcome {
    let all: Vec<u8> = (0..=255).collect();
    let values: [&[u8]; 6] = [b"a", b"", b"\0", b"\0\xff\0", b"A", &all];
    check(fixture, Arc::new(BinaryArray::from_iter_values(values))).await
}

pub(crate) async fn natives(fixture: Arc<dyn Fixture>) -> Outcome {
    let natives = fixture.natives();
    let Some(sql) = fixture.sql().filter(|_| !natives.is_empty()) else {
        return Err("it has no types of its own");
    };
    let (id, integer) = (sql.quoted("id"), sql.type_name(&DataType::Int64));
    for (i, native) in natives.iter().enumerate() {
        let table = sql.quoted(&format!("n{i}"));
        fixture
            .execute(&format!(
                "CREATE TABLE {table} ({id} {integer}, {} {})",
                sql.quoted("v"),
                native.declared
            ))
            .await;
        for (row, (constant, _)) in native.values.iter().enumerate() {
            fixture
                .execute(&format!("INSERT INTO {table} VALUES ({row}, {constant})"))
                .await;
        }
        fixture
            .execute(&format!(
                "INSERT INTO {table} VALUES ({}, NULL)",
                native.values.len()
            ))
            .await;
    }
    let tables: Vec<String> = (0..natives.len()).map(|i| format!("n{i}")).collect();
    let tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    let lab = Lab::with(&fixture, &[]).await;
    for (i, native) in natives.iter().enumerate() {
        let found = lab
            .run(&format!("SELECT v FROM src.n{i} ORDER BY id"))
            .await;
        assert_eq!(
            found.types,
            [native.reads.to_string()],
            "what {} is read as",
            native.declared
        );
        let expected: Vec<_> = native
            .values
            .iter()
            .map(|(_, shown)| *shown)
            .chain([NULL])
            .collect();
        assert_eq!(found.rows, expected, "{}", native.declared);
        for sql in [
            "SELECT id, v FROM src.n",
            "SELECT count(v), count(*) FROM src.n",
            "SELECT id FROM src.n WHERE v IS NULL",
            "SELECT id FROM src.n WHERE v IS NOT NULL AND id < 1",
        ] {
            lab.same(&sql.replace("src.n", &format!("src.n{i}"))).await;
        }
        if !native.reads.is_nested() {
            for sql in [
                "SELECT min(v), max(v) FROM src.n",
                "SELECT v, count(*) FROM src.n GROUP BY v",
                "SELECT v, id FROM src.n ORDER BY v, id",
                "SELECT a.id, b.id FROM src.n a JOIN src.n b ON a.v = b.v",
            ] {
                lab.same(&sql.replace("src.n", &format!("src.n{i}"))).await;
            }
        }
    }
    both_ways(&fixture, &tables).await;
    Ok(())
}
