use arrow::datatypes::{DataType, TimeUnit};
use belvedere_connector::{BinaryOp, Expr, Literal, TableKind};

use crate::fixture::{
    Database, column, compare, filter, lines, not_shown, read, scan_of, table, text,
};

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_the_catalog_is_found() {
    let db = Database::new("discovery").await;
    let icu = db
        .icu_collation("ci", "locale = 'und-u-ks-level2', deterministic = false")
        .await;
    db.run(
        r#"
        CREATE SCHEMA zoo;
        CREATE TYPE mood AS ENUM ('sad', 'ok');
        CREATE DOMAIN email AS varchar(80) NOT NULL;
        CREATE TABLE customer (id int PRIMARY KEY, name text NOT NULL, mail email, m mood,
                               code char(3) UNIQUE NOT NULL, CHECK (id > 0));
        COMMENT ON TABLE customer IS 'who buys';
        COMMENT ON COLUMN customer.name IS 'as on the invoice';
        CREATE TABLE "Order" (a int, b int, customer int REFERENCES customer, total numeric(12,2),
                              at timestamptz, PRIMARY KEY (b, a));
        CREATE TABLE part (id int, day date NOT NULL) PARTITION BY RANGE (day);
        CREATE TABLE part_2026 PARTITION OF part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
        INSERT INTO part SELECT i, '2026-02-01' FROM generate_series(1, 100) i;
        CREATE VIEW happy AS SELECT * FROM customer WHERE m = 'ok';
        CREATE MATERIALIZED VIEW names AS SELECT name FROM customer;
        CREATE TABLE zoo.parent (id int PRIMARY KEY);
        CREATE TABLE zoo.child () INHERITS (zoo.parent);
        CREATE TABLE zoo.texts (a text COLLATE "C", b text COLLATE ci, c text, d money, e numeric);
        ANALYZE;
        "#,
    )
    .await;
    let (_, tables) = db
        .discovered(&[("columns", "texts.e: null; texts.nix: text")])
        .await;
    let names: Vec<String> = tables
        .iter()
        .map(|t| format!("{}.{}", t.schema, t.name))
        .collect();
    assert_eq!(
        names,
        [
            "public.Order",
            "public.customer",
            "public.happy",
            "public.names",
            "public.part",
            "zoo.child",
            "zoo.parent",
            "zoo.texts"
        ]
    );

    let customer = table(&tables, "customer");
    assert_eq!(customer.comment.as_deref(), Some("who buys"));
    assert_eq!(customer.primary_key, ["id"]);
    assert_eq!(customer.unique_keys, [["code"]]);
    assert_eq!(customer.row_count, Some(0));
    let shown: Vec<_> = customer
        .columns
        .iter()
        .map(|c| {
            (
                c.name.as_str(),
                &c.data_type,
                c.nullable,
                c.native_type.as_str(),
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            ("id", &DataType::Int32, false, "integer"),
            ("name", &DataType::Utf8, false, "text"),
            ("mail", &DataType::Utf8, true, "public.email"),
            ("m", &DataType::Utf8, true, "public.mood"),
            ("code", &DataType::Utf8, false, "character(3)"),
        ]
    );
    assert_eq!(
        customer.columns[1].comment.as_deref(),
        Some("as on the invoice")
    );

    let order = table(&tables, "Order");
    assert_eq!(order.primary_key, ["b", "a"]);
    assert_eq!(order.foreign_keys.len(), 1);
    assert_eq!(order.foreign_keys[0].referenced_table, "customer");
    assert_eq!(order.foreign_keys[0].referenced_columns, ["id"]);
    assert_eq!(order.columns[3].data_type, DataType::Decimal128(12, 2));
    assert_eq!(
        order.columns[4].data_type,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    );

    let part = table(&tables, "part");
    assert_eq!(
        (part.kind, part.row_count),
        (TableKind::PartitionedTable, Some(100))
    );
    assert!(part.size_bytes > Some(0));
    assert_eq!(table(&tables, "happy").kind, TableKind::View);
    assert_eq!(table(&tables, "names").kind, TableKind::MaterializedView);
    // Rows of the child are rows of the parent, and may have its keys.
    assert!(table(&tables, "parent").primary_key.is_empty());

    let texts = table(&tables, "texts");
    let collations: Vec<_> = texts
        .columns
        .iter()
        .map(|c| c.collation.as_deref())
        .collect();
    // Money is read as text, which compares by the database's default.
    assert_eq!(
        collations,
        [
            Some("C"),
            Some(if icu { "*public.ci" } else { "public.ci" }),
            Some("C.UTF-8"),
            Some("C.UTF-8"),
            None
        ]
    );
    assert_eq!(
        texts.columns[3].note.as_deref(),
        Some("money has no mapping: read as text")
    );
    assert_eq!(
        texts.columns[4].native_type,
        "numeric (null where it does not fit)"
    );
    assert!(texts.warnings[0].contains("nix"), "{:?}", texts.warnings);

    let (_, only) = db.discovered(&[("schemas", "zoo, nix")]).await;
    assert!(only.iter().all(|t| t.schema == "zoo") && only.len() == 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_values_are_spread() {
    let db = Database::new("spread").await;
    db.run(
        "CREATE TABLE t (id int PRIMARY KEY, day date, at timestamptz, price numeric(10,2), kind smallint, name text);
         INSERT INTO t SELECT i, date '2024-01-01' + i / 100, timestamptz '2024-01-01 00:00Z' + i * interval '1 hour',
             i / 4.0, CASE WHEN i % 10 = 0 THEN i % 7 ELSE 3 END, 'n' || i
         FROM generate_series(0, 9999) i;
         ANALYZE t;",
    )
    .await;
    let (_, tables) = db.discovered(&[]).await;
    let below = |name: &str, value: f64| {
        let mut columns = table(&tables, "t").columns.iter();
        let column = columns.find(|column| column.name == name).unwrap();
        column.histogram.as_ref().map(|known| known.below(value))
    };
    let near = |part: Option<f64>, expected: f64| (part.unwrap() - expected).abs() < 0.05;
    let day = 19_723.0; // 2024-01-01
    assert!(near(below("id", 2_500.0), 0.25));
    assert!(near(below("day", day + 75.0), 0.75));
    assert!(near(below("at", day + 5_000.0 / 24.0), 0.5));
    assert!(near(below("price", 500.0), 0.2));
    assert!(near(below("kind", 3.0), 0.043));
    assert!(near(below("kind", 4.0), 0.957));
    assert_eq!(below("name", 0.0), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_version_18_has_new() {
    let db = Database::new("eighteen").await;
    let version: String = db
        .client
        .query_one("SHOW server_version_num", &[])
        .await
        .unwrap()
        .get(0);
    if version.as_str() < "180000" {
        not_shown("what PostgreSQL 18 has new: this one is older");
        return;
    }
    db.run(
        r#"
        CREATE TABLE late (a int, b int NOT NULL, twice int GENERATED ALWAYS AS (b * 2) VIRTUAL);
        INSERT INTO late (a, b) VALUES (NULL, 1), (3, 4);
        ALTER TABLE late ADD CONSTRAINT checked_later NOT NULL a NOT VALID;
        CREATE TABLE parent (a int, CONSTRAINT own NOT NULL a NO INHERIT);
        CREATE TABLE child () INHERITS (parent);
        INSERT INTO parent VALUES (1);
        INSERT INTO child VALUES (NULL);
        CREATE TABLE room (block int4range, held daterange, PRIMARY KEY (block, held WITHOUT OVERLAPS));
        CREATE TABLE stay (block int4range, held daterange,
                           FOREIGN KEY (block, PERIOD held) REFERENCES room (block, PERIOD held));
        CREATE TABLE word (w text COLLATE pg_unicode_fast);
        INSERT INTO word VALUES ('B'), ('a'), ('ä');
        "#,
    )
    .await;
    let (source, tables) = db.discovered(&[]).await;
    let nullable = |name: &str| -> Vec<bool> {
        let columns = &table(&tables, name).columns;
        columns.iter().map(|column| column.nullable).collect()
    };
    assert_eq!(nullable("late"), [true, false, true]);
    assert_eq!(nullable("parent"), [true]);
    let rows = async |name: &str| {
        let rel = scan_of(table(&tables, name));
        let mut rows = lines(&read(&source, rel).await.unwrap());
        rows.sort();
        rows
    };
    assert_eq!(rows("late").await, ["3|4|8", "NULL|1|2"]);
    assert_eq!(rows("parent").await, ["1", "NULL"]);
    let late = table(&tables, "late");
    let eight = Expr::literal(Literal::Int(8), DataType::Int32);
    let eight = compare(column(late, "twice"), BinaryOp::Eq, eight);
    let found = read(&source, filter(scan_of(late), eight)).await.unwrap();
    assert_eq!(lines(&found), ["3|4|8"]);
    assert!(table(&tables, "stay").foreign_keys.is_empty());
    let word = table(&tables, "word");
    let after = compare(column(word, "w"), BinaryOp::Gt, text("a"));
    let found = read(&source, filter(scan_of(word), after)).await.unwrap();
    assert_eq!(lines(&found), ["ä"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn text_of_another_encoding_stays_with_the_engine() {
    let db = Database::on(
        crate::server::Server::shared(),
        "latin",
        "ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
    )
    .await;
    db.run("CREATE TABLE t (a text); INSERT INTO t VALUES (convert_from('\\xe4', 'LATIN1'))")
        .await;
    let (source, tables) = db.discovered(&[]).await;
    let t = table(&tables, "t");
    assert_eq!(t.columns[0].collation.as_deref(), Some("C [LATIN1]"));
    let predicate = crate::fixture::compare(
        crate::fixture::column(t, "a"),
        belvedere_connector::BinaryOp::Eq,
        crate::fixture::text("ä"),
    );
    match source
        .capabilities()
        .predicate(&predicate, &t.arrow_schema())
    {
        belvedere_connector::Support::No(why) => assert!(why.contains("LATIN1"), "{why}"),
        other => panic!("{other:?}"),
    }
    let rows = crate::fixture::read(&source, crate::fixture::scan_of(t))
        .await
        .unwrap();
    assert_eq!(crate::fixture::lines(&rows), ["ä"]);
}
