use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

use chrono::{Local, NaiveDate};
use serde::{Deserialize, Serialize};

use super::company::{Company, Size};
use super::{lake, sqlite};
use crate::cli::failure::{Failure, Result};

/// The seed of everybody's company.
const SEED: u64 = 1896;
/// Of the files: a company built by another version is built anew.
const VERSION: u32 = 1;
const FOLDER: &str = "company";
const FACTS: &str = "company.json";

/// The company's files: `erp.db`, `crm.db`, `shop.db` and `shop/`, in a folder of their own.
#[derive(Debug)]
pub struct Premises {
    pub folder: PathBuf,
    /// The day of the first run, for good: what is due or late stays so.
    pub today: NaiveDate,
    /// By this run.
    pub built: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct Facts {
    version: u32,
    seed: u64,
    today: NaiveDate,
}

impl Premises {
    /// Find the company in `data`, or build it. It is there as a whole or not at all.
    pub fn open_or_build(data: &Path) -> Result<Self> {
        // Absolute: sources are stored so.
        let data = &fs::canonicalize(data).map_err(|e| failed(data, &e))?;
        let folder = data.join(FOLDER);
        if let Some(facts) = found(&folder) {
            return Ok(Self {
                folder,
                today: facts.today,
                built: false,
            });
        }
        let facts = Facts {
            version: VERSION,
            seed: SEED,
            today: Local::now().date_naive(),
        };
        let unfinished = data.join(format!("{FOLDER}.unfinished"));
        for leftover in [&unfinished, &folder] {
            match fs::remove_dir_all(leftover) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(failed(leftover, &e)),
                _ => {}
            }
        }
        let company = Company::new(facts.seed, facts.today, Size::FULL);
        build(&company, &unfinished).map_err(|e| failed(&unfinished, &e))?;
        let text = serde_json::to_string_pretty(&facts).map_err(|e| failed(&folder, &e.into()))?;
        fs::write(unfinished.join(FACTS), text).map_err(|e| failed(&unfinished, &e))?;
        fs::rename(&unfinished, &folder).map_err(|e| failed(&folder, &e))?;
        Ok(Self {
            folder,
            today: facts.today,
            built: true,
        })
    }
}

fn found(folder: &Path) -> Option<Facts> {
    let text = fs::read_to_string(folder.join(FACTS)).ok()?;
    let facts: Facts = serde_json::from_str(&text).ok()?;
    (facts.version == VERSION && facts.seed == SEED).then_some(facts)
}

/// Write all systems, some at the same time.
pub fn build(company: &Company, folder: &Path) -> io::Result<()> {
    let shop = folder.join("shop");
    fs::create_dir_all(&shop)?;
    // Yesterday's and older orders are history.
    let first = company
        .sales
        .orders
        .partition_point(|order| order.at.date() < company.today);
    thread::scope(|scope| {
        let databases = scope.spawn(|| {
            sqlite::write_erp(company, &folder.join("erp.db"))?;
            sqlite::write_crm(company, &folder.join("crm.db"))?;
            sqlite::write_shop(company, first, &folder.join("shop.db"))
        });
        lake::write_history(company, first, &shop)?;
        lake::write_price_list(company, &shop.join("price_list.csv"))?;
        match databases.join() {
            Ok(written) => written.map_err(io::Error::other),
            Err(_) => Err(io::Error::other("writing the databases panicked")),
        }
    })
}

fn failed(path: &Path, e: &io::Error) -> Failure {
    Failure::new(format!(
        "the demo's company cannot be built in {}: {e}",
        path.display()
    ))
    .help("--data DIR chooses another folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_the_company() {
        let folder = tempfile::tempdir().unwrap();
        let today = NaiveDate::from_ymd_opt(2026, 3, 2).unwrap();
        let size = Size {
            customers: 100,
            items: 80,
            days: 40,
            orders_per_day: 10,
        };
        let company = Company::new(3, today, size);
        build(&company, folder.path()).unwrap();

        let count = |database: &str, table: &str| {
            let database = rusqlite::Connection::open(folder.path().join(database)).unwrap();
            let sql = format!("SELECT count(*) FROM {table}");
            let rows: i64 = database.query_row(&sql, [], |row| row.get(0)).unwrap();
            usize::try_from(rows).unwrap()
        };
        assert_eq!(count("erp.db", "item"), 80);
        assert_eq!(count("erp.db", "invoice"), company.sales.invoices.len());
        assert_eq!(count("crm.db", "customer"), 100);
        assert_eq!(count("crm.db", "contact"), company.contacts.len());
        let todays = company
            .sales
            .orders
            .iter()
            .filter(|o| o.at.date() == today)
            .count();
        assert!(todays > 0);
        assert_eq!(count("shop.db", "orders"), todays);
        for month in ["2026-01", "2026-02", "2026-03"] {
            for table in ["orders", "order_lines"] {
                let file = folder
                    .path()
                    .join(format!("shop/{table}/month={month}/{table}.parquet"));
                assert!(file.exists(), "{}", file.display());
            }
        }
        let list = fs::read_to_string(folder.path().join("shop/price_list.csv")).unwrap();
        assert_eq!(
            list.lines().count(),
            1 + company.items.iter().filter(|i| !i.discontinued).count()
        );
    }

    #[test]
    fn built_once() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join(FOLDER);
        fs::create_dir_all(&folder).unwrap();
        let today = NaiveDate::from_ymd_opt(2020, 2, 29).unwrap();
        let facts = Facts {
            version: VERSION,
            seed: SEED,
            today,
        };
        fs::write(folder.join(FACTS), serde_json::to_string(&facts).unwrap()).unwrap();
        let premises = Premises::open_or_build(data.path()).unwrap();
        assert_eq!((premises.today, premises.built), (today, false));
    }
}
