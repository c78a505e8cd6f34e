//! Which server is tested, and where its words differ from MariaDB's, in which tests are written.

use std::path::{Path, PathBuf};
use std::process::Command;

/// MariaDB's programs as they are installed, or MySQL, whose program `BELVEDERE_MYSQLD` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Brand {
    MariaDb,
    MySql(PathBuf),
}

impl Brand {
    pub fn tested() -> Self {
        match std::env::var_os("BELVEDERE_MYSQLD") {
            Some(program) => Self::MySql(program.into()),
            None => Self::MariaDb,
        }
    }

    pub fn is_mysql(&self) -> bool {
        matches!(self, Self::MySql(_))
    }

    /// What makes a folder of data.
    pub fn install(&self, data: &Path) -> Command {
        let mut command = match self {
            Self::MariaDb => {
                let mut command = Command::new("mariadb-install-db");
                command.args(["--no-defaults", "--auth-root-authentication-method=normal"]);
                command.args(["--skip-test-db", "--innodb-log-file-size=8M"]);
                command
            }
            Self::MySql(program) => {
                let mut command = Command::new(program);
                command.args(["--no-defaults", "--initialize-insecure"]);
                command.args(["--innodb-redo-log-capacity=8M", "--auto-generate-certs=OFF"]);
                command
            }
        };
        command.args(self.user());
        command.arg(format!("--datadir={}", data.display()));
        command
    }

    /// What serves them.
    pub fn serve(&self) -> Command {
        let mut command = match self {
            Self::MariaDb => Command::new("mariadbd"),
            Self::MySql(program) => Command::new(program),
        };
        command.args(["--no-defaults", "--bind-address=127.0.0.1"]);
        command.args(self.user());
        command.args([
            "--innodb-buffer-pool-size=32M",
            // Written at each commit, if only to the system's cache: a killed server has lost nothing.
            "--innodb-flush-log-at-trx-commit=2",
            "--performance-schema=OFF",
            "--max-allowed-packet=64M",
        ]);
        if self.is_mysql() {
            command.args([
                "--innodb-redo-log-capacity=8M",
                "--mysqlx=OFF",
                "--auto-generate-certs=OFF",
                "--secure-file-priv=NULL",
                "--sync-binlog=0",
                // Plans in the form that MariaDB's have.
                "--explain-json-format-version=1",
                "--cte-max-recursion-depth=1000000",
            ]);
        }
        command
    }

    /// What lets it tell its changes.
    pub fn logging(&self) -> Vec<String> {
        let mut options = vec![
            "--server-id=7",
            "--log-bin=binlog",
            "--binlog-format=ROW",
            "--binlog-row-image=FULL",
            "--binlog-row-metadata=FULL",
        ];
        if self.is_mysql() {
            options.extend(["--gtid-mode=ON", "--enforce-gtid-consistency=ON"]);
        }
        options.into_iter().map(str::to_string).collect()
    }

    /// Both refuse to run as root, or want to be told. Nobody else may choose.
    fn user(&self) -> Option<&'static str> {
        let id = Command::new("id").arg("-u").output().expect("id");
        (id.stdout == b"0\n").then_some(match self {
            Self::MariaDb => "--user=mysql",
            Self::MySql(_) => "--user=root",
        })
    }

    /// A statement, or several, in its words.
    pub fn words(&self, sql: &str) -> Vec<String> {
        if !self.is_mysql() {
            return vec![sql.to_string()];
        }
        let sql = sequences(sql);
        for what in ["USER", "TABLE"] {
            let Some(rest) = sql.strip_prefix(&format!("CREATE OR REPLACE {what} ")) else {
                continue;
            };
            let name = rest.split(' ').next().unwrap_or_default();
            return vec![
                format!("DROP {what} IF EXISTS {name}"),
                format!("CREATE {what} {rest}"),
            ];
        }
        const WORDS: [(&str, &str); 7] = [
            ("RESET MASTER", "RESET BINARY LOGS AND GTIDS"),
            ("BINLOG MONITOR", "REPLICATION CLIENT"),
            ("utf8mb4_unicode_520_nopad_ci", "utf8mb4_0900_ai_ci"),
            ("utf8mb4_nopad_bin", "utf8mb4_0900_bin"),
            // Types it has not: text that is theirs.
            (" UUID", " CHAR(36)"),
            (" INET4", " VARCHAR(15)"),
            (" INET6", " VARCHAR(39)"),
        ];
        let replaced = |sql: String, (theirs, ours): &(&str, &str)| sql.replace(theirs, ours);
        vec![WORDS.iter().fold(sql, replaced)]
    }
}

/// `seq_1_to_9`, a table of MariaDB's, by a query.
fn sequences(sql: &str) -> String {
    let Some((before, rest)) = sql.split_once("seq_1_to_") else {
        return sql.to_string();
    };
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (last, after) = rest.split_at(digits);
    let numbers = format!(
        "(WITH RECURSIVE s(seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM s WHERE seq < {last}) SELECT seq FROM s)"
    );
    format!("{before}{numbers} AS numbers{}", sequences(after))
}
