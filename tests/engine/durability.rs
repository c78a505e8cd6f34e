use belvedere::Engine;
use insta::assert_snapshot;

use crate::fixture::{Fixture, shown};

#[tokio::test]
async fn definitions_outlive_the_engine() {
    let t = Fixture::empty().await;
    let questions = [
        "SELECT name, url, owner, comment FROM system.sources",
        "SELECT schema, name, sql, owner, comment FROM system.views ORDER BY schema, name",
        "SELECT * FROM system.ownership",
        "SELECT name, row_estimate, comment FROM system.tables WHERE source = 'erp' ORDER BY name",
        "SELECT schema_name FROM information_schema.schemata WHERE catalog_name = 'belvedere' ORDER BY 1",
        "SELECT * FROM sales.v ORDER BY 1",
        "SELECT * FROM system.lineage ORDER BY view, view_column, \"table\", \"column\"",
    ];
    let engine = t.open().await.unwrap();
    let session = engine.session();
    for sql in [
        "CREATE SOURCE erp FROM 'sqlite:erp.db' WITH (owner = 'purchasing')",
        "CREATE SCHEMA sales",
        "SET search_path = sales, erp",
        "CREATE VIEW v (key, title) WITH (owner = 'sales') AS SELECT sku, name FROM item",
        "CREATE VIEW public.w AS SELECT key FROM v",
        "COMMENT ON VIEW v IS 'it''s one'",
        "COMMENT ON TABLE erp.stock IS 'by site'",
        "ALTER SOURCE erp OWNS item(name)",
    ] {
        shown(&session, sql)
            .await
            .unwrap_or_else(|e| panic!("{sql}: {e}"));
    }
    let mut before = Vec::new();
    for sql in questions {
        before.push(shown(&session, sql).await.unwrap());
    }
    assert_snapshot!(t.plain(&before.join("\n")), @r"
    +-+-+-+-+
    | name | url | owner | comment |
    +-+-+-+-+
    | erp | sqlite:DIR/erp.db | purchasing | |
    +-+-+-+-+
    +-+-+-+-+-+
    | schema | name | sql | owner | comment |
    +-+-+-+-+-+
    | public | w | SELECT key FROM v | | |
    | sales | v | SELECT sku, name FROM item | sales | it's one |
    +-+-+-+-+-+
    +-+-+-+-+-+-+
    | source | schema | table | column | owner | contact |
    +-+-+-+-+-+-+
    | erp | main | item | name | purchasing | |
    +-+-+-+-+-+-+
    +-+-+-+
    | name | row_estimate | comment |
    +-+-+-+
    | item | 3 | |
    | stock | 4 | by site |
    +-+-+-+
    +-+
    | schema_name |
    +-+
    | information_schema |
    | public |
    | sales |
    | system |
    +-+
    +-+-+
    | key | title |
    +-+-+
    | a1 | Apple |
    | b2 | Bread |
    | c3 | Cheese |
    +-+-+
    +-+-+-+-+-+-+-+-+-+
    | view_schema | view | view_column | source | schema | table | column | kind | direct |
    +-+-+-+-+-+-+-+-+-+
    | sales | v | key | erp | main | item | sku | value | true |
    | sales | v | title | erp | main | item | name | value | true |
    | public | w | key | erp | main | item | sku | value | false |
    | public | w | key | belvedere | sales | v | key | value | true |
    +-+-+-+-+-+-+-+-+-+
    ");
    drop(session);
    engine.close().await.unwrap();

    let engine = t.open().await.unwrap();
    for (sql, before) in questions.iter().zip(before) {
        assert_eq!(
            shown(&engine.session(), sql).await.unwrap(),
            before,
            "{sql}"
        );
    }
}

#[tokio::test]
async fn one_engine_owns_a_data_directory() {
    let t = Fixture::empty().await;
    let open = || Engine::builder().data_dir(t.path("data")).open();
    let first = open().await.unwrap();
    let second = open().await.unwrap_err();
    assert_snapshot!(t.text(&second), @"store: the data directory DIR/data is in use by another process. Connect to the process that has it instead: belvedere sql -connect grpc://127.0.0.1:50051");
    // A session keeps the directory, too.
    let session = first.session();
    first.close().await.unwrap();
    assert!(open().await.is_err());
    drop(session);
    open().await.unwrap();
}

#[tokio::test]
async fn a_data_directory_that_is_none() {
    let t = Fixture::empty().await;
    std::fs::write(t.path("file"), "x").unwrap();
    let error = Engine::builder()
        .data_dir(t.path("file"))
        .open()
        .await
        .unwrap_err();
    assert_snapshot!(t.text(&error), @"store: the catalog cannot be created: I/O error: File exists (os error 17)");
    std::fs::create_dir(t.path("junk")).unwrap();
    std::fs::write(t.path("junk/catalog.redb"), "no database at all").unwrap();
    let error = Engine::builder()
        .data_dir(t.path("junk"))
        .open()
        .await
        .unwrap_err();
    assert_snapshot!(t.text(&error), @"store: the catalog cannot be opened: I/O error: Not a redb database: magic number mismatch");
}
