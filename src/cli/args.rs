use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::output::Format;
use crate::access::audit::{Head, Level};
use crate::engine::bytes;

/// One SQL over the systems a company runs on: databases and files become catalogs of tables, and a query joins them
/// where they live.
#[derive(Debug, Parser)]
#[command(
    name = "belvedere",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = "\
Start here:
  belvedere demo                             a small company, its systems, and a guided tour
  belvedere sql                              a shell; \\? lists its commands
  belvedere sql -c \"CREATE SOURCE shop FROM 'sqlite:shop.db'\" \\
                -c 'SELECT count(*) FROM shop.orders'

Keep definitions, and share them:
  belvedere sql   --data ./data              definitions are kept in ./data
  belvedere serve --data ./data              clients connect: of Flight SQL, of PostgreSQL, of HTTP
  belvedere sql   --connect grpc://127.0.0.1:50051

Exit codes:
  0    done
  1    failed
  2    the command line is wrong
  75   a source or server cannot be reached, or did not answer in time: trying again may help
  130  cancelled by Ctrl-C"
)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Demo(Demo),
    Serve(Serve),
    Sql(Sql),
    Apply(Apply),
    Check(Check),
    Audit(Audit),
}

/// Build a small company with its systems, show what one SQL over them answers, and serve it.
///
/// The company sells workshop supplies. Its ERP and CRM are SQLite databases, its shop's orders are Parquet files and,
/// today's, one more SQLite database. All is made up, the same for everybody, and stays for the next start.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  belvedere demo                    the tour, then a server on 127.0.0.1 until Ctrl-C
  belvedere demo --once             the tour alone
  belvedere sql --data ./belvedere-demo     look around yourself (while the demo does not run)")]
pub struct Demo {
    /// End after the tour instead of serving.
    #[arg(long)]
    pub once: bool,
    /// Where the company and its definitions are kept.
    #[arg(long, value_name = "DIR", default_value = "./belvedere-demo")]
    pub data: PathBuf,
    /// Where to serve Arrow Flight SQL. By default 127.0.0.1:50051, or the next free port.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub flight: Option<SocketAddr>,
    /// Where to serve PostgreSQL's protocol. By default 127.0.0.1:5433, or the next free port.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub postgres: Option<SocketAddr>,
    /// Where to serve HTTP. By default 127.0.0.1:8080, or the next free port.
    #[arg(long, value_name = "ADDR", value_parser = address)]
    pub http: Option<SocketAddr>,
}

/// Serve the definitions of a data directory to clients, until Ctrl-C.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  belvedere serve --data ./data
  belvedere serve --data ./data --flight 127.0.0.1:6000 --postgres 127.0.0.1:6001 \\
                  --http 127.0.0.1:6002
  belvedere serve --data ./data --kept-memory-limit 16GB
  belvedere serve --data ./data --tls-cert server.pem --tls-key server.key
  belvedere serve --data ./data --flight 0.0.0.0:50051 --postgres 0.0.0.0:5433 --http 0.0.0.0:8080 \\
                  --insecure

While no users are defined, every client is the administrator. Therefore an address that other machines reach \
is refused, unless --insecure says that the network itself keeps others out.

Connect:
  belvedere sql --connect grpc://127.0.0.1:50051
  psql postgresql://127.0.0.1:5433/belvedere
  curl http://127.0.0.1:8080/openapi.json
  Python:  adbc_driver_flightsql.dbapi.connect('grpc://127.0.0.1:50051', autocommit=True)")]
pub struct Serve {
    /// Where definitions are kept; made if it does not exist.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Where to serve Arrow Flight SQL.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051", value_parser = address)]
    pub flight: SocketAddr,
    /// Where to serve PostgreSQL's protocol, for BI tools, psql and other clients of PostgreSQL.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5433", value_parser = address)]
    pub postgres: SocketAddr,
    /// Where to serve HTTP: rows by key, SQL, figures for monitors.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub http: SocketAddr,
    /// The certificate (with its chain), PEM.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's key, PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// Serve other machines although everybody is the administrator.
    #[arg(long)]
    pub insecure: bool,
    /// What all views that are kept by change may have in memory; 0 for no limit. Half of the machine's is a good value.
    #[arg(long, value_name = "SIZE", default_value = "4GB", value_parser = size)]
    pub kept_memory_limit: usize,
    /// What answers may take that are kept for who asks the same within `max_staleness`; 0 for none.
    #[arg(long, value_name = "SIZE", default_value = "64MB", value_parser = size)]
    pub result_cache: usize,
    /// What the audit in the data directory records: none, logins, definitions (and what was refused), writes, all. Each has
    /// what is before it, too.
    #[arg(long, value_name = "LEVEL", default_value = "writes", value_parser = level)]
    pub audit: Level,
    /// Record the values of statements' parameters, too.
    #[arg(long)]
    pub audit_parameters: bool,
    /// What records may take; then the oldest are removed.
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = size)]
    pub audit_limit: usize,
}

/// Ask: a shell, or statements from the command line and from files.
///
/// Without -c, -f and with a terminal this is a shell. Otherwise statements are read from -c, from -f, or from standard
/// input, and the first one that fails ends it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  belvedere sql --data ./data
  belvedere sql -c \"CREATE SOURCE lake FROM './sales/'\" \\
                -c 'SELECT * FROM lake.orders LIMIT 5'
  belvedere sql --data ./data -f report.sql --format csv > report.csv
  belvedere sql --data ./data --format parquet -o item.parquet -c 'SELECT * FROM erp.item'
  belvedere sql --connect grpc+tls://ana@db.example.com:50051
  echo 'SELECT 1' | belvedere sql -f -

Without --data and --connect, definitions are forgotten at the end.")]
pub struct Sql {
    #[command(flatten)]
    pub place: Where,
    /// Statements to execute, ';' between them. May be given several times.
    #[arg(short = 'c', long = "command", value_name = "SQL")]
    pub commands: Vec<String>,
    /// Files of statements, executed after those of -c; '-' is standard input. May be given several times.
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// The form of answers.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Write answers to this file instead of standard output.
    #[arg(short = 'o', long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Make what runs equal to files of definitions, all or nothing, and print the difference.
///
/// All *.sql files below the folder are read: CREATE SOURCE, VIEW and SCHEMA, ALTER SOURCE … OWNS and COMMENT ON, in any
/// order. What no file defines is listed, and dropped only with --prune. Relative paths start at the file's folder.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  belvedere check ./definitions --strict
  belvedere apply ./definitions --data ./data
  belvedere apply ./definitions --data ./data --prune
  belvedere apply ./definitions --connect grpc://127.0.0.1:50051")]
pub struct Apply {
    /// The folder with the files, or one file.
    #[arg(value_name = "DIR")]
    pub files: PathBuf,
    /// Also drop what no file defines.
    #[arg(long)]
    pub prune: bool,
    #[command(flatten)]
    pub place: Where,
}

/// Validate files of definitions against the live sources, and change nothing.
///
/// With --data or --connect it also prints what apply would change.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  belvedere check ./definitions
  belvedere check ./definitions --strict       every definition says who answers for it
  belvedere check ./definitions --data ./data")]
pub struct Check {
    /// The folder with the files, or one file.
    #[arg(value_name = "DIR")]
    pub files: PathBuf,
    /// Fail if a definition has no owner, contact, event, impact or runbook, and list those.
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub place: Where,
}

/// Look after the audit of a data directory, which a server may be writing meanwhile.
#[derive(Debug, Args)]
pub struct Audit {
    #[command(subcommand)]
    pub command: AuditCommand,
}

#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    Verify(Verify),
}

/// Check that every record is as it was written, and that none is missing.
///
/// Each record has the SHA-256 of the one before it. A record that was changed, removed or put in is found by that; an end that
/// was cut off is found by the heads in the server's log. It fails (1) if anything is found.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  belvedere audit verify --data ./data
  belvedere audit verify --data ./data --head 1024:5f0c…     as the server's log has it")]
pub struct Verify {
    /// The data directory.
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// A head from the log: the record of this number has this hash. May be given several times.
    #[arg(long = "head", value_name = "SEQ:HASH", value_parser = head)]
    pub heads: Vec<Head>,
}

/// Which engine.
#[derive(Debug, Args)]
pub struct Where {
    /// The directory where definitions are kept; made if it does not exist.
    #[arg(long, value_name = "DIR", conflicts_with = "connect")]
    pub data: Option<PathBuf>,
    /// A running server: grpc[+tls]://[user@]host[:port]. The password is BELVEDERE_PASSWORD, or asked for.
    #[arg(long, value_name = "URL")]
    pub connect: Option<String>,
    /// With --connect grpc+tls://…: the certificate (PEM) of the authority that signed the server's.
    #[arg(long, value_name = "FILE", requires = "connect")]
    pub tls_ca: Option<PathBuf>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let text = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_string(),
    };
    text.parse()
        .map_err(|_| "write an IP address and a port: 127.0.0.1:50051 or [::1]:50051".to_string())
}

fn level(text: &str) -> Result<Level, String> {
    text.parse()
}

fn head(text: &str) -> Result<Head, String> {
    text.parse()
}

fn size(text: &str) -> Result<usize, String> {
    bytes("it", text).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_commands_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn addresses_have_a_port() {
        assert_eq!(address("localhost:1").unwrap().to_string(), "127.0.0.1:1");
        assert!(address("127.0.0.1").is_err());
        assert!(address("[::1]:5").is_ok());
    }
}
