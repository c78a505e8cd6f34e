//! Whether a server can tell what changes, and the statement that lets it where it cannot.

use belvedere_connector::Capture;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, Row};

use super::flavor::NUMBERS_THEM;
use crate::session::Flavor;

/// What is asked of a server; as rows of name and value.
const SETTINGS: &str = "SHOW GLOBAL VARIABLES WHERE Variable_name IN ('log_bin', 'binlog_format', 'binlog_row_image', \
    'binlog_row_metadata', 'log_slave_updates', 'gtid_slave_pos', 'wsrep_on', 'log_replica_updates', 'gtid_mode', \
    'binlog_row_value_options', 'binlog_order_commits')";

/// Rights by way of a role are not shown here: who has one is taken to have them.
const REPLICATES: &str = "
SELECT COUNT(*) > 0 OR COALESCE(CURRENT_ROLE(), 'NONE') <> 'NONE' FROM information_schema.USER_PRIVILEGES
WHERE PRIVILEGE_TYPE IN ('REPLICATION SLAVE', 'SUPER')
  AND GRANTEE = CONCAT('''', REPLACE(CURRENT_USER(), '@', '''@'''), '''')";

/// A server's settings, by name in small letters.
struct Settings(Vec<(String, String)>);

impl Settings {
    fn value(&self, name: &str) -> &str {
        let found = self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value.as_str())
    }

    fn is_on(&self, name: &str) -> bool {
        matches!(self.value(name), "ON" | "1")
    }

    /// Why not, if it is another value than it has to be.
    fn unless(&self, name: &str, right: &str) -> Option<String> {
        let value = self.value(name);
        let shown = if value.is_empty() { "empty" } else { value };
        let set = if right.is_empty() { "''" } else { right };
        (value != right).then(|| format!("{name} is {shown}: run SET GLOBAL {name} = {set}"))
    }

    fn of_both(&self) -> Option<String> {
        if !self.is_on("log_bin") {
            let why = "it has no binary log: add log_bin and binlog_format = ROW to its configuration, and restart it";
            return Some(why.to_string());
        }
        self.unless("binlog_format", "ROW")
            .or_else(|| self.unless("binlog_row_image", "FULL"))
    }

    fn of_mariadb(&self) -> Option<String> {
        let is_replica = !self.value("gtid_slave_pos").is_empty() || self.is_on("wsrep_on");
        if self.value("binlog_row_metadata").is_empty() {
            let why = "its log does not name columns: MariaDB 10.5 is needed";
            return Some(why.to_string());
        }
        self.unless("binlog_row_metadata", "FULL").or_else(|| {
            let is_silent = is_replica && !self.is_on("log_slave_updates");
            is_silent.then(|| does_not_log("log_slave_updates"))
        })
    }

    fn of_mysql(&self) -> Option<String> {
        if self.value("gtid_mode") != "ON" {
            let mode = self.value("gtid_mode");
            return Some(format!(
                "gtid_mode is {mode}, its transactions have no identifiers: run {NUMBERS_THEM}"
            ));
        }
        let logs_all = self.is_on("log_replica_updates") || self.is_on("log_slave_updates");
        self.unless("binlog_row_metadata", "FULL")
            .or_else(|| self.unless("binlog_row_value_options", ""))
            // Otherwise what is committed is no beginning of the log, and positions have no order.
            .or_else(|| self.unless("binlog_order_commits", "ON"))
            .or_else(|| (!logs_all).then(|| does_not_log("log_replica_updates")))
    }
}

fn does_not_log(name: &str) -> String {
    format!("it does not log what it replicates: add {name} to its configuration, and restart it")
}

/// # Errors
/// The connection's.
pub async fn read(conn: &mut Conn, flavor: Flavor, user: &str) -> Result<Capture, Error> {
    let settings = Settings(conn.query(SETTINGS).await?);
    let why = settings.of_both().or_else(|| match flavor {
        Flavor::MariaDb => settings.of_mariadb(),
        Flavor::MySql => settings.of_mysql(),
    });
    if let Some(why) = why {
        return Ok(Capture::None(why));
    }
    if conn.query_first(REPLICATES).await? != Some(1) {
        let grant = flavor.grant(user);
        let why = format!("user {user} may not read the log: run {grant}");
        return Ok(Capture::None(why));
    }
    filters(conn, flavor, user).await
}

/// What is kept from the log is not told.
async fn filters(conn: &mut Conn, flavor: Flavor, user: &str) -> Result<Capture, Error> {
    const UNKNOWN_STATEMENT: u16 = 1064;
    // MySQL calls it otherwise from 8.2 on.
    let status = match flavor {
        Flavor::MariaDb => "SHOW MASTER STATUS",
        Flavor::MySql => "SHOW BINARY LOG STATUS",
    };
    let status = match conn.query_first(status).await {
        Err(Error::Server(e)) if e.code == UNKNOWN_STATEMENT => {
            conn.query_first("SHOW MASTER STATUS").await
        }
        status => status,
    };
    let log: Option<Row> = match status {
        Ok(log) => log,
        Err(Error::Server(_)) => {
            let grant = flavor.grant(user);
            let why = format!("user {user} may not see how it logs: run {grant}");
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
