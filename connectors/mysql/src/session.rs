use std::time::{Duration, Instant};

use belvedere_connector::{Code, Error, Result};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};

use crate::error::{client_error, unreachable_error};
use crate::settings::{Settings, SslMode};

/// Every flag that changes what a statement means, set: the server's own default must not. Without
/// PAD_CHAR_TO_FULL_LENGTH, a CHAR comes without its padding.
const SQL_MODE: &str = "ANSI_QUOTES,ERROR_FOR_DIVISION_BY_ZERO,NO_BACKSLASH_ESCAPES,NO_ENGINE_SUBSTITUTION,\
                        PIPES_AS_CONCAT,STRICT_ALL_TABLES,STRICT_TRANS_TABLES";

/// Bytes of a text that sorting and grouping look at: longer texts are not sorted or grouped at the source.
pub(crate) const MAX_SORT_LENGTH: usize = 4096;

/// Which of the two families of servers answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    MariaDb,
    MySql,
}

impl Flavor {
    /// The collation that compares utf8mb4 by bytes and pads nothing.
    pub fn bytes_collation(self) -> &'static str {
        match self {
            Self::MariaDb => "utf8mb4_nopad_bin",
            Self::MySql => "utf8mb4_0900_bin",
        }
    }
}

/// Connect, set the session to a known state and check it.
pub(crate) async fn connect(
    settings: &Settings,
    deadline: Option<Instant>,
) -> Result<(Conn, Flavor)> {
    let limit = Instant::now() + settings.connect_timeout;
    let until = deadline.map_or(limit, |deadline| deadline.min(limit));
    match tokio::time::timeout_at(until.into(), open(settings)).await {
        Ok(result) => result,
        Err(_) if until < limit => Err(Error::new(
            Code::Timeout,
            format!(
                "the deadline passed while connecting to {}",
                settings.address()
            ),
        )
        .at_source(&settings.source)),
        Err(_) => Err(unreachable_error(
            settings,
            format!("no answer within {} s", settings.connect_timeout.as_secs()),
        )),
    }
}

/// The statement that lets the server end those after it at the deadline.
pub(crate) fn limit(flavor: Flavor, deadline: Option<Instant>) -> String {
    // Zero is no limit: a deadline that has passed is the shortest there is.
    let left = deadline.map(|deadline| {
        deadline
            .saturating_duration_since(Instant::now())
            .max(Duration::from_millis(1))
    });
    let left = left.unwrap_or_default();
    match flavor {
        Flavor::MariaDb => {
            format!("SET SESSION max_statement_time = {:.3}", left.as_secs_f64())
        }
        Flavor::MySql => format!("SET SESSION max_execution_time = {}", left.as_millis()),
    }
}

async fn open(settings: &Settings) -> Result<(Conn, Flavor)> {
    let encrypted = settings.ssl_mode != SslMode::Disable;
    let conn =
        match Conn::new(settings.client(encrypted)?).await {
            // The server has no TLS.
            Err(mysql_async::Error::Driver(
                mysql_async::DriverError::NoClientSslFlagFromServer,
            )) if settings.ssl_mode == SslMode::Prefer => Conn::new(settings.client(false)?).await,
            result => result,
        };
    let mut conn = conn.map_err(|e| client_error(e, settings))?;
    let flavor = set_up(&mut conn, settings).await?;
    Ok((conn, flavor))
}

async fn set_up(conn: &mut Conn, settings: &Settings) -> Result<Flavor> {
    let wrap = |e| client_error(e, settings);
    let version: Option<String> = conn.query_first("SELECT VERSION()").await.map_err(wrap)?;
    let version = version.unwrap_or_default();
    let flavor = if version.contains("MariaDB") {
        Flavor::MariaDb
    } else {
        Flavor::MySql
    };
    let collation = flavor.bytes_collation();
    conn.query_drop(format!(
        "SET SESSION sql_mode = '{SQL_MODE}', time_zone = '+00:00', autocommit = 1, net_write_timeout = 86400, \
         max_sort_length = {MAX_SORT_LENGTH}, sql_select_limit = 18446744073709551615, sql_big_selects = 1"
    ))
    .await
    .map_err(wrap)?;
    if flavor == Flavor::MariaDb {
        // The subquery cache takes an outer column's value for one it has seen under the column's own collation, also
        // where the subquery compares bytes. A long IN list stays a list, which its conversion to a join is not.
        conn.query_drop(
            "SET SESSION optimizer_switch = 'subquery_cache=off', in_predicate_conversion_threshold = 0",
        )
        .await
        .map_err(wrap)?;
    }
    conn.query_drop(format!("SET NAMES utf8mb4 COLLATE {collation}"))
        .await
        .map_err(|e| match &e {
            mysql_async::Error::Server(server) if server.code == 1273 => Error::new(
                Code::SourceRefused,
                format!(
                    "{} is too old: MariaDB 10.4 or MySQL 8.0.17 is needed",
                    settings.address()
                ),
            )
            .at_source(&settings.source),
            _ => client_error(e, settings),
        })?;
    // The server's default may be to read what is not committed.
    conn.query_drop("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        .await
        .map_err(wrap)?;
    check(conn, settings, flavor).await?;
    Ok(flavor)
}

/// A proxy between us and the server may swallow `SET`: what answers rest on is read back.
async fn check(conn: &mut Conn, settings: &Settings, flavor: Flavor) -> Result<()> {
    let isolation = match flavor {
        Flavor::MariaDb => "tx_isolation",
        Flavor::MySql => "transaction_isolation",
    };
    let row: Option<Row> = conn
        .query_first(format!(
            "SELECT @@session.sql_mode, @@session.time_zone, @@session.character_set_results, \
             @@session.character_set_client, @@session.collation_connection, @@session.{isolation}"
        ))
        .await
        .map_err(|e| client_error(e, settings))?;
    let value = |i: usize| -> String {
        row.as_ref()
            .and_then(|r| r.get_opt::<String, _>(i))
            .and_then(|v| v.ok())
            .unwrap_or_default()
    };
    let mut modes: Vec<String> = value(0).split(',').map(str::to_string).collect();
    modes.sort();
    let wrong = if modes.join(",") != SQL_MODE {
        Some("sql_mode")
    } else if value(1) != "+00:00" {
        Some("time_zone")
    } else if value(2) != "utf8mb4" || value(3) != "utf8mb4" {
        Some("character_set")
    } else if value(4) != flavor.bytes_collation() {
        Some("collation_connection")
    } else if value(5) != "REPEATABLE-READ" {
        Some("isolation level")
    } else {
        None
    };
    match wrong {
        Some(name) => Err(Error::new(
            Code::SourceRefused,
            format!(
                "{} does not keep the session's {name} as it was set",
                settings.address()
            ),
        )
        .help("Connect to the server itself, not through a proxy that changes sessions")
        .at_source(&settings.source)),
        None => Ok(()),
    }
}
