//! Whether a server can tell what changes, and the statement to run where it cannot.

use belvedere_connector::Capture;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};

/// What is asked of a server; as rows of name and value.
const SETTINGS: &str = "
SELECT LOWER(VARIABLE_NAME), VARIABLE_VALUE FROM information_schema.GLOBAL_VARIABLES
WHERE VARIABLE_NAME IN ('LOG_BIN', 'BINLOG_FORMAT', 'BINLOG_ROW_IMAGE', 'BINLOG_ROW_METADATA', 'LOG_SLAVE_UPDATES',
  'GTID_SLAVE_POS', 'WSREP_ON')";

/// Rights by way of a role are not shown here: who has one is taken to have them.
const REPLICATES: &str = "
SELECT COUNT(*) > 0 OR CURRENT_ROLE() IS NOT NULL FROM information_schema.USER_PRIVILEGES
WHERE PRIVILEGE_TYPE IN ('REPLICATION SLAVE', 'SUPER')
  AND GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')";

/// The statement that lets a user read the log.
pub fn grant(user: &str) -> String {
    format!("GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO {user}")
}

/// # Errors
/// The connection's.
pub async fn read(conn: &mut Conn, user: &str) -> Result<Capture, Error> {
    let found: Vec<(String, String)> = conn.query(SETTINGS).await?;
    let value = |name: &str| {
        let found = found.iter().find(|(found, _)| found == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let is_on = |name: &str| matches!(value(name), "ON" | "1");
    let set =
        |name: &str, to: &str| format!("{name} is {}: run SET GLOBAL {name} = {to}", value(name));
    let is_replica = !value("gtid_slave_pos").is_empty() || is_on("wsrep_on");
    let why = if !is_on("log_bin") {
        "it has no binary log: add log_bin and binlog_format = ROW to its configuration, and restart it".to_string()
    } else if value("binlog_format") != "ROW" {
        set("binlog_format", "ROW")
    } else if value("binlog_row_image") != "FULL" {
        set("binlog_row_image", "FULL")
    } else if value("binlog_row_metadata").is_empty() {
        "its log does not name columns: MariaDB 10.5 is needed".to_string()
    } else if value("binlog_row_metadata") != "FULL" {
        set("binlog_row_metadata", "FULL")
    } else if is_replica && !is_on("log_slave_updates") {
        "it does not log what it replicates: add log_slave_updates to its configuration, and restart it".to_string()
    } else if conn.query_first(REPLICATES).await? != Some(1) {
        format!("user {user} may not read the log: run {}", grant(user))
    } else {
        return filters(conn, user).await;
    };
    Ok(Capture::None(why))
}

/// What is kept from the log is not told.
async fn filters(conn: &mut Conn, user: &str) -> Result<Capture, Error> {
    let log: Option<Row> = match conn.query_first("SHOW MASTER STATUS").await {
        Ok(log) => log,
        Err(Error::Server(_)) => {
            let why = format!("user {user} may not see how it logs: run {}", grant(user));
            return Ok(Capture::None(why));
        }
        Err(e) => return Err(e),
    };
    let is_filtered = log.is_none_or(|log| {
        let text = |i| {
            log.get_opt::<Option<String>, _>(i)
                .and_then(Result::ok)
                .flatten()
        };
        (2..4).any(|i| text(i).is_some_and(|databases| !databases.is_empty()))
    });
    Ok(match is_filtered {
        false => Capture::Transactional,
        true => Capture::None(
            "some of its databases are kept from the log: remove binlog_do_db and binlog_ignore_db from its configuration, and restart it"
                .to_string(),
        ),
    })
}
