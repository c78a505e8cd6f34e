//! An embedder's program: an engine in this process, a source, a question; no server.
//!
//! ```sh
//! cargo run --example embed --no-default-features --features sqlite -- shop.db "SELECT count(*) FROM shop.orders"
//! ```

use std::error::Error;

use belvedere::Engine;
use datafusion::arrow::util::pretty::pretty_format_batches;
use futures::TryStreamExt;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(file), Some(sql)) = (arguments.next(), arguments.next()) else {
        eprintln!("usage: embed FILE.db SQL");
        std::process::exit(2);
    };
    // With .data_dir("…") the definitions would outlive the program.
    let engine = Engine::builder().memory_limit(512 << 20).open().await?;
    let session = engine.session();
    session
        .execute(&format!("CREATE SOURCE shop FROM 'sqlite:{file}'"))
        .await?;
    session.set("statement_timeout", "30s")?;

    // Batches are there as soon as the source gives them; dropping the stream would end its work.
    let mut answer = session.execute(&sql).await?;
    while let Some(batch) = answer.stream.try_next().await? {
        println!("{}", pretty_format_batches(&[batch])?);
    }
    engine.close().await?;
    Ok(())
}
