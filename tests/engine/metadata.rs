use insta::assert_snapshot;

use crate::fixture::{Fixture, database};

#[tokio::test]
async fn system_tables() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW v WITH (owner = 'sales', runbook = 'call Ana') AS SELECT sku, price FROM erp.item").await;
    assert_snapshot!(t.ok("SELECT * FROM system.tables ORDER BY source, schema, name").await, @r"
    +-----------+--------------------+-------------------------+------------+--------------+------------+-------------+---------+----------+
    | source    | schema             | name                    | kind       | row_estimate | size_bytes | primary_key | comment | warnings |
    +-----------+--------------------+-------------------------+------------+--------------+------------+-------------+---------+----------+
    | belvedere | information_schema | columns                 | SYSTEM     |              |            |             |         |          |
    | belvedere | information_schema | key_column_usage        | SYSTEM     |              |            |             |         |          |
    | belvedere | information_schema | referential_constraints | SYSTEM     |              |            |             |         |          |
    | belvedere | information_schema | schemata                | SYSTEM     |              |            |             |         |          |
    | belvedere | information_schema | table_constraints       | SYSTEM     |              |            |             |         |          |
    | belvedere | information_schema | tables                  | SYSTEM     |              |            |             |         |          |
    | belvedere | information_schema | views                   | SYSTEM     |              |            |             |         |          |
    | belvedere | public             | v                       | VIEW       |              |            |             |         |          |
    | belvedere | system             | advice                  | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | audit                   | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | columns                 | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | fragments               | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | freshness               | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | grants                  | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | histograms              | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | indexes                 | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | keys                    | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | lineage                 | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | mappings                | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | masks                   | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | ownership               | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | policies                | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | queries                 | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | refreshes               | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | results                 | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | role_settings           | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | roles                   | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | settings                | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | sources                 | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | statements              | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | subscriptions           | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | tables                  | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | users                   | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | versions                | SYSTEM     |              |            |             |         |          |
    | belvedere | system             | views                   | SYSTEM     |              |            |             |         |          |
    | erp       | main               | item                    | BASE TABLE | 3            |            | sku         |         |          |
    | erp       | main               | stock                   | BASE TABLE | 4            |            | sku, site   |         |          |
    | shop      | main               | Mixed Case              | BASE TABLE | 1            |            |             |         |          |
    | shop      | main               | orders                  | BASE TABLE | 3            |            | id          |         |          |
    +-----------+--------------------+-------------------------+------------+--------------+------------+-------------+---------+----------+
    ");
    assert_snapshot!(
        t.ok("SELECT * FROM system.columns WHERE schema NOT IN ('system', 'information_schema')
            ORDER BY source, schema, \"table\", ordinal").await, @r"
    +-----------+--------+------------+----------+---------+------------------+----------+-----------------+-----------+---------+-----------------+------------+------------+------+
    | source    | schema | table      | name     | ordinal | type             | nullable | native_type     | collation | comment | distinct_values | least      | greatest   | note |
    +-----------+--------+------------+----------+---------+------------------+----------+-----------------+-----------+---------+-----------------+------------+------------+------+
    | belvedere | public | v          | sku      | 1       | text             | true     |                 |           |         |                 |            |            |      |
    | belvedere | public | v          | price    | 2       | numeric(10,2)    | true     |                 |           |         |                 |            |            |      |
    | erp       | main   | item       | sku      | 1       | text             | true     | TEXT            | BINARY    |         | 3               |            |            |      |
    | erp       | main   | item       | name     | 2       | text             | false    | VARCHAR(40)     | BINARY    |         | 3               |            |            |      |
    | erp       | main   | item       | price    | 3       | numeric(10,2)    | true     | DECIMAL(10,2)   |           |         | 3               | 0.5        | 7.9        |      |
    | erp       | main   | item       | added    | 4       | date             | true     | DATE            |           |         | 3               | 2024-01-01 | 2024-02-01 |      |
    | erp       | main   | stock      | sku      | 1       | text             | false    | TEXT            | BINARY    |         | 3               |            |            |      |
    | erp       | main   | stock      | site     | 2       | text             | false    | TEXT            | BINARY    |         | 2               |            |            |      |
    | erp       | main   | stock      | qty      | 3       | bigint           | true     | INTEGER         |           |         | 4               | 0          | 10         |      |
    | shop      | main   | Mixed Case | Id       | 1       | bigint           | true     | INTEGER         |           |         | 1               | 1          | 1          |      |
    | shop      | main   | Mixed Case | value    | 2       | double precision | true     | REAL            |           |         | 1               | 1.5        | 1.5        |      |
    | shop      | main   | orders     | id       | 1       | bigint           | false    | INTEGER; strict |           |         | 3               | 1          | 3          |      |
    | shop      | main   | orders     | sku      | 2       | text             | true     | TEXT            | BINARY    |         | 2               |            |            |      |
    | shop      | main   | orders     | qty      | 3       | bigint           | true     | INTEGER         |           |         | 3               | 1          | 4          |      |
    | shop      | main   | orders     | customer | 4       | text             | true     | TEXT            | BINARY    |         | 2               |            |            |      |
    +-----------+--------+------------+----------+---------+------------------+----------+-----------------+-----------+---------+-----------------+------------+------------+------+
    ");
    assert_snapshot!(t.ok("SELECT * FROM system.keys ORDER BY source, \"table\", name").await, @r"
    +--------+--------+--------+-------------+----------------+-----------+-------------------+------------------+--------------------+
    | source | schema | table  | kind        | name           | columns   | referenced_schema | referenced_table | referenced_columns |
    +--------+--------+--------+-------------+----------------+-----------+-------------------+------------------+--------------------+
    | erp    | main   | item   | PRIMARY KEY | item_pkey      | sku       |                   |                  |                    |
    | erp    | main   | stock  | PRIMARY KEY | stock_pkey     | sku, site |                   |                  |                    |
    | erp    | main   | stock  | FOREIGN KEY | stock_sku_fkey | sku       | main              | item             | sku                |
    | shop   | main   | orders | PRIMARY KEY | orders_pkey    | id        |                   |                  |                    |
    +--------+--------+--------+-------------+----------------+-----------+-------------------+------------------+--------------------+
    ");
    assert_snapshot!(t.ok("SELECT * FROM system.views").await, @r"
    +--------+------+---------------------------------+---------+-------+---------+-------+--------+----------+---------+------------+---------------+---------+-------+--------+------+---------+--------+-----------------+------------+-----------+--------------+
    | schema | name | sql                             | definer | owner | contact | event | impact | runbook  | comment | columns    | depends_on    | refresh | state | reason | rows | version | age_ms | input_rows_done | input_rows | mechanism | memory_bytes |
    +--------+------+---------------------------------+---------+-------+---------+-------+--------+----------+---------+------------+---------------+---------+-------+--------+------+---------+--------+-----------------+------------+-----------+--------------+
    | public | v    | SELECT sku, price FROM erp.item |         | sales |         |       |        | call Ana |         | sku, price | erp.main.item |         |       |        |      |         |        |                 |            |           |              |
    +--------+------+---------------------------------+---------+-------+---------+-------+--------+----------+---------+------------+---------------+---------+-------+--------+------+---------+--------+-----------------+------------+-----------+--------------+
    ");
    assert_snapshot!(
        t.ok("SELECT name, connector, state, tables FROM system.sources ORDER BY name").await, @r"
    +------+-----------+-------+--------+
    | name | connector | state | tables |
    +------+-----------+-------+--------+
    | erp  | sqlite    | ok    | 2      |
    | shop | sqlite    | ok    | 2      |
    +------+-----------+-------+--------+
    ");
}

#[tokio::test]
async fn information_schema() {
    let t = Fixture::new().await;
    t.ok("CREATE SCHEMA sales").await;
    t.ok("CREATE VIEW sales.v AS SELECT sku, price, cast(1 AS smallint) AS s, now() AS at FROM erp.item").await;
    database(&t.path("shop.db"), "CREATE VIEW theirs AS SELECT 1 AS one");
    t.ok("REFRESH SOURCE shop").await;
    let own = "table_schema NOT IN ('system', 'information_schema')";
    assert_snapshot!(t.ok("SELECT catalog_name, schema_name FROM information_schema.schemata ORDER BY 1, 2").await, @r"
    +--------------+--------------------+
    | catalog_name | schema_name        |
    +--------------+--------------------+
    | belvedere    | information_schema |
    | belvedere    | public             |
    | belvedere    | sales              |
    | belvedere    | system             |
    | erp          | main               |
    | shop         | main               |
    +--------------+--------------------+
    ");
    assert_snapshot!(
        t.ok(&format!("SELECT table_catalog, table_schema, table_name, table_type, is_insertable_into
            FROM information_schema.tables WHERE {own} ORDER BY 1, 2, 3")).await, @r"
    +---------------+--------------+------------+------------+--------------------+
    | table_catalog | table_schema | table_name | table_type | is_insertable_into |
    +---------------+--------------+------------+------------+--------------------+
    | belvedere     | sales        | v          | VIEW       | NO                 |
    | erp           | main         | item       | BASE TABLE | NO                 |
    | erp           | main         | stock      | BASE TABLE | NO                 |
    | shop          | main         | Mixed Case | BASE TABLE | NO                 |
    | shop          | main         | orders     | BASE TABLE | NO                 |
    | shop          | main         | theirs     | VIEW       | NO                 |
    +---------------+--------------+------------+------------+--------------------+
    ");
    assert_snapshot!(
        t.ok("SELECT table_schema, table_name, table_type FROM information_schema.tables
            WHERE table_schema = 'information_schema' ORDER BY 2").await, @r"
    +--------------------+-------------------------+-------------+
    | table_schema       | table_name              | table_type  |
    +--------------------+-------------------------+-------------+
    | information_schema | columns                 | SYSTEM VIEW |
    | information_schema | key_column_usage        | SYSTEM VIEW |
    | information_schema | referential_constraints | SYSTEM VIEW |
    | information_schema | schemata                | SYSTEM VIEW |
    | information_schema | table_constraints       | SYSTEM VIEW |
    | information_schema | tables                  | SYSTEM VIEW |
    | information_schema | views                   | SYSTEM VIEW |
    +--------------------+-------------------------+-------------+
    ");
    assert_snapshot!(
        t.ok(&format!("SELECT table_name, column_name, ordinal_position AS n, is_nullable AS nullable, data_type,
            character_maximum_length AS length, numeric_precision AS precision, numeric_precision_radix AS radix,
            numeric_scale AS scale, datetime_precision AS digits, udt_name
            FROM information_schema.columns WHERE {own} ORDER BY table_catalog, table_name, n")).await, @r"
    +------------+-------------+---+----------+--------------------------+--------+-----------+-------+-------+--------+-------------+
    | table_name | column_name | n | nullable | data_type                | length | precision | radix | scale | digits | udt_name    |
    +------------+-------------+---+----------+--------------------------+--------+-----------+-------+-------+--------+-------------+
    | v          | sku         | 1 | YES      | text                     |        |           |       |       |        | text        |
    | v          | price       | 2 | YES      | numeric                  |        | 10        | 10    | 2     |        | numeric     |
    | v          | s           | 3 | NO       | smallint                 |        | 16        | 2     | 0     |        | int2        |
    | v          | at          | 4 | NO       | timestamp with time zone |        |           |       |       | 6      | timestamptz |
    | item       | sku         | 1 | YES      | text                     |        |           |       |       |        | text        |
    | item       | name        | 2 | NO       | text                     | 40     |           |       |       |        | text        |
    | item       | price       | 3 | YES      | numeric                  |        | 10        | 10    | 2     |        | numeric     |
    | item       | added       | 4 | YES      | date                     |        |           |       |       | 0      | date        |
    | stock      | sku         | 1 | NO       | text                     |        |           |       |       |        | text        |
    | stock      | site        | 2 | NO       | text                     |        |           |       |       |        | text        |
    | stock      | qty         | 3 | YES      | bigint                   |        | 64        | 2     | 0     |        | int8        |
    | Mixed Case | Id          | 1 | YES      | bigint                   |        | 64        | 2     | 0     |        | int8        |
    | Mixed Case | value       | 2 | YES      | double precision         |        | 53        | 2     |       |        | float8      |
    | orders     | id          | 1 | NO       | bigint                   |        | 64        | 2     | 0     |        | int8        |
    | orders     | sku         | 2 | YES      | text                     |        |           |       |       |        | text        |
    | orders     | qty         | 3 | YES      | bigint                   |        | 64        | 2     | 0     |        | int8        |
    | orders     | customer    | 4 | YES      | text                     |        |           |       |       |        | text        |
    | theirs     | one         | 1 | YES      | text                     |        |           |       |       |        | text        |
    +------------+-------------+---+----------+--------------------------+--------+-----------+-------+-------+--------+-------------+
    ");
    assert_snapshot!(
        t.ok("SELECT table_catalog, table_schema, table_name, view_definition, is_updatable
            FROM information_schema.views ORDER BY 1, 2, 3").await, @r"
    +---------------+--------------+------------+------------------------------------------------------------------------+--------------+
    | table_catalog | table_schema | table_name | view_definition                                                        | is_updatable |
    +---------------+--------------+------------+------------------------------------------------------------------------+--------------+
    | belvedere     | sales        | v          | SELECT sku, price, cast(1 AS smallint) AS s, now() AS at FROM erp.item | NO           |
    | shop          | main         | theirs     |                                                                        | NO           |
    +---------------+--------------+------------+------------------------------------------------------------------------+--------------+
    ");
    assert_snapshot!(
        t.ok("SELECT constraint_name, table_name, constraint_type FROM information_schema.table_constraints ORDER BY 1").await, @r"
    +-----------------+------------+-----------------+
    | constraint_name | table_name | constraint_type |
    +-----------------+------------+-----------------+
    | item_pkey       | item       | PRIMARY KEY     |
    | orders_pkey     | orders     | PRIMARY KEY     |
    | stock_pkey      | stock      | PRIMARY KEY     |
    | stock_sku_fkey  | stock      | FOREIGN KEY     |
    +-----------------+------------+-----------------+
    ");
    assert_snapshot!(
        t.ok("SELECT constraint_name, table_name, column_name, ordinal_position, position_in_unique_constraint
            FROM information_schema.key_column_usage ORDER BY 1, 4").await, @r"
    +-----------------+------------+-------------+------------------+-------------------------------+
    | constraint_name | table_name | column_name | ordinal_position | position_in_unique_constraint |
    +-----------------+------------+-------------+------------------+-------------------------------+
    | item_pkey       | item       | sku         | 1                |                               |
    | orders_pkey     | orders     | id          | 1                |                               |
    | stock_pkey      | stock      | sku         | 1                |                               |
    | stock_pkey      | stock      | site        | 2                |                               |
    | stock_sku_fkey  | stock      | sku         | 1                | 1                             |
    +-----------------+------------+-------------+------------------+-------------------------------+
    ");
    assert_snapshot!(
        t.ok("SELECT constraint_name, unique_constraint_name, match_option, update_rule
            FROM information_schema.referential_constraints ORDER BY 1").await, @r"
    +-----------------+------------------------+--------------+-------------+
    | constraint_name | unique_constraint_name | match_option | update_rule |
    +-----------------+------------------------+--------------+-------------+
    | stock_sku_fkey  | item_pkey              | NONE         |             |
    +-----------------+------------------------+--------------+-------------+
    ");
}

/// Every system table is what `system.columns` says it is, and can be read.
#[tokio::test]
async fn system_tables_describe_themselves() {
    let t = Fixture::new().await;
    t.ok("CREATE VIEW v AS SELECT sku FROM erp.item").await;
    let names = t
        .ok("SELECT schema || '.' || name AS n FROM system.tables WHERE kind = 'SYSTEM'")
        .await;
    let names: Vec<&str> = names
        .lines()
        .filter(|l| l.contains('.'))
        .map(|l| l.trim_matches(['|', ' ']))
        .collect();
    assert!(names.len() >= 16, "{names:?}");
    for name in names {
        let (schema, table) = name.split_once('.').unwrap();
        let answer = t
            .session
            .execute(&format!("SELECT * FROM {name}"))
            .await
            .unwrap();
        let columns = answer.schema.fields().len();
        answer
            .collect()
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        let listed = t
            .ok(&format!(
                "SELECT count(*) = {columns} AS ok FROM information_schema.columns
                WHERE table_schema = '{schema}' AND table_name = '{table}'"
            ))
            .await;
        assert!(listed.contains("true"), "{name}");
    }
}
