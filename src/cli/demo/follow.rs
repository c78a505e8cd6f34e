//! The second half of the tour: somebody types into the ERP, past the engine, and a view has it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::premises::Premises;
use super::tour::first_row;
use crate::cli::failure::{Failure, Result};
use crate::cli::output::{duration, say};
use crate::cli::target::{Local, Target};

/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(60);

const MOST: &str =
    "SELECT sku, site, name, free FROM stock_now ORDER BY free DESC, sku, site LIMIT 1";

/// What was typed, and what the view has of it.
struct Row {
    sku: String,
    site: String,
    free: String,
}

/// A sale is typed into the ERP; then again while the engine lies dead.
pub async fn follow(local: Local, premises: &Premises, data: &Path) -> Result<Local> {
    let found = first_row(local.execute(MOST).await?).await?;
    let [sku, site, name, free] = found.as_slice() else {
        return Err(Failure::new("the company has no stock"));
    };
    let mut row = Row {
        sku: sku.clone(),
        site: site.clone(),
        free: free.clone(),
    };
    say(&format!(
        "Somebody sells three of {name} ({sku}, {site}) and types it into the ERP, past the engine:\n\n    {}\n\n",
        row.sale()
    ))?;
    let seen = row.sell(&local, premises).await?;
    say(&format!(
        "  stock_now, which joins ERP and shop and is kept by change, has {} instead of {free}: {} after the commit.\n\n",
        row.free,
        duration(seen)
    ))?;

    drop(local);
    kill_one(data)?;
    say(
        "The engine serves in a process of its own, and is killed (SIGKILL). Meanwhile somebody sells three more.\n\n",
    )?;
    row.commit(premises, -3)?;
    let started = Instant::now();
    let local = super::engine(data).await?;
    let before = row.free.clone();
    row.until_changed(&local).await?;
    say(&format!(
        "  Started again, it goes on where it was: stock_now has {} instead of {before}, {} after the start.\n\n",
        row.free,
        duration(started.elapsed())
    ))?;
    // The next tour finds the company as this one did.
    row.commit(premises, 6)?;
    Ok(local)
}

impl Row {
    fn sale(&self) -> String {
        let (sku, site) = (&self.sku, &self.site);
        format!("UPDATE stock SET on_hand = on_hand - 3 WHERE sku = '{sku}' AND site = '{site}'")
    }

    fn commit(&self, premises: &Premises, more: i64) -> Result<()> {
        let sql = "UPDATE stock SET on_hand = on_hand + ? WHERE sku = ? AND site = ?";
        let done = rusqlite::Connection::open(premises.folder.join("erp.db")).and_then(|erp| {
            erp.busy_timeout(PATIENCE)?;
            erp.execute(sql, (more, &self.sku, &self.site))
        });
        done.map(|_| ())
            .map_err(|e| Failure::new(format!("nothing can be typed into the ERP: {e}")))
    }

    /// How long after its commit a sale is seen.
    async fn sell(&mut self, local: &Local, premises: &Premises) -> Result<Duration> {
        self.commit(premises, -3)?;
        let committed = Instant::now();
        self.until_changed(local).await?;
        Ok(committed.elapsed())
    }

    async fn until_changed(&mut self, local: &Local) -> Result<()> {
        let (sku, site) = (&self.sku, &self.site);
        let sql = format!("SELECT free FROM stock_now WHERE sku = '{sku}' AND site = '{site}'");
        let begun = Instant::now();
        loop {
            let free = first_row(local.execute(&sql).await?).await?;
            match free.into_iter().next() {
                Some(free) if free != self.free => {
                    self.free = free;
                    return Ok(());
                }
                _ if begun.elapsed() > PATIENCE => {
                    return Err(Failure::new("stock_now does not follow the ERP")
                        .help("system.views and system.freshness say why"));
                }
                _ => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    }
}

/// Serve the company in another process, and kill it once it does.
fn kill_one(data: &Path) -> Result<()> {
    let failed =
        |e: std::io::Error| Failure::new(format!("no engine can be started to be killed: {e}"));
    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command
        .args([
            "serve",
            "--flight",
            "127.0.0.1:0",
            "--postgres",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--data",
        ])
        .arg(data);
    command.stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child: Child = command.spawn().map_err(failed)?;
    let says = child.stdout.take().map(BufReader::new);
    // It says where it serves once it does.
    let line = says.and_then(|mut says| {
        let mut line = String::new();
        says.read_line(&mut line).ok()?;
        Some(line)
    });
    child.kill().and_then(|()| child.wait()).map_err(failed)?;
    match line {
        Some(line) if !line.is_empty() => Ok(()),
        _ => Err(Failure::new(
            "the engine that was to be killed did not start",
        )),
    }
}
