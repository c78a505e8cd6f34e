use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use rusqlite::functions::FunctionFlags;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, NoTls, Statement};
use url::Url;

/// A connection of the client library that the connector uses itself. Answers are the numbers of rows, all read.
pub enum Direct {
    Postgres(Client, Option<Statement>),
    /// One that prepares a statement each time, and one that knows it from the last time.
    MariaDb(Conn, Conn),
    Sqlite(rusqlite::Connection),
}

type Rows = Result<usize, Box<dyn std::error::Error + Send + Sync>>;

impl Direct {
    pub async fn connect(url: &str) -> Self {
        let parsed = Url::parse(url).expect("the URL of a source");
        match parsed.scheme() {
            "postgres" => {
                let (client, connection) = tokio_postgres::connect(url, NoTls)
                    .await
                    .expect("PostgreSQL answers");
                tokio::spawn(connection);
                Self::Postgres(client, None)
            }
            "mysql" => {
                let known =
                    OptsBuilder::from_opts(mysql_async::Opts::from_url(url).expect("a URL"))
                        .prefer_socket(false)
                        .tcp_nodelay(true)
                        // As the connector has it, for the text is the connector's.
                        .init(vec![
                            "SET SESSION sql_mode = 'ANSI_QUOTES'",
                            "SET NAMES utf8mb4 COLLATE utf8mb4_nopad_bin",
                        ]);
                let anew = known.clone().stmt_cache_size(0);
                let connect = async |opts| Conn::new(opts).await.expect("MariaDB answers");
                Self::MariaDb(connect(anew).await, connect(known).await)
            }
            _ => Self::Sqlite(open(url.trim_start_matches("sqlite:")).expect("a SQLite file")),
        }
    }

    /// The text, prepared for this once.
    pub async fn anew(&mut self, sql: &str, key: i64) -> Rows {
        match self {
            Self::Postgres(client, _) => {
                let statement = client.prepare_typed(sql, &[Type::INT8]).await?;
                Ok(client.query(&statement, &[&key]).await?.len())
            }
            Self::MariaDb(conn, _) => mariadb(conn, sql, key).await,
            Self::Sqlite(conn) => sqlite(&mut conn.prepare(sql)?, key),
        }
    }

    /// The text, prepared the last time.
    pub async fn prepared(&mut self, sql: &str, key: i64) -> Rows {
        match self {
            Self::Postgres(client, known) => {
                let statement = match known {
                    Some(statement) => statement,
                    none => none.insert(client.prepare_typed(sql, &[Type::INT8]).await?),
                };
                Ok(client.query(statement, &[&key]).await?.len())
            }
            Self::MariaDb(_, conn) => mariadb(conn, sql, key).await,
            Self::Sqlite(conn) => sqlite(&mut *conn.prepare_cached(sql)?, key),
        }
    }
}

/// With the one function of the connector's that the text calls: a column may hold what its type does not promise.
fn open(file: &str) -> rusqlite::Result<rusqlite::Connection> {
    let connection = rusqlite::Connection::open(file)?;
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    connection.create_scalar_function("must_be_integer", 1, flags, |context| {
        context.get::<Option<i64>>(0).map(|_| 1)
    })?;
    Ok(connection)
}

async fn mariadb(conn: &mut Conn, sql: &str, key: i64) -> Rows {
    let rows: Vec<mysql_async::Row> = conn.exec(sql, (key,)).await?;
    Ok(rows.len())
}

fn sqlite(statement: &mut rusqlite::Statement<'_>, key: i64) -> Rows {
    let mut rows = statement.query([key])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        for column in 0..row.as_ref().column_count() {
            row.get_ref(column)?;
        }
        count += 1;
    }
    Ok(count)
}
