use datafusion::common::{Result, ScalarValue};

use super::{
    Context, Known, Returns, always, failed, integer, known, long, maybe_text, never, nothing,
    number, text, texted,
};
use crate::engine::system::pg_catalog::catalog::Relation;
use crate::engine::system::pg_catalog::server::OWNER_NAME;
use crate::engine::system::pg_catalog::{names, oid, types};
use crate::error::Error;

pub(super) static FUNCTIONS: &[Known] = &[
    known("to_regclass", Returns::Long, |context, args| {
        long(text(args, 0).and_then(|name| regclass(context, &name)))
    }),
    known("to_regtype", Returns::Long, |_, args| {
        long(text(args, 0).and_then(|name| regtype(&name)))
    }),
    known("to_regnamespace", Returns::Long, |context, args| {
        long(text(args, 0).and_then(|name| regnamespace(context, &name)))
    }),
    known("to_regproc", Returns::Long, |_, args| {
        long(text(args, 0).and_then(|name| regproc(&name)))
    }),
    known("to_regrole", Returns::Long, |_, args| {
        long(text(args, 0).and_then(|name| regrole(&name)))
    }),
    // PostgreSQL's names for what reads and shows these types.
    known("regclassin", Returns::Long, |context, args| {
        read(args, "table or view", |name| regclass(context, name))
    }),
    known("regtypein", Returns::Long, |_, args| {
        read(args, "type", regtype)
    }),
    known("regnamespacein", Returns::Long, |context, args| {
        read(args, "schema", |name| regnamespace(context, name))
    }),
    known("regprocin", Returns::Long, |_, args| {
        read(args, "function", regproc)
    }),
    known("regrolein", Returns::Long, |_, args| {
        read(args, "role", regrole)
    }),
    known("regclassout", Returns::Text, |context, args| {
        shown(args, |oid| {
            names::shown(&context.catalog, &context.settings, oid)
        })
    }),
    known("regtypeout", Returns::Text, |_, args| {
        shown(args, |oid| types::written(oid, None))
    }),
    known("regnamespaceout", Returns::Text, |context, args| {
        shown(args, |oid| {
            let found = context
                .catalog
                .namespaces
                .iter()
                .find(|known| known.oid == oid);
            found.map_or_else(|| oid.to_string(), |known| names::quoted(&known.name))
        })
    }),
    known("regprocout", Returns::Text, |_, args| {
        shown(args, |oid| {
            let all = types::ALL.iter().flat_map(|known| known.functions);
            let found = all.clone().find(|(_, number)| *number == oid);
            found.map_or_else(|| oid.to_string(), |(name, _)| name.to_string())
        })
    }),
    known("regroleout", Returns::Text, |_, args| shown(args, role)),
    known("pg_get_userbyid", Returns::Text, |_, args| {
        shown(args, |oid| match oid == oid::OWNER {
            true => OWNER_NAME.to_string(),
            false => format!("unknown (OID={oid})"),
        })
    }),
    known("pg_table_is_visible", Returns::Boolean, |context, args| {
        let relation = number(args, 0).and_then(|oid| context.catalog.relation(oid));
        let visible =
            relation.map(|found| names::is_visible(&context.catalog, &context.settings, found));
        Ok(ScalarValue::Boolean(visible))
    }),
    known("pg_type_is_visible", Returns::Boolean, always),
    known("pg_function_is_visible", Returns::Boolean, always),
    known("pg_operator_is_visible", Returns::Boolean, always),
    known("pg_opclass_is_visible", Returns::Boolean, always),
    known("pg_opfamily_is_visible", Returns::Boolean, always),
    known("pg_collation_is_visible", Returns::Boolean, always),
    known("pg_conversion_is_visible", Returns::Boolean, always),
    known("pg_statistics_obj_is_visible", Returns::Boolean, always),
    known("pg_ts_config_is_visible", Returns::Boolean, always),
    known("pg_ts_dict_is_visible", Returns::Boolean, always),
    known("pg_ts_parser_is_visible", Returns::Boolean, always),
    known("pg_ts_template_is_visible", Returns::Boolean, always),
    known("row_security_active", Returns::Boolean, never),
    known("pg_is_in_recovery", Returns::Boolean, never),
    known("pg_is_wal_replay_paused", Returns::Boolean, never),
    known("pg_is_other_temp_schema", Returns::Boolean, never),
    known("pg_relation_is_publishable", Returns::Boolean, never),
    known("pg_index_column_has_property", Returns::Boolean, never),
    known("pg_relation_is_updatable", Returns::Integer, |_, _| {
        integer(0)
    }),
    known("pg_column_is_updatable", Returns::Boolean, never),
    known("pg_relation_size", Returns::Long, size),
    known("pg_table_size", Returns::Long, size),
    known("pg_total_relation_size", Returns::Long, size),
    known("pg_indexes_size", Returns::Long, |_, _| long(0)),
    known("pg_relation_filenode", Returns::Long, |_, args| {
        long(number(args, 0))
    }),
    known("pg_database_size", Returns::Long, |context, _| {
        let sizes = context
            .catalog
            .relations
            .iter()
            .filter_map(|known| known.bytes);
        long(i64::try_from(sizes.sum::<u64>()).ok())
    }),
    known("pg_tablespace_size", Returns::Long, |_, _| long(0)),
    known("pg_stat_get_numscans", Returns::Long, |_, _| long(0)),
    known("pg_stat_get_live_tuples", Returns::Long, |context, args| {
        let relation = number(args, 0).and_then(|oid| context.catalog.relation(oid));
        long(
            relation
                .and_then(|known| known.rows)
                .and_then(|n| i64::try_from(n).ok()),
        )
    }),
    known("pg_encoding_to_char", Returns::Text, |_, args| {
        shown(args, |encoding| match encoding {
            6 => "UTF8".to_string(),
            _ => String::new(),
        })
    }),
    known("pg_char_to_encoding", Returns::Integer, |_, args| {
        let name = text(args, 0).unwrap_or_default().replace('-', "");
        integer(if name.eq_ignore_ascii_case("utf8") {
            6
        } else {
            -1
        })
    }),
    known("pg_partition_ancestors", Returns::Long, nothing),
    known("pg_partition_root", Returns::Long, nothing),
];

/// A number in a text is itself; what names nothing is an error.
fn read(
    args: &[ScalarValue],
    what: &'static str,
    find: impl Fn(&str) -> Option<i64>,
) -> Result<ScalarValue> {
    let Some(name) = text(args, 0) else {
        return Ok(ScalarValue::Null);
    };
    if let Ok(oid) = name.parse() {
        return long(Some(oid));
    }
    if name == "-" {
        return long(Some(0));
    }
    let unknown = || {
        failed(Error::Unknown {
            what,
            name: name.clone(),
            hint: None,
        })
    };
    long(Some(find(&name).ok_or_else(unknown)?))
}

fn shown(args: &[ScalarValue], show: impl Fn(i64) -> String) -> Result<ScalarValue> {
    match number(args, 0) {
        Some(oid) => texted(show(oid)),
        None => maybe_text(text(args, 0)),
    }
}

fn regclass(context: &Context, name: &str) -> Option<i64> {
    names::relation(&context.catalog, &context.settings, name).map(|relation| relation.oid)
}

fn regtype(name: &str) -> Option<i64> {
    types::named(name).map(|known| known.oid)
}

fn regnamespace(context: &Context, name: &str) -> Option<i64> {
    match names::parts(name)?.as_slice() {
        [name] => context.catalog.namespace(name).map(|known| known.oid),
        // Typed without the quotes that it needs.
        [source, schema] => {
            let name = format!("{source}.{schema}");
            context.catalog.namespace(&name).map(|known| known.oid)
        }
        _ => None,
    }
}

/// Those that read and write types are the ones that clients ask for.
fn regproc(name: &str) -> Option<i64> {
    let name = name.strip_prefix("pg_catalog.").unwrap_or(name);
    let mut all = types::ALL.iter().flat_map(|known| known.functions);
    let found = all.find(|(known, _)| *known == name);
    found.map(|(_, oid)| oid).or_else(|| {
        let known = super::is_known(name);
        known.then(|| oid::Numbers::default().give(["function", name]))
    })
}

fn regrole(name: &str) -> Option<i64> {
    (names::parts(name)? == [OWNER_NAME]).then_some(oid::OWNER)
}

fn role(oid: i64) -> String {
    match oid {
        oid::OWNER => OWNER_NAME.to_string(),
        0 => "-".to_string(),
        other => other.to_string(),
    }
}

fn size(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let of_name = || {
        let name = text(args, 0)?;
        names::relation(&context.catalog, &context.settings, &name)
    };
    let relation: Option<&Relation> = match number(args, 0) {
        Some(oid) => context.catalog.relation(oid),
        None => of_name(),
    };
    let bytes = relation.map(|known| known.bytes.unwrap_or(0));
    long(bytes.and_then(|bytes| i64::try_from(bytes).ok()))
}
