use std::collections::HashMap;

use arrow_flight::sql::{
    CommandGetCrossReference, CommandGetDbSchemas, CommandGetExportedKeys, CommandGetImportedKeys,
    CommandGetPrimaryKeys, CommandGetTables, CommandGetXdbcTypeInfo, SqlInfo,
};
use datafusion::arrow::array::{AsArray, RecordBatch};
use datafusion::arrow::datatypes::{DataType, Schema, UInt32Type};

use super::support::{Client, Server, fetch, shown};

async fn tables(client: &mut Client, command: CommandGetTables) -> Vec<RecordBatch> {
    let info = client.get_tables(command).await.unwrap();
    fetch(client, info).await.unwrap()
}

#[tokio::test]
async fn catalogs_and_schemas() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client.get_catalogs().await.unwrap();
    let catalogs = fetch(&mut client, info).await.unwrap();
    assert_eq!(shown(&catalogs), ["belvedere", "mem", "shop"]);

    let all = CommandGetDbSchemas::default();
    let info = client.get_db_schemas(all).await.unwrap();
    let schemas = shown(&fetch(&mut client, info).await.unwrap());
    for expected in [
        "belvedere|public",
        "belvedere|system",
        "mem|main",
        "shop|main",
    ] {
        assert!(
            schemas.iter().any(|s| s == expected),
            "{expected} is not in {schemas:?}"
        );
    }
    let some = CommandGetDbSchemas {
        catalog: Some("belvedere".into()),
        db_schema_filter_pattern: Some("p_bl%".into()),
    };
    let info = client.get_db_schemas(some).await.unwrap();
    assert_eq!(
        shown(&fetch(&mut client, info).await.unwrap()),
        ["belvedere|public"]
    );
}

#[tokio::test]
async fn tables_with_filters_and_schemas() {
    let server = Server::start().await;
    server
        .define("CREATE VIEW spend AS SELECT customer, total FROM shop.orders")
        .await;
    server
        .define("COMMENT ON VIEW spend IS 'what customers spend'")
        .await;
    let mut client = server.client().await;
    let shop = CommandGetTables {
        catalog: Some("shop".into()),
        ..Default::default()
    };
    assert_eq!(
        shown(&tables(&mut client, shop).await),
        ["shop|main|customer|TABLE", "shop|main|orders|TABLE"]
    );
    let views = CommandGetTables {
        db_schema_filter_pattern: Some("public".into()),
        table_types: vec!["VIEW".into()],
        ..Default::default()
    };
    assert_eq!(
        shown(&tables(&mut client, views).await),
        ["belvedere|public|spend|VIEW"]
    );
    let named = CommandGetTables {
        table_name_filter_pattern: Some("cust_mer".into()),
        include_schema: true,
        ..Default::default()
    };
    let found = tables(&mut client, named).await;
    let bytes = found[0].column(4).as_binary::<i32>().value(0).to_vec();
    let schema = Schema::try_from(arrow_flight::IpcMessage(bytes.into())).unwrap();
    let fields: Vec<_> = schema
        .fields()
        .iter()
        .map(|f| (f.name().as_str(), f.data_type(), f.is_nullable()))
        .collect();
    assert_eq!(fields[0], ("id", &DataType::Int64, false));
    assert_eq!(fields[1], ("name", &DataType::Utf8, false));
    let metadata = schema.field(1).metadata();
    assert_eq!(metadata["ARROW:FLIGHT:SQL:TYPE_NAME"], "TEXT");
    assert_eq!(metadata["ARROW:FLIGHT:SQL:TABLE_NAME"], "customer");

    // System tables are tables, too, and each has a schema.
    let system = CommandGetTables {
        include_schema: true,
        ..Default::default()
    };
    let all = tables(&mut client, system).await;
    for row in 0..all[0].num_rows() {
        let bytes = all[0].column(4).as_binary::<i32>().value(row).to_vec();
        let schema = Schema::try_from(arrow_flight::IpcMessage(bytes.into())).unwrap();
        assert!(
            !schema.fields().is_empty(),
            "{:?}",
            shown(&[all[0].slice(row, 1)])
        );
    }
}

#[tokio::test]
async fn a_view_that_broke_does_not_hide_the_others() {
    let server = Server::start().await;
    server.define("CREATE VIEW good AS SELECT 1 AS a").await;
    server
        .define("CREATE VIEW bad AS SELECT id FROM mem.t")
        .await;
    server.memory.remove("t");
    server.define("REFRESH SOURCE mem").await;
    let mut client = server.client().await;
    let views = CommandGetTables {
        db_schema_filter_pattern: Some("public".into()),
        include_schema: true,
        ..Default::default()
    };
    assert_eq!(tables(&mut client, views).await[0].num_rows(), 2);
}

#[tokio::test]
async fn tables_that_may_be_written_to_say_so() {
    let server = Server::start().await;
    server
        .define("ALTER SOURCE shop SET (writable = true)")
        .await;
    let mut client = server.client().await;
    for (catalog, is_read_only) in [("shop", "0"), ("mem", "1")] {
        let of_one = CommandGetTables {
            catalog: Some(catalog.into()),
            include_schema: true,
            ..Default::default()
        };
        let all = tables(&mut client, of_one).await;
        let bytes = all[0].column(4).as_binary::<i32>().value(0).to_vec();
        let schema = Schema::try_from(arrow_flight::IpcMessage(bytes.into())).unwrap();
        let metadata = schema.field(0).metadata();
        let said = metadata.get("ARROW:FLIGHT:SQL:IS_READ_ONLY");
        assert_eq!(said.map(String::as_str), Some(is_read_only), "{catalog}");
    }
}

#[tokio::test]
async fn table_types() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client.get_table_types().await.unwrap();
    let types = shown(&fetch(&mut client, info).await.unwrap());
    assert!(types.contains(&"TABLE".to_string()) && types.contains(&"VIEW".to_string()));
}

#[tokio::test]
async fn keys() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let primary = CommandGetPrimaryKeys {
        catalog: Some("shop".into()),
        db_schema: None,
        table: "customer".into(),
    };
    let info = client.get_primary_keys(primary).await.unwrap();
    let rows = shown(&fetch(&mut client, info).await.unwrap());
    assert_eq!(rows.len(), 1);
    assert!(
        rows[0].starts_with("shop|main|customer|id|") && rows[0].ends_with("|1"),
        "{rows:?}"
    );

    let reference = "shop|main|customer|id|shop|main|orders|customer|1|";
    let imported = CommandGetImportedKeys {
        catalog: None,
        db_schema: Some("main".into()),
        table: "orders".into(),
    };
    let info = client.get_imported_keys(imported).await.unwrap();
    let rows = shown(&fetch(&mut client, info).await.unwrap());
    assert!(
        rows.len() == 1 && rows[0].starts_with(reference),
        "{rows:?}"
    );

    let exported = CommandGetExportedKeys {
        catalog: None,
        db_schema: None,
        table: "customer".into(),
    };
    let info = client.get_exported_keys(exported).await.unwrap();
    let rows = shown(&fetch(&mut client, info).await.unwrap());
    assert!(
        rows.len() == 1 && rows[0].starts_with(reference),
        "{rows:?}"
    );

    for (pk, expected) in [("customer", 1), ("orders", 0)] {
        let cross = CommandGetCrossReference {
            pk_catalog: None,
            pk_db_schema: None,
            pk_table: pk.into(),
            fk_catalog: None,
            fk_db_schema: None,
            fk_table: "orders".into(),
        };
        let info = client.get_cross_reference(cross).await.unwrap();
        assert_eq!(
            shown(&fetch(&mut client, info).await.unwrap()).len(),
            expected
        );
    }
}

#[tokio::test]
async fn sql_info_is_complete() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client.get_sql_info(vec![]).await.unwrap();
    let all = fetch(&mut client, info).await.unwrap();
    let known = all[0]
        .column(0)
        .as_primitive::<UInt32Type>()
        .values()
        .to_vec();
    let expected: Vec<u32> = (0..=11).chain(100..=101).chain(500..=576).collect();
    for code in expected {
        // What concerns Substrait's versions has no value without Substrait.
        let without = code == 6 || code == 7;
        assert_eq!(known.contains(&code), !without, "SqlInfo {code}");
    }
    let asked = vec![
        SqlInfo::FlightSqlServerName,
        SqlInfo::FlightSqlServerTransaction,
    ];
    let info = client.get_sql_info(asked).await.unwrap();
    let some = shown(&fetch(&mut client, info).await.unwrap());
    assert_eq!(some.len(), 2);
    assert!(some[0].contains("Belvedere"), "{some:?}");
}

#[tokio::test]
async fn xdbc_types() {
    let server = Server::start().await;
    let mut client = server.client().await;
    let info = client
        .get_xdbc_type_info(CommandGetXdbcTypeInfo { data_type: None })
        .await
        .unwrap();
    let all = fetch(&mut client, info).await.unwrap();
    let names: HashMap<_, _> = shown(&all)
        .into_iter()
        .map(|row| (row.split('|').next().unwrap().to_string(), row))
        .collect();
    assert!(names.contains_key("bigint") && names.contains_key("timestamp with time zone"));
    let one = CommandGetXdbcTypeInfo {
        data_type: Some(12),
    };
    let info = client.get_xdbc_type_info(one).await.unwrap();
    let rows = shown(&fetch(&mut client, info).await.unwrap());
    assert!(
        rows.len() == 1 && rows[0].starts_with("varchar"),
        "{rows:?}"
    );
}
