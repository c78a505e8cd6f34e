//! `belvedere demo`: a company that is made up, its systems, and a tour of what one SQL over them answers.
//!
//! The central type is [`Company`](company::Company); out of it flow the files of its systems, which become sources
//! like any others.
//!
//! | file | owns |
//! |---|---|
//! | `words.rs` | names of people, towns, goods |
//! | `rng.rs` | numbers by chance, the same for the same seed |
//! | `company.rs` | [`Company`](company::Company): goods, customers, what is known of them |
//! | `sales.rs` | what they bought and paid |
//! | `sqlite.rs`, `lake.rs` | the company as SQLite databases, Parquet and CSV files |
//! | `premises.rs` | [`Premises`](premises::Premises): the folder with all that, made once |
//! | `*.sql` | the definitions |
//! | `tour.rs` | the questions of the tour |
//! | `follow.rs` | its second half: a view that follows what is typed into the ERP |

mod company;
mod follow;
mod lake;
mod premises;
mod rng;
mod sales;
mod sqlite;
mod tour;
mod words;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use super::args::Demo;
use super::failure::{Failure, Result};
use super::output::{Format, Output, duration, say};
use super::script::cancellable;
use super::serve::{Servers, first_free};
use super::target::{Local, Target};
use crate::Engine;
use crate::engine::{ApplyOptions, SqlFile};
use crate::serve::ServeOptions;
use crate::serve::flight::FlightServer;
use crate::serve::http::HttpServer;
use crate::serve::postgres::PostgresServer;
use premises::Premises;

/// Bytes the engine may hold: the whole demo stays below 300 MB.
const MEMORY_BYTES: usize = 160 << 20;

/// `{today}` in them is the company's today.
const DEFINITIONS: &[(&str, &str)] = &[
    ("sources.sql", include_str!("sources.sql")),
    ("sales.sql", include_str!("sales.sql")),
    ("customer_360.sql", include_str!("customer_360.sql")),
    ("order_book.sql", include_str!("order_book.sql")),
    (
        "available_to_promise.sql",
        include_str!("available_to_promise.sql"),
    ),
    ("margin_by_month.sql", include_str!("margin_by_month.sql")),
    ("stock_now.sql", include_str!("stock_now.sql")),
];

pub async fn run(arguments: Demo) -> Result<()> {
    let output = Output::new(Format::Table, None)?;
    let local = cancellable(async {
        let local = open(&arguments).await?;
        tour::walk(&local.0, &local.1, &output).await?;
        follow::follow(local.0, &local.1, &arguments.data).await
    })
    .await?;
    if arguments.once {
        return say(&format!(
            "Look around yourself: belvedere sql --data {}\n",
            arguments.data.display()
        ));
    }
    let usual = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let engine = || local.engine.clone();
    let options = ServeOptions::default();
    let flight = async |address| FlightServer::bind(engine(), address, options.clone()).await;
    let postgres = async |address| PostgresServer::bind(engine(), address, options.clone()).await;
    let http = async |address| HttpServer::bind(engine(), address, options.clone()).await;
    let servers = Servers {
        flight: first_free(arguments.flight, usual(50_051), flight).await?,
        postgres: first_free(arguments.postgres, usual(5433), postgres).await?,
        http: first_free(arguments.http, usual(8080), http).await?,
    };
    let (url, postgres) = (servers.flight.url(), servers.postgres.url());
    let http = servers.http.url();
    say(&format!(
        "\
It serves until Ctrl-C. Ask it yourself, with Arrow Flight SQL, as if it was a PostgreSQL, or over HTTP:

  belvedere sql --connect {url}
  psql '{postgres}'
  curl '{http}/v1/views/margin_by_month?limit=3'

  pip install adbc-driver-flightsql pyarrow
  from adbc_driver_flightsql import dbapi
  with dbapi.connect('{url}', autocommit=True) as connection, connection.cursor() as cursor:
      cursor.execute('SELECT * FROM margin_by_month')
      print(cursor.fetch_arrow_table())

"
    ))?;
    servers.until_told().await
}

/// The company, found or built, and an engine that knows its systems.
async fn open(arguments: &Demo) -> Result<(Local, Premises)> {
    let started = Instant::now();
    let data = &arguments.data;
    std::fs::create_dir_all(data).map_err(|e| {
        Failure::usage(format!("{} cannot be made: {e}", data.display()))
            .help("--data DIR chooses another folder")
    })?;
    // The engine first: it owns the folder, so that two demos do not build one company.
    let local = engine(data).await?;
    let folder = data.clone();
    let building = tokio::task::spawn_blocking(move || Premises::open_or_build(&folder));
    let premises = building
        .await
        .map_err(|e| Failure::new(format!("the company was not built: {e}")))??;
    let what = "8,000 customers, 7,500 items, 90 days of orders, all made up";
    let found = match premises.built {
        true => format!(
            "Built a company in {} ({what}): {}",
            data.display(),
            duration(started.elapsed())
        ),
        false => format!("The company in {} ({what}) is still there", data.display()),
    };
    say(&format!(
        "{found}\nIts today is {}.\n\n",
        premises.today.format("%A, %-d %B %Y")
    ))?;

    let files = DEFINITIONS.iter().map(|(name, text)| SqlFile {
        name: (*name).to_string(),
        text: text.replace("{today}", &premises.today.to_string()),
        base_dir: premises.folder.clone(),
    });
    local
        .apply(files.collect(), ApplyOptions::default())
        .await?;
    Ok((local, premises))
}

/// The engine that owns the folder.
async fn engine(data: &Path) -> Result<Local> {
    let builder = Engine::builder().data_dir(data);
    let engine = builder.memory_limit(MEMORY_BYTES).open().await?;
    Ok(Local::new(engine, Some(data.to_path_buf())))
}
