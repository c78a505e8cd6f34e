use std::collections::BTreeSet;

use datafusion::arrow::datatypes::DataType;
use datafusion::scalar::ScalarValue;
use insta::assert_snapshot;

use crate::fixture::{Fixture, table};

#[tokio::test]
async fn explain_shows_what_is_sent_and_what_stays() {
    let t = Fixture::new().await;
    assert_snapshot!(t.sent("SELECT name FROM erp.item WHERE sku = 'a1'").await, @r#"
    Sent to erp (sqlite, about 1 rows)
      SELECT t0."name" FROM "main"."item" AS t0 WHERE t0."sku" = ?1 AND must_be_text(t0."sku")
    "#);
    assert_snapshot!(
        t.sent("SELECT i.name, s.qty FROM erp.item i JOIN erp.stock s ON i.sku = s.sku WHERE s.qty > 3").await,
        @r#"
    Sent to erp (sqlite, about 3 rows)
      SELECT t0."name", t1."qty" FROM "main"."item" AS t0 JOIN "main"."stock" AS t1 ON t0."sku" = t1."sku" WHERE t1."qty" > ?1 AND must_be_text(t0."sku") AND must_be_integer(t1."qty") AND must_be_text(t1."sku")
    "#);
    assert_snapshot!(
        t.sent("SELECT i.name, sum(o.qty) FROM erp.item i JOIN shop.orders o ON i.sku = o.sku GROUP BY i.name").await,
        @r#"
    Sent to erp (sqlite, about 3 rows)
      SELECT t0."sku", t0."name" FROM "main"."item" AS t0
    Sent to shop (sqlite, about 3 rows)
      SELECT t0."sku", t0."qty" FROM "main"."orders" AS t0
    "#);
    assert_snapshot!(
        t.sent("SELECT sku, avg(qty) FROM erp.stock WHERE md5(site) = 'x' AND qty > 0 GROUP BY sku").await, @r#"
    Sent to erp (sqlite, about 4 rows)
      SELECT t0."sku", t0."site", t0."qty" FROM "main"."stock" AS t0 WHERE t0."qty" > ?1

    Stays here, though one source holds its input
      erp: md5(erp.stock.site) = Utf8View("x")
        because: function md5() has no form in the algebra
    "#);
    assert_snapshot!(t.sent("SELECT sum(value) FROM shop.\"Mixed Case\"").await, @r#"
    Sent to shop (sqlite, about 1 rows)
      SELECT t0."value" FROM "main"."Mixed Case" AS t0

    Stays here, though one source holds its input
      shop: Aggregate: groupBy=[[]], aggr=[[sum(shop.Mixed Case.value)]]
        because: a sum of floats depends on the order of its rows
    "#);
    assert_snapshot!(t.ok("EXPLAIN SELECT 1 AS one").await, @r"
    +-----------------------------------+
    | plan                              |
    +-----------------------------------+
    | No source is sent a fragment      |
    |                                   |
    | Runs here                         |
    |   ProjectionExec: expr=[1 as one] |
    |     PlaceholderRowExec            |
    +-----------------------------------+
    ");
    assert_snapshot!(t.err("EXPLAIN DROP SOURCE erp").await, @"parse: expected a query, found DROP (line 1, column 9)");
    t.ok("SET pushdown = off").await;
    assert_snapshot!(t.sent("SELECT name FROM erp.item WHERE sku = 'a1'").await, @r#"
    Sent to erp (sqlite, about 3 rows)
      SELECT t0."sku", t0."name" FROM "main"."item" AS t0
    "#);
    let analyzed = t.ok("EXPLAIN ANALYZE SELECT name FROM erp.item").await;
    assert!(analyzed.contains("3 rows in "), "{analyzed}");
}

#[tokio::test]
async fn show_and_describe() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW v WITH (owner = 'sales') AS SELECT sku, price * 2 AS twice FROM erp.item")
        .await;
    assert_snapshot!(t.plain(&t.ok("SHOW SOURCES").await), @r"
    +-+-+-+-+-+-+
    | name | connector | url | state | tables | owner |
    +-+-+-+-+-+-+
    | erp | sqlite | sqlite:DIR/erp.db | ok | 2 | |
    | shop | sqlite | sqlite:DIR/shop.db | ok | 2 | |
    +-+-+-+-+-+-+
    ");
    assert_snapshot!(t.ok("SHOW SCHEMAS").await, @r"
    +-----------+--------------------+
    | catalog   | schema             |
    +-----------+--------------------+
    | belvedere | information_schema |
    | belvedere | public             |
    | belvedere | system             |
    | erp       | main               |
    | shop      | main               |
    +-----------+--------------------+
    ");
    assert_snapshot!(t.ok("SHOW TABLES").await, @r"
    +-----------+--------+------------+------------+--------------+---------+
    | source    | schema | name       | kind       | row_estimate | comment |
    +-----------+--------+------------+------------+--------------+---------+
    | belvedere | public | v          | VIEW       |              |         |
    | erp       | main   | item       | BASE TABLE | 3            |         |
    | erp       | main   | stock      | BASE TABLE | 4            |         |
    | shop      | main   | Mixed Case | BASE TABLE | 1            |         |
    | shop      | main   | orders     | BASE TABLE | 3            |         |
    +-----------+--------+------------+------------+--------------+---------+
    ");
    assert_snapshot!(t.ok("SHOW TABLES FROM shop LIKE 'o%'").await, @r"
    +--------+--------+--------+------------+--------------+---------+
    | source | schema | name   | kind       | row_estimate | comment |
    +--------+--------+--------+------------+--------------+---------+
    | shop   | main   | orders | BASE TABLE | 3            |         |
    +--------+--------+--------+------------+--------------+---------+
    ");
    assert_snapshot!(t.ok("SHOW VIEWS").await, @r"
    +-----------+--------+------+-------+---------------+---------+
    | source    | schema | name | owner | depends_on    | comment |
    +-----------+--------+------+-------+---------------+---------+
    | belvedere | public | v    | sales | erp.main.item |         |
    +-----------+--------+------+-------+---------------+---------+
    ");
    assert_snapshot!(t.ok("SHOW COLUMNS FROM erp.stock").await, @r"
    +--------+--------+----------+---------+
    | column | type   | nullable | comment |
    +--------+--------+----------+---------+
    | sku    | text   | false    |         |
    | site   | text   | false    |         |
    | qty    | bigint | true     |         |
    +--------+--------+----------+---------+
    ");
    assert_snapshot!(t.ok("SHOW CREATE VIEW v").await, @r"
    +------+---------------------------------------------------------------------------------------------+
    | view | definition                                                                                  |
    +------+---------------------------------------------------------------------------------------------+
    | v    | CREATE VIEW public.v WITH (owner = 'sales') AS SELECT sku, price * 2 AS twice FROM erp.item |
    +------+---------------------------------------------------------------------------------------------+
    ");
    assert_snapshot!(t.plain(&t.ok("SHOW CREATE SOURCE erp").await), @r"
    +-+-+
    | source | definition |
    +-+-+
    | erp | CREATE SOURCE erp FROM 'sqlite:DIR/erp.db' |
    +-+-+
    ");
    assert_snapshot!(t.ok("SHOW ALL").await, @r"
    +-------------------+---------+------------------------------------------------------------------------------------------------------------------+
    | name              | setting | description                                                                                                      |
    +-------------------+---------+------------------------------------------------------------------------------------------------------------------+
    | consistency       | relaxed | relaxed | strict: whether an answer that shows a source as of two moments is an error                            |
    | dynamic_filters   | on      | on | off: whether the keys of a join's one side are sent to the source of the other                              |
    | freshness_notice  | off     | on | off: whether each answer is told how old it is, as a notice                                                 |
    | max_staleness     | none    | how old materialized views may be, e.g. '5s'; '0s' for what there is now, 'none' for what they say themselves    |
    | memory_limit      | 0       | bytes one statement may hold, e.g. '512MB'; '0' for the engine's own limit                                       |
    | pushdown          | on      | on | off: whether more than scans is sent to sources                                                             |
    | read_after        |         | what writes answered with, all of which answers have seen, e.g. 'erp=0a1b/00c4', with commas; '' for none        |
    | search_path       | public  | schemas or sources in which unqualified names are looked up, e.g. erp, public                                    |
    | stale_if_error    | none    | how old materialized views may be while what they read fails, e.g. '1 hour'; 'none' for what they say themselves |
    | statement_timeout | 0       | how long a statement may take, e.g. '30s' or milliseconds; '0' for no limit                                      |
    | timezone          | UTC     | the time zone of now() and of casts to timestamp with time zone                                                  |
    | top_n_first_rows  | auto    | auto | rows of the side that orders a top-n above a join, read before all are; 0 for none                        |
    +-------------------+---------+------------------------------------------------------------------------------------------------------------------+
    ");
    assert_snapshot!(t.ok("DESCRIBE v").await, @r"
    +--------+---------------+----------+---------+
    | column | type          | nullable | comment |
    +--------+---------------+----------+---------+
    | sku    | text          | true     |         |
    | twice  | numeric(31,2) | true     |         |
    +--------+---------------+----------+---------+
    ");
    assert_snapshot!(t.ok("DESCRIBE SELECT 1 AS one, 'x' AS two").await, @r"
    +--------+--------+----------+---------+
    | column | type   | nullable | comment |
    +--------+--------+----------+---------+
    | one    | bigint | false    |         |
    | two    | text   | false    |         |
    +--------+--------+----------+---------+
    ");
    assert_snapshot!(t.err("SHOW CREATE VIEW erp.item").await, @"invalid: erp.item is a table, not a view");
    assert_snapshot!(t.err("DESCRIBE erp.nothing").await, @"unknown_name: table erp.nothing does not exist. SHOW TABLES FROM erp lists what there is");
}

#[tokio::test]
async fn settings() {
    let t = Fixture::empty().await;
    assert_snapshot!(t.err("SET pushdwn = off").await, @"unknown_name: setting pushdwn does not exist. Did you mean pushdown?");
    assert_snapshot!(t.err("SET pushdown = maybe").await, @"invalid: setting pushdown is on or off, not 'maybe'");
    assert_snapshot!(t.err("SET statement_timeout = 'soon'").await, @"invalid: setting statement_timeout is a duration like '500ms', '30s' or '5min', not 'soon'");
    assert_snapshot!(t.err("SET memory_limit = '1 parsec'").await, @"invalid: memory_limit is a size like '512MB' or '2GB', not '1 parsec'");
    assert_snapshot!(t.err("SET timezone = 'Atlantis'").await, @"invalid: there is no time zone 'Atlantis'. Write a name like 'Europe/Berlin' or an offset like '+02:00'");
    assert_snapshot!(t.err("SHOW colour").await, @"unknown_name: setting colour does not exist. SHOW ALL lists them");
    t.ok("SET timezone = 'Europe/Berlin'").await;
    t.ok("SET statement_timeout = '5min'").await;
    assert_snapshot!(t.ok("SELECT name, value FROM system.settings").await, @r"
    +-------------------+---------------+
    | name              | value         |
    +-------------------+---------------+
    | consistency       | relaxed       |
    | dynamic_filters   | on            |
    | freshness_notice  | off           |
    | max_staleness     | none          |
    | memory_limit      | 0             |
    | pushdown          | on            |
    | read_after        |               |
    | search_path       | public        |
    | stale_if_error    | none          |
    | statement_timeout | 300000ms      |
    | timezone          | Europe/Berlin |
    | top_n_first_rows  | auto          |
    +-------------------+---------------+
    ");
    t.ok("RESET ALL").await;
    assert_snapshot!(t.ok("SHOW timezone").await, @r"
    +----------+
    | timezone |
    +----------+
    | UTC      |
    +----------+
    ");
    let other = t.engine.session();
    other.set("pushdown", "off").unwrap();
    assert_snapshot!(t.ok("SHOW pushdown").await, @r"
    +----------+
    | pushdown |
    +----------+
    | on       |
    +----------+
    ");
}

#[tokio::test]
async fn prepared_statements() {
    let t = Fixture::new().await;
    let prepared = t
        .session
        .prepare("SELECT id, qty + $2 AS more FROM shop.orders WHERE sku = $1 ORDER BY id")
        .await
        .unwrap();
    assert!(prepared.is_query);
    let types: Vec<_> = prepared
        .parameters
        .iter()
        .map(|(n, t)| format!("{n} {t:?}"))
        .collect();
    assert_snapshot!(types.join(", "), @"$1 Some(Utf8), $2 Some(Int64)");
    let run = async |values: &[ScalarValue]| {
        let answer = match t.session.execute_prepared(&prepared, values).await {
            Ok(answer) => table(answer).await,
            Err(e) => Err(e),
        };
        answer.unwrap_or_else(|e| t.text(&e))
    };
    let text = |text: &str| ScalarValue::Utf8(Some(text.into()));
    assert_snapshot!(run(&[text("a1"), ScalarValue::Int64(Some(10))]).await, @r"
    +----+------+
    | id | more |
    +----+------+
    | 1  | 12   |
    | 3  | 14   |
    +----+------+
    ");
    // A narrower type fits; a NULL is a NULL.
    assert_snapshot!(run(&[text("b2"), ScalarValue::Int16(Some(1))]).await, @r"
    +----+------+
    | id | more |
    +----+------+
    | 2  | 2    |
    +----+------+
    ");
    assert_snapshot!(run(&[ScalarValue::Utf8(None), ScalarValue::Int64(Some(1))]).await, @r"
    +----+------+
    | id | more |
    +----+------+
    +----+------+
    ");
    assert_snapshot!(run(&[text("a1")]).await, @"invalid: the statement takes 2 parameters, 1 were given");
    assert_snapshot!(run(&[text("a1"), text("ten")]).await, @"invalid: parameter $2 is of type Int64; the Utf8 given does not fit");
    // After a change of the world it is planned anew.
    t.ok("CREATE OR REPLACE SOURCE shop FROM 'sqlite:shop.db'")
        .await;
    assert_snapshot!(run(&[text("a1"), ScalarValue::Int64(Some(0))]).await, @r"
    +----+------+
    | id | more |
    +----+------+
    | 1  | 2    |
    | 3  | 4    |
    +----+------+
    ");

    let definition = t
        .session
        .prepare("CREATE VIEW v AS SELECT 1 AS one")
        .await
        .unwrap();
    assert!(!definition.is_query);
    assert_eq!(definition.schema.field(0).data_type(), &DataType::Utf8);
    assert_snapshot!(t.err("SELECT * FROM v").await, @"unknown_name: table or view v does not exist");
    t.session.execute_prepared(&definition, &[]).await.unwrap();
    assert_snapshot!(t.ok("SELECT * FROM v").await, @r"
    +-----+
    | one |
    +-----+
    | 1   |
    +-----+
    ");
    assert_snapshot!(t.err("SELECT * FROM shop.orders WHERE id = $1").await, @"invalid: the parameter $1 has no value. Prepare the statement, and execute it with a value for each parameter");
}

#[tokio::test]
async fn ties_are_broken_by_the_remaining_columns() {
    let t = Fixture::empty().await;
    let values =
        "(VALUES (1, 'c', 1), (1, 'a', 2), (2, 'b', 3), (1, 'b', 4), (1, 'a', 1)) AS t (a, b, c)";
    assert_snapshot!(t.ok(&format!("SELECT * FROM {values} ORDER BY a LIMIT 3")).await, @r"
    +---+---+---+
    | a | b | c |
    +---+---+---+
    | 1 | a | 1 |
    | 1 | a | 2 |
    | 1 | b | 4 |
    +---+---+---+
    ");
    assert_snapshot!(t.ok(&format!("SELECT c FROM {values} ORDER BY a DESC LIMIT 2 OFFSET 1")).await, @r"
    +---+
    | c |
    +---+
    | 1 |
    | 1 |
    +---+
    ");
    assert_snapshot!(
        t.ok(&format!("SELECT b, c, row_number() OVER (ORDER BY a) AS n FROM {values} ORDER BY n")).await, @r"
    +---+---+---+
    | b | c | n |
    +---+---+---+
    | a | 1 | 1 |
    | a | 2 | 2 |
    | b | 4 | 3 |
    | c | 1 | 4 |
    | b | 3 | 5 |
    +---+---+---+
    ");
    // The same rows whatever the order in which they are stored, pushed down or not.
    let mut answers = BTreeSet::new();
    for order in ["ORDER BY a", "ORDER BY b DESC", "ORDER BY c"] {
        let path = t.path("ties.db");
        let _ = std::fs::remove_file(&path);
        let all = "(SELECT column1 AS a, column2 AS b, column3 AS c FROM
            (VALUES (1, 'c', 1), (1, 'a', 2), (2, 'b', 3), (1, 'b', 4), (1, 'a', 1)))";
        crate::fixture::database(
            &path,
            &format!(
                "CREATE TABLE t (a INTEGER, b TEXT, c INTEGER); INSERT INTO t SELECT * FROM {all} {order}"
            ),
        );
        t.ok("CREATE OR REPLACE SOURCE ties FROM 'sqlite:ties.db'")
            .await;
        for pushdown in ["on", "off"] {
            t.ok(&format!("SET pushdown = {pushdown}")).await;
            answers.insert(t.ok("SELECT * FROM ties.t ORDER BY a LIMIT 3").await);
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn queries_are_logged() {
    let t = Fixture::new().await;
    t.ok("SELECT * FROM erp.item").await;
    t.err("SELECT * FROM nothing").await;
    drop(
        t.session
            .execute("SELECT * FROM shop.orders")
            .await
            .unwrap(),
    );
    assert_snapshot!(
        t.ok("SELECT id, state, rows, sql, error FROM system.queries WHERE duration_ms >= 0 ORDER BY id").await, @r"
    +----+-----------+------+-------------------------------------------------------------------------------------------+--------------------------------------+
    | id | state     | rows | sql                                                                                       | error                                |
    +----+-----------+------+-------------------------------------------------------------------------------------------+--------------------------------------+
    | 0  | finished  | 1    | CREATE SOURCE erp FROM 'sqlite:erp.db'                                                    |                                      |
    | 1  | finished  | 1    | CREATE SOURCE shop FROM 'sqlite:shop.db'                                                  |                                      |
    | 2  | finished  | 3    | SELECT * FROM erp.item                                                                    |                                      |
    | 3  | failed    | 0    | SELECT * FROM nothing                                                                     | table or view nothing does not exist |
    | 4  | cancelled | 0    | SELECT * FROM shop.orders                                                                 |                                      |
    | 5  | running   | 0    | SELECT id, state, rows, sql, error FROM system.queries WHERE duration_ms >= 0 ORDER BY id |                                      |
    +----+-----------+------+-------------------------------------------------------------------------------------------+--------------------------------------+
    ");
}

#[tokio::test]
async fn what_a_source_answers() {
    let t = Fixture::new().await;
    insta::assert_snapshot!(
        "capabilities_of_sqlite",
        t.ok("SHOW CAPABILITIES FOR erp").await
    );
    let error = t.err("SHOW CAPABILITIES FOR crm").await;
    insta::assert_snapshot!(error, @"unknown_name: source crm does not exist. Did you mean erp?");
}

/// All of a statement is of one moment, which is when it began.
#[tokio::test]
async fn now_is_when_the_statement_began() {
    let t = Fixture::new().await;
    let one = "SELECT now() = now() AND current_date <= CAST(now() AS date) AS same";
    assert!(t.ok(one).await.contains("true"));
    let open = "SELECT breaker = 'open' AND retry_at <= now() AS due FROM system.sources";
    assert!(t.ok(open).await.contains("false"));
    let past = "SELECT count(*) AS n FROM erp.item WHERE added < now()";
    assert!(t.ok(past).await.contains("| 2 |"));
    let moment = async || t.ok("SELECT CAST(now() AS text) AS at").await;
    let first = moment().await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    assert_ne!(first, moment().await);
}
