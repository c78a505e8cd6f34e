//! Clients that pgbench is not: of HTTP, and of Arrow Flight SQL. As with pgbench, each asks again as soon as it is answered.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow_flight::sql::client::FlightSqlServiceClient;
use datafusion::arrow::array::{Int32Array, RecordBatch};
use futures::TryStreamExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

use super::Result;

/// Who asks for one key after another, until the time is over: how many were answered.
async fn together<F>(
    clients: u32,
    seconds: u64,
    asks: impl Fn(u64, Instant) -> F,
) -> Result<(f64, u64)>
where
    F: Future<Output = Result<u64>> + Send + 'static,
{
    let began = Instant::now();
    let ends = began + Duration::from_secs(seconds);
    let asking: Vec<_> = (0..clients)
        .map(|n| tokio::spawn(asks(n.into(), ends)))
        .collect();
    let mut count = 0;
    for client in asking {
        count += client.await??;
    }
    Ok((count as f64 / began.elapsed().as_secs_f64(), count))
}

/// `GET /v1/views/{view}/{key}`, over a connection of each client.
pub async fn http(
    port: u16,
    view: &'static str,
    rows: u64,
    clients: u32,
    seconds: u64,
) -> Result<(f64, u64)> {
    together(clients, seconds, |seed, ends| async move {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        tcp.set_nodelay(true)?;
        let mut answer = Vec::new();
        let mut count = 0;
        while Instant::now() < ends {
            let key = random.u64(1..=rows);
            let request = format!("GET /v1/views/{view}/{key} HTTP/1.1\r\nhost: localhost\r\naccept: application/json\r\n\r\n");
            tcp.write_all(request.as_bytes()).await?;
            answer.clear();
            while !is_whole(&answer)? {
                if tcp.read_buf(&mut answer).await? == 0 {
                    return Err("the server has closed the connection".into());
                }
            }
            count += 1;
        }
        Ok(count)
    })
    .await
}

/// Whether all of a response is there.
fn is_whole(answer: &[u8]) -> Result<bool> {
    let Some(head) = answer.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(false);
    };
    let text = std::str::from_utf8(&answer[..head])?;
    if !text.starts_with("HTTP/1.1 200") {
        return Err(format!("the server says {text}").into());
    }
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    let length = lines.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    let (_, length) = length.ok_or("a response without a length")?;
    Ok(answer.len() >= head + 4 + length.trim().parse::<usize>()?)
}

/// A prepared statement, which is bound, executed and read for each key.
pub async fn flight(
    port: u16,
    table: &'static str,
    rows: u64,
    clients: u32,
    seconds: u64,
) -> Result<(f64, u64)> {
    together(clients, seconds, |seed, ends| async move {
        let mut random = fastrand::Rng::with_seed(seed);
        let channel = Endpoint::new(format!("http://127.0.0.1:{port}"))?
            .connect()
            .await?;
        let mut client = FlightSqlServiceClient::new(channel);
        let sql = format!("SELECT name, price, stock FROM {table} WHERE sku = $1");
        let mut prepared = client.prepare(sql, None).await?;
        let mut count = 0;
        while Instant::now() < ends {
            let key = Int32Array::from(vec![i32::try_from(random.u64(1..=rows))?]);
            let key = RecordBatch::try_from_iter([("$1", Arc::new(key) as _)])?;
            prepared.set_parameters(key)?;
            let info = prepared.execute().await?;
            let ticket = info.endpoint.into_iter().next().and_then(|end| end.ticket);
            let answer = client.do_get(ticket.ok_or("no ticket")?).await?;
            let answer: Vec<RecordBatch> = answer.try_collect().await?;
            if answer.iter().map(RecordBatch::num_rows).sum::<usize>() != 1 {
                return Err("not one row".into());
            }
            count += 1;
        }
        Ok(count)
    })
    .await
}
