use belvedere::engine::{ApplyOptions, Change, SqlFile};
use insta::assert_snapshot;

use crate::fixture::Fixture;

async fn apply(t: &Fixture, texts: &[&str], options: ApplyOptions) -> String {
    let files = texts.iter().enumerate().map(|(i, text)| SqlFile {
        name: format!("{i}.sql"),
        text: text.to_string(),
        base_dir: t.dir.path().to_path_buf(),
    });
    let line = |change: &Change| {
        let detail = change
            .detail
            .as_ref()
            .map(|d| format!(" ({d})"))
            .unwrap_or_default();
        format!(
            "{:?} {} {}{detail}",
            change.action, change.kind, change.name
        )
    };
    match t.engine.apply(files.collect(), options).await {
        Ok(changes) => changes.iter().map(line).collect::<Vec<_>>().join("\n"),
        Err(e) => t.text(&e),
    }
}

const DEFINITIONS: &str = "
    CREATE VIEW top AS SELECT sku FROM available WHERE qty > 1;
    CREATE VIEW available AS SELECT sku, sum(qty) AS qty FROM erp.stock GROUP BY sku;
    CREATE SOURCE erp FROM 'sqlite:erp.db' WITH (owner = 'purchasing');
    COMMENT ON VIEW top IS 'in stock';
";

#[tokio::test]
async fn files_are_applied_in_the_order_of_dependency() {
    let t = Fixture::empty().await;
    let check = ApplyOptions {
        check_only: true,
        ..Default::default()
    };
    assert_snapshot!(apply(&t, &[DEFINITIONS], check).await, @r#"
    Create source erp
    Create view available
    Create view "top"
    "#);
    assert_snapshot!(t.ok("SELECT count(*) AS n FROM system.views").await, @r"
    +---+
    | n |
    +---+
    | 0 |
    +---+
    ");
    assert_snapshot!(apply(&t, &[DEFINITIONS], ApplyOptions::default()).await, @r#"
    Create source erp
    Create view available
    Create view "top"
    "#);
    assert_snapshot!(t.ok("SELECT * FROM top ORDER BY sku").await, @r"
    +-----+
    | sku |
    +-----+
    | a1  |
    +-----+
    ");
    assert_snapshot!(apply(&t, &[DEFINITIONS], ApplyOptions::default()).await, @r#"
    Keep source erp
    Keep view available
    Keep view "top"
    "#);
    let strict = ApplyOptions {
        strict: true,
        check_only: true,
        ..Default::default()
    };
    assert_snapshot!(apply(&t, &[DEFINITIONS], strict).await, @r#"
    Keep source erp
    Keep view available
    Keep view "top"
    Notice source erp (has no contact, event, impact, runbook)
    Notice view available (has no owner, contact, event, impact, runbook)
    Notice view "top" (has no owner, contact, event, impact, runbook)
    "#);
}

#[tokio::test]
async fn an_apply_that_fails_in_its_middle_changes_nothing() {
    let t = Fixture::empty().await;
    let broken = "
        CREATE VIEW fine AS SELECT 1 AS one;
        CREATE VIEW broken AS
            SELECT colour FROM erp.item;";
    assert_snapshot!(apply(&t, &[DEFINITIONS, broken], ApplyOptions::default()).await, @"invalid: 1.sql, line 3: No field named colour. Valid fields are erp.item.sku, erp.item.name, erp.item.price, erp.item.added");
    assert_snapshot!(
        t.ok("SELECT (SELECT count(*) FROM system.views) AS views, count(*) AS sources FROM system.sources").await,
        @r"
    +-------+---------+
    | views | sources |
    +-------+---------+
    | 0     | 0       |
    +-------+---------+
    ");
    assert_snapshot!(apply(&t, &["CREATE VIEW v AS SELECT FROM;"], ApplyOptions::default()).await, @"invalid: 0.sql, line 1: expected identifier, found ; (line 1, column 29)");
    assert_snapshot!(apply(&t, &["DROP VIEW v;"], ApplyOptions::default()).await, @"invalid: 0.sql, line 1: a file of definitions holds what should be, not what to do. It may hold CREATE SOURCE, SCHEMA, VIEW and INDEX, ALTER SOURCE … OWNS, COMMENT ON, CREATE USER and ROLE, ALTER USER and ROLE … SET, GRANT, CREATE POLICY and MASK");
    let circle = "CREATE VIEW a AS SELECT * FROM b; CREATE VIEW b AS SELECT * FROM a;";
    assert_snapshot!(apply(&t, &[circle], ApplyOptions::default()).await, @"invalid: 0.sql, line 1: these views read each other in a circle");
    let twice = "CREATE VIEW a AS SELECT 1 AS x; CREATE VIEW a AS SELECT 2 AS x;";
    assert_snapshot!(apply(&t, &[twice], ApplyOptions::default()).await, @"invalid: 0.sql, line 1: this view is defined twice");
}

#[tokio::test]
async fn what_no_file_defines_is_dropped_when_asked() {
    let t = Fixture::new().await;
    t.ok("CREATE SCHEMA old").await;
    t.ok("CREATE VIEW old.v AS SELECT 1 AS one").await;
    let prune = ApplyOptions {
        prune: true,
        ..Default::default()
    };
    assert_snapshot!(apply(&t, &[DEFINITIONS], ApplyOptions::default()).await, @r#"
    Replace source erp
    Create view available
    Create view "top"
    Extra view old.v
    Extra source shop
    Extra schema old
    "#);
    assert_snapshot!(apply(&t, &[DEFINITIONS], prune).await, @r#"
    Keep source erp
    Keep view available
    Keep view "top"
    Drop view old.v
    Drop source shop
    Drop schema old
    "#);
    assert_snapshot!(t.ok("SHOW SCHEMAS").await, @r"
    +-----------+--------------------+
    | catalog   | schema             |
    +-----------+--------------------+
    | belvedere | information_schema |
    | belvedere | public             |
    | belvedere | system             |
    | erp       | main               |
    +-----------+--------------------+
    ");
}

#[tokio::test]
async fn indexes_are_applied_with_their_views() {
    let t = Fixture::new().await;
    let files = "
        CREATE INDEX by_site ON kept (site);
        CREATE INDEX ON kept (qty, site);
        CREATE MATERIALIZED VIEW kept AS SELECT sku, site, qty FROM erp.stock;";
    assert_snapshot!(apply(&t, &[files], ApplyOptions::default()).await, @r"
    Create view kept
    Create index kept.by_site
    Create index kept.kept_qty_site_idx
    Extra source erp
    Extra source shop
    ");
    assert_snapshot!(apply(&t, &[files], ApplyOptions::default()).await, @r"
    Keep view kept
    Keep index kept.by_site
    Keep index kept.kept_qty_site_idx
    Extra source erp
    Extra source shop
    ");
    let other = "
        CREATE INDEX by_site ON kept (sku);
        CREATE MATERIALIZED VIEW kept AS SELECT sku, site, qty FROM erp.stock;";
    let prune = ApplyOptions {
        prune: true,
        ..Default::default()
    };
    assert_snapshot!(apply(&t, &[other], ApplyOptions::default()).await, @r"
    Keep view kept
    Replace index kept.by_site
    Extra index kept.kept_qty_site_idx
    Extra source erp
    Extra source shop
    ");
    assert_snapshot!(apply(&t, &[DEFINITIONS, other], prune).await, @r#"
    Replace source erp
    Create view available
    Keep view kept
    Create view "top"
    Keep index kept.by_site
    Drop index kept.kept_qty_site_idx
    Drop source shop
    "#);
    assert_snapshot!(t.ok("SELECT view, name, columns FROM system.indexes").await, @r"
    +------+---------+---------+
    | view | name    | columns |
    +------+---------+---------+
    | kept | by_site | sku     |
    +------+---------+---------+
    ");
}
