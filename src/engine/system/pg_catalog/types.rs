//! The types that PostgreSQL has by itself. Most of them no column here is of; clients look them up all the same.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::oid;
use crate::engine::names::Names;
use crate::engine::system::table::{Rows, some};

/// A line of `types.txt`.
pub(super) struct Facts {
    pub oid: i64,
    pub name: &'static str,
    length: i16,
    pub by_value: bool,
    kind: &'static str,
    category: &'static str,
    is_preferred: bool,
    pub item: i64,
    array: i64,
    /// Name and number of the functions that read and write it, as text and as bytes.
    pub functions: [(&'static str, i64); 4],
    pub alignment: &'static str,
    pub storage: &'static str,
    pub collation: i64,
}

pub(super) static ALL: LazyLock<Vec<Facts>> = LazyLock::new(|| {
    let lines = include_str!("types.txt").lines();
    lines.filter_map(read).collect()
});

static BY_OID: LazyLock<HashMap<i64, usize>> =
    LazyLock::new(|| ALL.iter().enumerate().map(|(at, t)| (t.oid, at)).collect());

fn read(line: &'static str) -> Option<Facts> {
    let words: Vec<&'static str> = line.split(' ').collect();
    let number = |at: usize| words.get(at)?.parse::<i64>().ok();
    let text = |at: usize| words.get(at).copied();
    let function = |at: usize| {
        let (name, oid) = text(at)?.split_once(':')?;
        Some((name, oid.parse().ok()?))
    };
    Some(Facts {
        oid: number(0)?,
        name: text(1)?,
        length: number(2)? as i16,
        by_value: text(3)? == "t",
        kind: text(4)?,
        category: text(5)?,
        is_preferred: text(6)? == "t",
        item: number(7)?,
        array: number(8)?,
        functions: [function(9)?, function(10)?, function(11)?, function(12)?],
        alignment: text(13)?,
        storage: text(14)?,
        collation: number(15)?,
    })
}

pub(super) fn facts(oid: i64) -> Option<&'static Facts> {
    BY_OID.get(&oid).map(|at| &ALL[*at])
}

/// Names that SQL has for types besides those of `pg_type`.
const SPELLED: &[(&str, &str)] = &[
    ("bool", "boolean"),
    ("int2", "smallint"),
    ("int4", "integer"),
    ("int4", "int"),
    ("int8", "bigint"),
    ("float4", "real"),
    ("float8", "double precision"),
    ("numeric", "numeric"),
    ("numeric", "decimal"),
    ("varchar", "character varying"),
    ("bpchar", "character"),
    ("time", "time without time zone"),
    ("timetz", "time with time zone"),
    ("timestamp", "timestamp without time zone"),
    ("timestamptz", "timestamp with time zone"),
    ("varbit", "bit varying"),
    ("char", "\"char\""),
];

/// The type of this name, as SQL or `pg_type` has it.
pub(super) fn named(name: &str) -> Option<&'static Facts> {
    let name = name.trim();
    if let Some(item) = name.strip_suffix("[]") {
        return named(item).and_then(|item| facts(item.array));
    }
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let name = name.split('(').next().unwrap_or(name).trim();
    let folded = name.to_ascii_lowercase();
    let spelled = SPELLED.iter().find(|(_, spelled)| *spelled == folded);
    let name = spelled.map_or(name.trim_matches('"'), |(name, _)| name);
    let exact = ALL.iter().find(|known| known.name == name);
    exact.or_else(|| ALL.iter().find(|known| known.name == folded))
}

/// A type as SQL writes it; with what is said of it besides.
pub(super) fn written(oid: i64, modifier: Option<i32>) -> String {
    let Some(facts) = facts(oid) else {
        return if oid == 0 { "-" } else { "???" }.to_string();
    };
    if facts.category == "A" && facts.length == -1 && facts.name.starts_with('_') {
        return format!("{}[]", written(facts.item, modifier));
    }
    let spelled = SPELLED.iter().find(|(name, _)| *name == facts.name);
    let name = spelled.map_or(facts.name, |(_, spelled)| spelled);
    let Some(modifier) = modifier.filter(|modifier| *modifier >= 0) else {
        return match (facts.name, modifier) {
            // Without a length it is one character to SQL.
            ("bpchar", None) => "character".to_string(),
            ("bpchar", Some(_)) => "bpchar".to_string(),
            _ => name.to_string(),
        };
    };
    match facts.name {
        "numeric" => {
            let both = modifier - 4;
            format!("numeric({},{})", (both >> 16) & 0xffff, both & 0x7ff)
        }
        "varchar" | "bpchar" => format!("{name}({})", modifier - 4),
        "bit" | "varbit" => format!("{name}({modifier})"),
        "time" | "timetz" | "timestamp" | "timestamptz" => match name.split_once(' ') {
            Some((first, rest)) => format!("{first}({modifier}) {rest}"),
            None => name.to_string(),
        },
        _ => name.to_string(),
    }
}

pub(super) fn pg_type(_: &Names, rows: &mut Rows) {
    for known in ALL.iter() {
        let [input, output, receive, send] = known.functions;
        rows.some(some![
            oid: known.oid,
            typname: known.name,
            typnamespace: oid::PG_CATALOG,
            typowner: oid::OWNER,
            typlen: known.length,
            typbyval: known.by_value,
            typtype: known.kind,
            typcategory: known.category,
            typispreferred: known.is_preferred,
            typisdefined: true,
            typdelim: ",",
            typelem: known.item,
            typarray: known.array,
            typinput: input.1,
            typoutput: output.1,
            typreceive: receive.1,
            typsend: send.1,
            typalign: known.alignment,
            typstorage: known.storage,
            typtypmod: -1,
            typcollation: known.collation,
        ]);
    }
}

/// Type, type of its bounds, type of its sets, operator class.
const RANGES: &[[i64; 4]] = &[
    [3904, 23, 4451, 1978],
    [3906, 1700, 4532, 3125],
    [3908, 1114, 4533, 3128],
    [3910, 1184, 4534, 3127],
    [3912, 1082, 4535, 3122],
    [3926, 20, 4536, 3124],
];

pub(super) fn pg_range(_: &Names, rows: &mut Rows) {
    for [range, of, set, class] in RANGES {
        rows.some(some![
            rngtypid: *range, rngsubtype: *of, rngmultitypid: *set, rngsubopc: *class,
        ]);
    }
}

/// How text compares here: by bytes.
pub(super) fn pg_collation(_: &Names, rows: &mut Rows) {
    let all = [
        (oid::DEFAULT_COLLATION, "default", "d", None),
        (950, "C", "c", Some("C")),
        (951, "POSIX", "c", Some("POSIX")),
    ];
    for (oid, name, provider, locale) in all {
        rows.some(some![
            oid: oid,
            collname: name,
            collnamespace: oid::PG_CATALOG,
            collowner: oid::OWNER,
            collprovider: provider,
            collisdeterministic: true,
            collencoding: -1,
            collcollate: locale,
            collctype: locale,
        ]);
    }
}

/// Number, name and type of those that an index has unless another is named.
const OPERATOR_CLASSES: &[(i64, &str, i64)] = &[
    (10003, "bool_ops", 16),
    (10006, "bytea_ops", 17),
    (10007, "char_ops", 18),
    (10028, "name_ops", 19),
    (3124, "int8_ops", 20),
    (1979, "int2_ops", 21),
    (1978, "int4_ops", 23),
    (3126, "text_ops", 25),
    (1981, "oid_ops", 26),
    (10012, "float4_ops", 700),
    (3123, "float8_ops", 701),
    (3122, "date_ops", 1082),
    (10038, "time_ops", 1083),
    (3128, "timestamp_ops", 1114),
    (3127, "timestamptz_ops", 1184),
    (10022, "interval_ops", 1186),
    (3125, "numeric_ops", 1700),
    (10000, "array_ops", 2277),
];

pub(super) fn operator_class(data_type: i64) -> i64 {
    let found = OPERATOR_CLASSES.iter().find(|(_, _, of)| *of == data_type);
    found.map_or(10000, |(oid, _, _)| *oid)
}

pub(super) fn pg_opclass(_: &Names, rows: &mut Rows) {
    for (oid, name, of) in OPERATOR_CLASSES {
        rows.some(some![
            oid: *oid,
            opcmethod: oid::BTREE,
            opcname: *name,
            opcnamespace: oid::PG_CATALOG,
            opcowner: oid::OWNER,
            opcintype: *of,
            opcdefault: true,
        ]);
    }
}
