use std::sync::Arc;
use std::time::Duration;

use arrow_flight::sql::{CommandStatementIngest, CommandStatementUpdate, ProstMessageExt};
use arrow_flight::{
    Action, CancelFlightInfoRequest, CancelFlightInfoResult, FlightData, FlightDescriptor,
    FlightInfo,
};
use belvedere_memory::{Fault, MemoryTable};
use datafusion::arrow::array::{
    ArrayRef, DictionaryArray, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray,
};
use datafusion::arrow::datatypes::{DataType, Field, Int32Type, Schema};
use futures::{StreamExt, TryStreamExt};
use prost::Message;
use tonic::{Code, Status};

use super::support::{Client, Server, fetch, query, shown, status, table};

#[tokio::test]
async fn a_query_answers_with_the_schema_it_announced() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let rows = query(&mut client, "SELECT id, name FROM mem.t ORDER BY id")
        .await
        .unwrap();
    assert_eq!(shown(&rows), ["1|a", "2|", "3|c"]);
    let join = "SELECT c.name, sum(o.total) AS total FROM shop.orders o JOIN shop.customer c ON \
                o.customer = c.id JOIN mem.t ON t.id = c.id GROUP BY c.name ORDER BY c.name";
    assert_eq!(
        shown(&query(&mut client, join).await.unwrap()),
        ["Ada|10.0", "Bo|4.0"]
    );
    let none = query(&mut client, "SELECT * FROM mem.t WHERE id > 9")
        .await
        .unwrap();
    assert!(none.is_empty());
    let show = query(&mut client, "EXPLAIN SELECT * FROM mem.t")
        .await
        .unwrap();
    assert!(!show.is_empty());
}

#[tokio::test]
async fn a_query_may_be_fetched_twice() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client
        .execute("SELECT count(*) FROM mem.t".into(), None)
        .await
        .unwrap();
    for _ in 0..2 {
        assert_eq!(
            shown(&fetch(&mut client, info.clone()).await.unwrap()),
            ["3"]
        );
    }
}

#[tokio::test]
async fn a_definition_sent_as_a_query_runs_once_when_it_is_fetched() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client
        .execute("CREATE VIEW v AS SELECT 1 AS a".into(), None)
        .await
        .unwrap();
    let early = query(&mut client, "SELECT * FROM v").await.unwrap_err();
    assert_eq!(early.code(), Code::NotFound);
    for _ in 0..2 {
        assert_eq!(
            shown(&fetch(&mut client, info.clone()).await.unwrap()),
            ["CREATE VIEW"]
        );
    }
    assert_eq!(
        shown(&query(&mut client, "SELECT * FROM v").await.unwrap()),
        ["1"]
    );
    let twice = query(&mut client, "CREATE VIEW v AS SELECT 2 AS a")
        .await
        .unwrap_err();
    assert_eq!(twice.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn an_update_runs_a_definition() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let sql = "CREATE VIEW v AS SELECT id FROM mem.t";
    assert_eq!(client.execute_update(sql.into(), None).await.unwrap(), 0);
    assert_eq!(
        client
            .execute_update("SELECT * FROM v".into(), None)
            .await
            .unwrap(),
        3
    );
    let again = client
        .execute_update(sql.into(), None)
        .await
        .map_err(status)
        .unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);
}

#[tokio::test]
async fn prepared_statements_take_parameters() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let sql = "SELECT name FROM mem.t WHERE id = $1 OR name = $2 ORDER BY id";
    let mut statement = client.prepare(sql.into(), None).await.unwrap();
    let parameters = statement.parameter_schema().unwrap();
    let types: Vec<_> = parameters
        .fields()
        .iter()
        .map(|f| f.data_type().clone())
        .collect();
    assert_eq!(types, [DataType::Int64, DataType::Utf8]);
    assert_eq!(statement.dataset_schema().unwrap().field(0).name(), "name");

    statement.set_parameters(bound(&[1], &["c"])).unwrap();
    let info = statement.execute().await.unwrap();
    assert_eq!(shown(&fetch(&mut client, info).await.unwrap()), ["a", "c"]);

    // A row of parameters is an execution.
    statement
        .set_parameters(bound(&[3, 9, 1], &["", "", ""]))
        .unwrap();
    let info = statement.execute().await.unwrap();
    assert_eq!(shown(&fetch(&mut client, info).await.unwrap()), ["c", "a"]);
    assert_eq!(statement.execute_update().await.unwrap(), 2);

    statement.set_parameters(bound(&[], &[])).unwrap();
    let info = statement.execute().await.unwrap();
    assert!(fetch(&mut client, info).await.unwrap().is_empty());

    let one = RecordBatch::try_from_iter([("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]);
    statement.set_parameters(one.unwrap()).unwrap();
    let wrong = statement.execute().await.map_err(status).unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert_eq!(
        wrong.message(),
        "the statement takes 2 parameters, 1 were given"
    );

    let mut copy = statement.clone();
    statement.close().await.unwrap();
    assert_eq!(
        copy.execute().await.map_err(status).unwrap_err().code(),
        Code::NotFound
    );
}

fn bound(ids: &[i64], names: &[&str]) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
    let names: ArrayRef = Arc::new(StringArray::from(names.to_vec()));
    RecordBatch::try_from_iter([("0", ids), ("1", names)]).unwrap()
}

#[tokio::test]
async fn the_answers_type_may_hang_on_a_parameter() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let mut statement = client
        .prepare("SELECT $1 AS a, $2 AS b".into(), None)
        .await
        .unwrap();
    statement.set_parameters(bound(&[7], &["x"])).unwrap();
    let info = statement.execute().await.unwrap();
    let schema = info.clone().try_decode_schema().unwrap();
    assert_eq!(schema.field(0).data_type(), &DataType::Int64);
    assert_eq!(shown(&fetch(&mut client, info).await.unwrap()), ["7|x"]);
}

#[tokio::test]
async fn a_prepared_definition_runs_at_each_execution() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let sql = "CREATE OR REPLACE VIEW v AS SELECT 1 AS a";
    let mut statement = client.prepare(sql.into(), None).await.unwrap();
    assert!(statement.dataset_schema().unwrap().fields().is_empty());
    assert!(query(&mut client, "SELECT * FROM v").await.is_err());
    let info = statement.execute().await.unwrap();
    assert!(query(&mut client, "SELECT * FROM v").await.is_err());
    fetch(&mut client, info).await.unwrap();
    assert_eq!(
        shown(&query(&mut client, "SELECT * FROM v").await.unwrap()),
        ["1"]
    );
    assert_eq!(statement.execute_update().await.unwrap(), 0);
}

/// A source that gives one batch and then nothing, and the answer's first batch.
async fn endless(
    server: &Server,
    client: &mut Client,
) -> (FlightInfo, arrow_flight::decode::FlightRecordBatchStream) {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
    let batch = RecordBatch::try_from_iter([("id", id)]).unwrap();
    server
        .memory
        .put("endless", MemoryTable::new(batch.schema(), vec![batch; 3]));
    server.define("REFRESH SOURCE mem").await;
    server.memory.inject(Fault::HangAfter(1));
    let info = client
        .execute("SELECT id FROM mem.endless".into(), None)
        .await
        .unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut stream = client.do_get(ticket).await.unwrap();
    assert!(stream.try_next().await.unwrap().unwrap().num_rows() > 0);
    assert!(server.memory.open_streams() > 0);
    (info, stream)
}

#[tokio::test]
async fn a_dropped_stream_ends_the_work_at_the_source() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let (_, stream) = endless(&server, &mut client).await;
    drop(stream);
    let ended = server.memory.until_open_streams(0);
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .unwrap();
}

#[tokio::test]
async fn cancelling_ends_the_work_at_the_source() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let (info, mut stream) = endless(&server, &mut client).await;
    let request = CancelFlightInfoRequest::new(info.clone());
    let action = Action::new("CancelFlightInfo", request.encode_to_vec());
    let mut reply = client.do_action(action.clone()).await.unwrap();
    let body = reply.message().await.unwrap().unwrap().body;
    assert_eq!(CancelFlightInfoResult::decode(&*body).unwrap().status, 1);
    let end = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(e)) => break status(e),
            None => panic!("the stream ended as if it were complete"),
        }
    };
    assert_eq!(end.code(), Code::Cancelled);
    let ended = server.memory.until_open_streams(0);
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .unwrap();
    let again = client.do_action(action).await.map_err(status).unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
}

#[tokio::test]
async fn a_source_that_breaks_in_mid_stream_is_an_error() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let fault = Fault::FailAt {
        batch: 0,
        code: belvedere_connector::Code::Unreachable,
    };
    server.memory.inject(fault);
    let e = query(&mut client, "SELECT * FROM mem.t").await.unwrap_err();
    assert_eq!(e.code(), Code::Unavailable);
    assert!(e.message().contains("source mem"), "{}", e.message());
    server.memory.inject(Fault::None);
    assert_eq!(
        query(&mut client, "SELECT * FROM mem.t")
            .await
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn messages_fit_a_client_that_takes_four_megabytes() {
    let server = Server::start().await;
    let text: ArrayRef = Arc::new(StringArray::from_iter_values(
        (0..20_000).map(|i| format!("{i:01000}")),
    ));
    server.memory.put("wide", table(vec![("text", text)]));
    let huge: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(6_000_000), "y".into()]));
    server.memory.put("huge", table(vec![("text", huge)]));
    server.define("REFRESH SOURCE mem").await;
    let mut client = server.client().await;
    let wide = query(&mut client, "SELECT text FROM mem.wide")
        .await
        .unwrap();
    assert_eq!(
        wide.iter().map(RecordBatch::num_rows).sum::<usize>(),
        20_000
    );
    assert!(wide.len() > 6);
    let mut large = server.large_client().await;
    let huge = query(&mut large, "SELECT text FROM mem.huge")
        .await
        .unwrap();
    assert_eq!(
        huge.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(),
        [1, 1]
    );
}

#[tokio::test]
async fn types_arrive_in_the_form_clients_understand() {
    let server = Server::start().await;
    let dictionary: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    let view = StringViewArray::from(vec!["one that is longer than twelve bytes", "b", "c"]);
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None]),
        None,
        Some(vec![]),
    ]);
    server.memory.put(
        "kinds",
        table(vec![
            ("dictionary", Arc::new(dictionary) as ArrayRef),
            ("view", Arc::new(view)),
            ("list", Arc::new(list)),
        ]),
    );
    server.define("REFRESH SOURCE mem").await;
    let mut client = server.client().await;
    let rows = query(&mut client, "SELECT * FROM mem.kinds").await.unwrap();
    let types: Vec<_> = rows[0]
        .schema()
        .fields()
        .iter()
        .map(|f| f.data_type().clone())
        .collect();
    let item = Field::new("item", DataType::Int32, true);
    assert_eq!(
        types,
        [
            DataType::Utf8,
            DataType::Utf8,
            DataType::List(Arc::new(item))
        ]
    );
    assert_eq!(
        shown(&rows)[0],
        "a|one that is longer than twelve bytes|[1, ]"
    );
}

#[tokio::test]
async fn errors_have_the_code_a_client_can_act_on() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for (sql, code, part) in [
        ("SELEC 1", Code::InvalidArgument, "SELEC"),
        ("SELECT * FROM mem.nothing", Code::NotFound, "nothing"),
        (
            "SELECT nothing FROM mem.t",
            Code::InvalidArgument,
            "nothing",
        ),
        (
            "SELECT 1 / 0 FROM mem.t",
            Code::InvalidArgument,
            "division by zero",
        ),
        (
            "SELECT CAST(name AS INT) FROM mem.t",
            Code::InvalidArgument,
            "cast",
        ),
        ("DROP VIEW nothing", Code::NotFound, "nothing"),
        (
            "CREATE SOURCE mem FROM 'memory:mem'",
            Code::AlreadyExists,
            "mem",
        ),
        (
            "CREATE SOURCE x FROM 'sqlite:here.db'",
            Code::InvalidArgument,
            "relative",
        ),
        ("CREATE TABLE t (a INT)", Code::Unimplemented, ""),
    ] {
        let e = query(&mut client, sql).await.unwrap_err();
        assert_eq!(e.code(), code, "{sql}: {}", e.message());
        assert!(e.message().contains(part), "{sql}: {}", e.message());
    }
    let e = query(&mut client, "SELECT\n  (1").await.unwrap_err();
    assert!(e.metadata().get("belvedere-position").is_some());
    assert_eq!(e.metadata().get("belvedere-sqlstate").unwrap(), "42601");
}

#[tokio::test]
async fn a_statement_over_its_time_limit_ends() {
    let server = Server::start().await;
    server.memory.inject(Fault::HangAfter(0));
    let mut client = server.client().await;
    client.set_header("belvedere-statement_timeout", "200ms");
    let e = query(&mut client, "SELECT * FROM mem.t").await.unwrap_err();
    assert_eq!(e.code(), Code::DeadlineExceeded);
    let ended = server.memory.until_open_streams(0);
    tokio::time::timeout(Duration::from_secs(10), ended)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_there_is_not_is_refused() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let begin = client
        .begin_transaction()
        .await
        .map_err(status)
        .unwrap_err();
    assert_eq!(begin.code(), Code::Unimplemented);
    let id = Some(b"1".to_vec().into());
    let inside = client
        .execute("SELECT 1".into(), id)
        .await
        .map_err(status)
        .unwrap_err();
    assert_eq!(inside.code(), Code::Unimplemented);

    let ingest = CommandStatementIngest {
        table: "t".into(),
        ..Default::default()
    };
    let batch = bound(&[1], &["x"]);
    let rows = futures::stream::iter([Ok(batch)]);
    let e = client
        .execute_ingest(ingest, rows)
        .await
        .map_err(status)
        .unwrap_err();
    assert_eq!(e.code(), Code::Unimplemented);
    assert!(
        e.message().contains("cannot be ingested"),
        "{}",
        e.message()
    );
}

#[tokio::test]
async fn get_schema_and_poll_answer() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let command = arrow_flight::sql::CommandStatementQuery {
        query: "SELECT id FROM mem.t".into(),
        transaction_id: None,
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let schema = client
        .inner_mut()
        .get_schema(descriptor.clone())
        .await
        .unwrap()
        .into_inner();
    let schema = Schema::try_from(&schema).unwrap();
    assert_eq!(schema.field(0).name(), "id");
    let poll = client
        .inner_mut()
        .poll_flight_info(descriptor)
        .await
        .unwrap()
        .into_inner();
    assert!(poll.flight_descriptor.is_none());
    assert_eq!(
        fetch(&mut client, poll.info.unwrap()).await.unwrap()[0].num_rows(),
        3
    );
}

#[tokio::test]
async fn a_ticket_from_elsewhere_is_an_error() {
    let server = Server::start().await;
    let mut client = server.client().await;
    for ticket in [&b"nonsense"[..], b""] {
        let ticket = arrow_flight::Ticket::new(ticket.to_vec());
        let e: Status = client
            .do_get(ticket)
            .await
            .map(|_| ())
            .map_err(status)
            .unwrap_err();
        assert_ne!(e.code(), Code::Ok);
    }
}

#[tokio::test]
async fn a_copy_writes_once_when_it_is_fetched() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.csv");
    let sql = format!(
        "COPY (SELECT id FROM mem.t ORDER BY id) TO '{}'",
        path.display()
    );
    let info = client.execute(sql.clone(), None).await.unwrap();
    assert!(!path.exists());
    for _ in 0..2 {
        let rows = fetch(&mut client, info.clone()).await.unwrap();
        assert_eq!(shown(&rows), ["3|1|9"]);
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "id\n1\n2\n3\n");
    let again = query(&mut client, &sql).await.unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists);

    // As an update, it says how many rows it has written; prepared, that it gives rows.
    let replaced = format!("{sql} (OVERWRITE)");
    let update = client.execute_update(replaced.clone(), None).await;
    assert_eq!(update.unwrap(), 3);
    let mut statement = client.prepare(replaced, None).await.unwrap();
    assert_eq!(statement.dataset_schema().unwrap().fields().len(), 3);
    std::fs::remove_file(&path).unwrap();
    let info = statement.execute().await.unwrap();
    assert!(!path.exists());
    fetch(&mut client, info).await.unwrap();
    assert!(path.exists());

    let relative = query(&mut client, "COPY mem.t TO 'x.csv'")
        .await
        .unwrap_err();
    assert_eq!(relative.code(), Code::InvalidArgument);
    assert!(
        relative.message().contains("is relative"),
        "{}",
        relative.message()
    );
}

#[tokio::test]
async fn a_copy_ends_with_the_client_that_waits_for_it() {
    let server = Server::start().await;
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(0..10_000));
    let batch = RecordBatch::try_from_iter([("id", id)]).unwrap();
    let endless = MemoryTable::new(batch.schema(), vec![batch; 3]);
    server.memory.put("endless", endless);
    server.define("REFRESH SOURCE mem").await;
    server.memory.inject(Fault::HangAfter(1));
    let dir = tempfile::tempdir().unwrap();
    let mut client = server.client().await;
    let sql = format!(
        "COPY mem.endless TO '{}'",
        dir.path().join("x.csv").display()
    );
    let info = client.execute(sql, None).await.unwrap();
    let ticket = info.endpoint[0].ticket.clone().unwrap();
    let mut other = server.client().await;
    let waiting = tokio::spawn(async move { other.do_get(ticket).await.map(|_| ()) });
    let files = || std::fs::read_dir(dir.path()).unwrap().count();
    let until = async |wanted: usize| {
        while files() != wanted {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let patience = Duration::from_secs(60);
    tokio::time::timeout(patience, until(1)).await.unwrap();
    waiting.abort();
    tokio::time::timeout(patience, until(0)).await.unwrap();
    let ended = server.memory.until_open_streams(0);
    tokio::time::timeout(patience, ended).await.unwrap();
    // It is over, and not begun again.
    let again = fetch(&mut client, info).await.unwrap_err();
    assert_eq!(again.code(), Code::Cancelled, "{again}");
}

#[tokio::test]
async fn an_update_counts_what_it_has_written() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let alter = "ALTER SOURCE shop SET (writable = true)";
    client.execute_update(alter.into(), None).await.unwrap();
    let insert = "INSERT INTO shop.customer (id, name) VALUES (9001, 'a'), (9002, 'b')";
    assert_eq!(client.execute_update(insert.into(), None).await.unwrap(), 2);
    let delete = "DELETE FROM shop.customer WHERE id > 9000";
    let mut delete = client.prepare(delete.into(), None).await.unwrap();
    assert_eq!(delete.execute_update().await.unwrap(), 2);
    // Among the headers of the answer, which that client does not show.
    let command = CommandStatementUpdate {
        query: insert.into(),
        transaction_id: None,
    };
    let data = FlightData {
        flight_descriptor: Some(FlightDescriptor::new_cmd(command.as_any().encode_to_vec())),
        ..FlightData::default()
    };
    let answer = client
        .inner_mut()
        .do_put(futures::stream::iter([data]))
        .await
        .unwrap();
    let token = answer.metadata().get("belvedere-last-write").unwrap();
    assert_eq!(token.to_str().unwrap(), "shop=now");
}

#[tokio::test]
async fn rows_of_values_are_one_write() {
    let server = Server::start().await;
    server
        .define("ALTER SOURCE shop SET (writable = true)")
        .await;
    let mut client = server.client().await;
    let count = "SELECT count(*) FROM shop.customer WHERE id > 9000";
    let insert = "INSERT INTO shop.customer (id, name) VALUES ($1, $2)";
    let mut insert = client.prepare(insert.into(), None).await.unwrap();
    let ids = [9001, 9002, 9001, 9003];
    insert
        .set_parameters(bound(&ids, &["a", "b", "c", "d"]))
        .unwrap();
    assert!(insert.execute_update().await.is_err());
    assert_eq!(shown(&query(&mut client, count).await.unwrap()), ["0"]);
    insert
        .set_parameters(bound(&[9001, 9002], &["a", "b"]))
        .unwrap();
    assert_eq!(insert.execute_update().await.unwrap(), 2);
    assert_eq!(shown(&query(&mut client, count).await.unwrap()), ["2"]);
    // Of other statements each row is a write of its own, and it is said which of them are done.
    let update = "UPDATE shop.customer SET id = $1 WHERE name = $2";
    let mut update = client.prepare(update.into(), None).await.unwrap();
    update
        .set_parameters(bound(&[9003, 9003], &["a", "b"]))
        .unwrap();
    let failed = update.execute_update().await.map_err(status).unwrap_err();
    assert!(
        failed.message().ends_with(
            "(row 2 of 2 of the parameters: those before it were executed, and stay so)"
        ),
        "{failed}"
    );
    let ids = "SELECT id FROM shop.customer WHERE id > 9000 ORDER BY id";
    assert_eq!(
        shown(&query(&mut client, ids).await.unwrap()),
        ["9002", "9003"]
    );
}
