use datafusion::common::{Result, ScalarValue};

use super::{Context, Known, Returns, known, maybe_text, nothing, number, text, texted};
use crate::engine::system::pg_catalog::catalog::Relation;
use crate::engine::system::pg_catalog::names::relation;
use crate::engine::system::pg_catalog::relations::{PG_CLASS, PG_NAMESPACE};
use crate::engine::system::pg_catalog::{keys, types};

pub(super) static FUNCTIONS: &[Known] = &[
    known("format_type", Returns::Text, |_, args| {
        let modifier = number(args, 1).map(|modifier| modifier as i32);
        maybe_text(number(args, 0).map(|oid| types::written(oid, modifier)))
    }),
    known("obj_description", Returns::Text, obj_description),
    known("col_description", Returns::Text, |context, args| {
        let column = of_oid(context, args).zip(number(args, 1));
        maybe_text(column.and_then(|(relation, column)| {
            let at = usize::try_from(column.checked_sub(1)?).ok()?;
            relation.columns.get(at)?.comment.clone()
        }))
    }),
    known("shobj_description", Returns::Text, nothing),
    known("pg_get_viewdef", Returns::Text, |context, args| {
        let found = of_oid(context, args).or_else(|| {
            let name = text(args, 0)?;
            relation(&context.catalog, &context.settings, &name)
        });
        maybe_text(found.and_then(|relation| relation.query.clone()))
    }),
    known("pg_get_indexdef", Returns::Text, |context, args| {
        let column = number(args, 1).unwrap_or(0);
        let oid = number(args, 0);
        maybe_text(oid.and_then(|oid| keys::index_definition(&context.catalog, oid, column)))
    }),
    known("pg_get_constraintdef", Returns::Text, |context, args| {
        let oid = number(args, 0);
        maybe_text(oid.and_then(|oid| keys::constraint_definition(&context.catalog, oid)))
    }),
    // A default, a condition of an index or a partition's bound: there are none.
    known("pg_get_expr", Returns::Text, |_, args| {
        maybe_text(text(args, 0))
    }),
    known("pg_get_functiondef", Returns::Text, nothing),
    known("pg_get_function_arguments", Returns::Text, |_, _| {
        texted("")
    }),
    known(
        "pg_get_function_identity_arguments",
        Returns::Text,
        |_, _| texted(""),
    ),
    known("pg_get_function_result", Returns::Text, |_, _| {
        texted("\"any\"")
    }),
    known("pg_get_function_sqlbody", Returns::Text, nothing),
    known("pg_get_function_arg_default", Returns::Text, nothing),
    known("pg_get_ruledef", Returns::Text, nothing),
    known("pg_get_triggerdef", Returns::Text, nothing),
    known("pg_get_partkeydef", Returns::Text, nothing),
    known("pg_get_partition_constraintdef", Returns::Text, nothing),
    known("pg_get_statisticsobjdef", Returns::Text, nothing),
    known("pg_get_statisticsobjdef_columns", Returns::Text, nothing),
    known("pg_get_serial_sequence", Returns::Text, nothing),
    known("pg_describe_object", Returns::Text, nothing),
    known("pg_tablespace_location", Returns::Text, |_, _| texted("")),
    known("pg_size_pretty", Returns::Text, |_, args| {
        maybe_text(number(args, 0).map(pretty))
    }),
];

fn of_oid<'a>(context: &'a Context, args: &[ScalarValue]) -> Option<&'a Relation> {
    context.catalog.relation(number(args, 0)?)
}

/// What is said of an object of a catalog's table.
fn obj_description(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(oid) = number(args, 0) else {
        return Ok(ScalarValue::Null);
    };
    let class = text(args, 1);
    let is_in = |name: &str, oid: i64| {
        let class = class
            .as_deref()
            .map(|c| c.strip_prefix("pg_catalog.").unwrap_or(c));
        class.is_none_or(|class| class == name || class == oid.to_string())
    };
    let relations = is_in("pg_class", PG_CLASS);
    let relation = context.catalog.relation(oid).filter(|_| relations);
    let schemas = context.catalog.namespaces.iter();
    let schema = schemas
        .filter(|_| is_in("pg_namespace", PG_NAMESPACE))
        .find(|schema| schema.oid == oid);
    let comment = relation.and_then(|relation| relation.comment.clone());
    maybe_text(comment.or_else(|| schema.and_then(|schema| schema.comment.clone())))
}

/// `12 kB`: the largest unit of which there are at least ten.
fn pretty(bytes: i64) -> String {
    let units = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    let mut size = bytes;
    let mut unit = 0;
    while size.abs() >= 10_240 && unit + 1 < units.len() {
        size = (size + 512 * size.signum()) / 1024;
        unit += 1;
    }
    format!("{size} {}", units[unit])
}
