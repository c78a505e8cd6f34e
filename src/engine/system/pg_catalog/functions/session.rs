use std::sync::{Arc, LazyLock, PoisonError};

use chrono::Utc;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue};

use super::{
    Context, Known, Returns, failed, integer, known, long, maybe_text, nothing, process_of, text,
    texted,
};
use crate::catalog::{CATALOG, PG_CATALOG};
use crate::engine::parameters::SERVER_VERSION;
use crate::engine::system::pg_catalog::names::path;

pub(super) static FUNCTIONS: &[Known] = &[
    known("version", Returns::Text, |_, _| {
        texted(format!(
            "PostgreSQL {SERVER_VERSION} (Belvedere {})",
            env!("CARGO_PKG_VERSION")
        ))
    }),
    known("current_database", Returns::Text, |_, _| texted(CATALOG)),
    known("current_catalog", Returns::Text, |_, _| texted(CATALOG)),
    known("current_schema", Returns::Text, |context, _| {
        let first = path(&context.catalog, &context.settings).next();
        maybe_text(first.map(|schema| schema.name.clone()))
    }),
    known("current_schemas", Returns::Texts, current_schemas),
    known("current_user", Returns::Text, user),
    known("session_user", Returns::Text, user),
    known("current_role", Returns::Text, user),
    known("user", Returns::Text, user),
    known("pg_backend_pid", Returns::Integer, |context, _| {
        integer(process_of(context.asker))
    }),
    known("pg_postmaster_start_time", Returns::Instant, started),
    known("pg_conf_load_time", Returns::Instant, started),
    // There are no such locks. What takes one is not here: who asks for it would rely on it.
    known("pg_advisory_unlock_all", Returns::Text, |_, _| texted("")),
    known("txid_current", Returns::Long, |_, _| long(1)),
    known("txid_current_if_assigned", Returns::Long, nothing),
    known("current_setting", Returns::Text, current_setting),
    known("set_config", Returns::Text, set_config),
    known("inet_server_addr", Returns::Text, nothing),
    known("inet_client_addr", Returns::Text, nothing),
    known("inet_server_port", Returns::Integer, nothing),
    known("inet_client_port", Returns::Integer, nothing),
    known("pg_my_temp_schema", Returns::Long, |_, _| long(0)),
    known("pg_client_encoding", Returns::Text, |_, _| texted("UTF8")),
    known("getdatabaseencoding", Returns::Text, |_, _| texted("UTF8")),
];

fn user(context: &Context, _: &[ScalarValue]) -> Result<ScalarValue> {
    texted(&*context.user)
}

fn current_schemas(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let implicit = matches!(args.first(), Some(ScalarValue::Boolean(Some(true))));
    let first = implicit.then_some(PG_CATALOG).into_iter();
    let path = path(&context.catalog, &context.settings).map(|schema| schema.name.as_str());
    let all = first.chain(path).map(ScalarValue::from);
    let list = ScalarValue::new_list(&all.collect::<Vec<_>>(), &DataType::Utf8, true);
    Ok(ScalarValue::List(list))
}

/// When this process was first asked.
fn started(_: &Context, _: &[ScalarValue]) -> Result<ScalarValue> {
    static AT: LazyLock<i64> = LazyLock::new(|| Utc::now().timestamp_micros());
    Ok(ScalarValue::TimestampMicrosecond(
        Some(*AT),
        Some("UTC".into()),
    ))
}

fn current_setting(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let Some(name) = text(args, 0) else {
        return Ok(ScalarValue::Null);
    };
    let missing_ok = matches!(args.get(1), Some(ScalarValue::Boolean(Some(true))));
    match context.settings.get(&name.to_ascii_lowercase()) {
        Ok(value) => texted(value),
        Err(_) if missing_ok => Ok(ScalarValue::Null),
        Err(e) => Err(failed(e)),
    }
}

/// One that is not known is taken all the same, as clients set them when they begin: nothing here hangs on it.
fn set_config(context: &Context, args: &[ScalarValue]) -> Result<ScalarValue> {
    let (Some(name), Some(value)) = (text(args, 0), text(args, 1)) else {
        return Ok(ScalarValue::Null);
    };
    let name = name.to_ascii_lowercase();
    if context.settings.get(&name).is_ok()
        && let Some(session) = context.session.as_ref().and_then(std::sync::Weak::upgrade)
    {
        let mut settings = session.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut settings)
            .set(&name, Some(std::slice::from_ref(&value)))
            .map_err(failed)?;
    }
    texted(value)
}
