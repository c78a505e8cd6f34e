use std::collections::BTreeSet;

use chrono::{Offset, Utc};

use super::oid::{self, Numbers};
use super::{functions, types};
use crate::catalog::{Account, CATALOG, PG_CATALOG};
use crate::engine::names::Names;
use crate::engine::system::table::{NULL, Rows, some};

/// Who owns everything, and whoever asks.
pub(super) const OWNER_NAME: &str = CATALOG;

pub(super) fn pg_settings(names: &Names, rows: &mut Rows) {
    let mut all: Vec<(&str, String, &str)> = names.settings.iter().collect();
    let of_postgresql = names.settings.parameters.iter();
    all.extend(of_postgresql.map(|(name, value)| (name, value, "")));
    all.sort_by_key(|(name, _, _)| name.to_ascii_lowercase());
    for (name, value, help) in all {
        rows.some(some![
            name: name,
            setting: &value,
            category: if help.is_empty() { "PostgreSQL" } else { "Belvedere" },
            short_desc: help,
            context: "user",
            vartype: "string",
            source: "default",
            boot_val: &value,
            reset_val: &value,
            pending_restart: false,
        ]);
    }
}

pub(super) fn pg_database(_: &Names, rows: &mut Rows) {
    rows.some(some![
        oid: oid::DATABASE,
        datname: CATALOG,
        datdba: oid::OWNER,
        encoding: 6,
        datlocprovider: "c",
        datallowconn: true,
        datconnlimit: -1,
        dattablespace: oid::TABLESPACE,
        datcollate: "C",
        datctype: "C",
    ]);
}

pub(super) fn pg_tablespace(_: &Names, rows: &mut Rows) {
    rows.some(some![oid: oid::TABLESPACE, spcname: "pg_default", spcowner: oid::OWNER]);
}

/// Users and roles that whoever asks may know of, each with its number.
fn accounts(names: &Names) -> impl Iterator<Item = (i64, &Account)> {
    let mut numbers = Numbers::default();
    let accounts = names.world.definitions.accounts.values();
    accounts.map(move |account| (numbers.give(["role", &account.name]), account))
}

pub(super) fn pg_roles(names: &Names, rows: &mut Rows) {
    for (oid, account) in accounts(names) {
        rows.some(some![
            rolname: &account.name,
            rolsuper: account.is_superuser(),
            rolinherit: true,
            rolcreaterole: account.is_superuser(),
            rolcreatedb: false,
            rolcanlogin: account.login.is_some(),
            rolreplication: false,
            rolconnlimit: -1,
            rolpassword: "********",
            rolbypassrls: account.is_superuser(),
            oid: oid,
        ]);
    }
    rows.some(some![
        rolname: OWNER_NAME,
        rolsuper: true,
        rolinherit: true,
        rolcreaterole: true,
        rolcreatedb: false,
        rolcanlogin: true,
        rolreplication: false,
        rolconnlimit: -1,
        rolpassword: "********",
        rolbypassrls: true,
        oid: oid::OWNER,
    ]);
}

pub(super) fn pg_authid(_: &Names, rows: &mut Rows) {
    rows.some(some![
        oid: oid::OWNER,
        rolname: OWNER_NAME,
        rolsuper: true,
        rolinherit: true,
        rolcreaterole: true,
        rolcanlogin: true,
        rolbypassrls: true,
        rolconnlimit: -1,
    ]);
}

pub(super) fn pg_user(names: &Names, rows: &mut Rows) {
    for (oid, account) in accounts(names).filter(|(_, account)| account.login.is_some()) {
        rows.some(some![
            usename: &account.name,
            usesysid: oid,
            usecreatedb: false,
            usesuper: account.is_superuser(),
            userepl: false,
            usebypassrls: account.is_superuser(),
            passwd: "********",
        ]);
    }
    rows.some(some![
        usename: OWNER_NAME,
        usesysid: oid::OWNER,
        usecreatedb: false,
        usesuper: true,
        userepl: false,
        usebypassrls: true,
        passwd: "********",
    ]);
}

pub(super) fn pg_am(_: &Names, rows: &mut Rows) {
    for (oid, name, kind) in [(oid::HEAP, "heap", "t"), (oid::BTREE, "btree", "i")] {
        rows.some(some![oid: oid, amname: name, amtype: kind]);
    }
}

pub(super) fn pg_language(_: &Names, rows: &mut Rows) {
    for (oid, name, trusted) in [(oid::INTERNAL, "internal", false), (14, "sql", true)] {
        rows.some(some![oid: oid, lanname: name, lanowner: oid::OWNER, lanpltrusted: trusted]);
    }
}

pub(super) fn character_sets(_: &Names, rows: &mut Rows) {
    rows.some(some![
        character_set_name: "UTF8",
        character_repertoire: "UCS",
        form_of_use: "UTF8",
        default_collate_catalog: CATALOG,
        default_collate_schema: PG_CATALOG,
        default_collate_name: "C",
    ]);
}

/// Whoever asks.
pub(super) fn pg_stat_activity(names: &Names, rows: &mut Rows) {
    rows.some(some![
        datid: oid::DATABASE,
        datname: CATALOG,
        pid: functions::process_of(names.caller.asker),
        usesysid: oid::OWNER,
        usename: OWNER_NAME,
        application_name: "",
        state: "active",
        backend_type: "client backend",
    ]);
}

pub(super) fn pg_timezone_names(_: &Names, rows: &mut Rows) {
    for zone in chrono_tz_names() {
        let Ok(zone_now) = zone.parse::<datafusion::arrow::array::timezone::Tz>() else {
            continue;
        };
        let offset = Utc::now().with_timezone(&zone_now);
        let seconds = chrono::DateTime::offset(&offset).fix().local_minus_utc();
        let (sign, seconds) = (if seconds < 0 { "-" } else { "" }, seconds.abs());
        rows.some(some![
            name: zone,
            abbrev: NULL,
            utc_offset: format!("{sign}{:02}:{:02}:00", seconds / 3600, seconds / 60 % 60),
            is_dst: false,
        ]);
    }
}

/// Those that people use most: the list of all is in a library that is not ours.
fn chrono_tz_names() -> impl Iterator<Item = &'static str> {
    let all = "Africa/Cairo Africa/Johannesburg Africa/Lagos America/Argentina/Buenos_Aires \
        America/Bogota America/Chicago America/Denver America/Los_Angeles America/Mexico_City \
        America/New_York America/Sao_Paulo America/Toronto Asia/Dubai Asia/Hong_Kong Asia/Jakarta \
        Asia/Kolkata Asia/Seoul Asia/Shanghai Asia/Singapore Asia/Tokyo Australia/Sydney \
        Etc/UTC Europe/Amsterdam Europe/Athens Europe/Berlin Europe/Dublin Europe/Istanbul \
        Europe/Lisbon Europe/London Europe/Madrid Europe/Moscow Europe/Paris Europe/Rome \
        Europe/Stockholm Europe/Vienna Europe/Warsaw Europe/Zurich Pacific/Auckland UTC";
    all.split_whitespace()
}

/// Functions by name, with the number of each: those that read and write types have PostgreSQL's.
pub(super) fn functions_of(names: &Names) -> Vec<(i64, String, char)> {
    let mut all: Vec<(i64, String, char)> = Vec::new();
    let mut known = BTreeSet::new();
    for facts in types::ALL.iter() {
        for (name, oid) in facts.functions {
            if oid != 0 && known.insert(oid) {
                all.push((oid, name.to_string(), 'f'));
            }
        }
    }
    let state = &names.inner.state;
    let scalar = state
        .scalar_functions()
        .keys()
        .map(|name| (name.clone(), 'f'));
    let aggregate = state
        .aggregate_functions()
        .keys()
        .map(|name| (name.clone(), 'a'));
    let window = state
        .window_functions()
        .keys()
        .map(|name| (name.clone(), 'w'));
    let ours = functions::names().map(|name| (name.to_string(), 'f'));
    let others: BTreeSet<(String, char)> =
        scalar.chain(aggregate).chain(window).chain(ours).collect();
    let mut numbers = Numbers::default();
    for (name, kind) in others {
        let oid = numbers.give(["function", &name]);
        all.push((oid, name, kind));
    }
    all
}

pub(super) fn pg_proc(names: &Names, rows: &mut Rows) {
    for (oid, name, kind) in functions_of(names) {
        rows.some(some![
            oid: oid,
            proname: &name,
            pronamespace: oid::PG_CATALOG,
            proowner: oid::OWNER,
            prolang: oid::INTERNAL,
            procost: 1.0_f32,
            prokind: kind.to_string(),
            provolatile: "s",
            proparallel: "s",
            // Functions here take several kinds of arguments; what they answer follows from those.
            prorettype: 2276_i64,
            prosrc: &name,
        ]);
    }
}
