//! In which words either family of servers is asked for its log.

use belvedere_connector::{Code, Error, Result};
use mysql_async::BinlogStreamRequest;

use super::log::HEARTBEAT;
use super::place::Gtids;
use crate::session::Flavor;

impl Flavor {
    /// The rights on all that let a user read the log, and see how it is kept.
    pub fn rights(self) -> &'static str {
        match self {
            Self::MariaDb => "REPLICATION SLAVE, BINLOG MONITOR",
            Self::MySql => "REPLICATION SLAVE, REPLICATION CLIENT",
        }
    }

    pub fn grant(self, user: &str) -> String {
        format!("GRANT {} ON *.* TO {user}", self.rights())
    }

    /// Who the server is; the transactions that are in its log and not committed yet, where it tells those apart; those that are
    /// committed; whether names have a case. What is not in the one is in the other: MySQL moves it there in one step, and is asked
    /// for them in this order.
    pub fn standing(self) -> &'static str {
        match self {
            Self::MariaDb => {
                "SELECT CAST(@@global.server_id AS CHAR), NULL, @@global.gtid_binlog_pos, @@global.lower_case_table_names = 0"
            }
            Self::MySql => {
                "SELECT @@global.server_uuid, @@global.gtid_owned, @@global.gtid_executed, @@global.lower_case_table_names = 0"
            }
        }
    }

    /// What a session says before it asks for the log behind `from`.
    pub fn prepares(self, from: &Gtids) -> String {
        let heartbeat = HEARTBEAT.as_nanos();
        match self {
            Self::MariaDb => format!(
                "SET @mariadb_slave_capability = 4, @slave_connect_state = '{from}', @slave_gtid_strict_mode = 1, \
                 @slave_gtid_ignore_duplicates = 0, @master_heartbeat_period = {heartbeat}"
            ),
            // The old names are those that servers before 8.0.26 know.
            Self::MySql => format!(
                "SET @source_binlog_checksum = @@global.binlog_checksum, @source_heartbeat_period = {heartbeat}, \
                 @master_heartbeat_period = {heartbeat}"
            ),
        }
    }

    /// COM_BINLOG_DUMP of MariaDB, which has been told where, or COM_BINLOG_DUMP_GTID of MySQL.
    pub fn request(self, reader: u32, from: &Gtids) -> Result<BinlogStreamRequest<'static>> {
        let request = BinlogStreamRequest::new(reader).with_pos(4);
        Ok(match from {
            Gtids::MariaDb(_) => request,
            Gtids::MySql(gtids) => request.with_gtid().with_gtid_set(gtids.sids()?),
        })
    }
}

/// Of a server whose transactions have no identifiers.
pub fn anonymous() -> Error {
    let message = "its transactions have no identifiers";
    Error::new(Code::NoChangeCapture, message).help(format!("Run at the source: {NUMBERS_THEM}"))
}

/// One after the other, on all servers of a topology before the next.
pub const NUMBERS_THEM: &str = "SET GLOBAL enforce_gtid_consistency = ON; SET GLOBAL gtid_mode = OFF_PERMISSIVE; \
     SET GLOBAL gtid_mode = ON_PERMISSIVE; SET GLOBAL gtid_mode = ON";
