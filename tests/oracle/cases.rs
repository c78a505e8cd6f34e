//! What the oracle has found, each by its name, on tables as small as it made them.

use belvedere::Engine;

use crate::oracle::{Outcome, compare};
use crate::systems::{Mysql, Postgres, Sqlite, System};

/// Queries over tables of one system, the source `s`.
struct Case {
    name: &'static str,
    tables: &'static [&'static str],
    query: &'static str,
}

const ANYWHERE: &[Case] = &[
    Case {
        name: "a top-n by a column that is a constant",
        tables: &[
            "CREATE TABLE t (a INTEGER)",
            "INSERT INTO t VALUES (1), (2)",
        ],
        query: "SELECT * FROM (SELECT true AS b FROM s.t) AS q ORDER BY b LIMIT 3",
    },
    Case {
        name: "a group by a column that is a constant",
        tables: &[
            "CREATE TABLE t (a INTEGER)",
            "INSERT INTO t VALUES (1), (2)",
        ],
        query: "SELECT b, c, count(*) FROM (SELECT true AS b, a % 1 = 0 AS c FROM s.t) AS q
                GROUP BY b, c",
    },
    Case {
        name: "a constant of a type that no column of the source has",
        tables: &[
            "CREATE TABLE t (a INTEGER)",
            "INSERT INTO t VALUES (1), (2)",
        ],
        query: "SELECT a, CAST(NULL AS TIMESTAMP) FROM s.t GROUP BY a",
    },
    Case {
        name: "a top-n by constants that are bound",
        tables: &[
            "CREATE TABLE t (a INTEGER)",
            "INSERT INTO t VALUES (1), (2)",
        ],
        query: "SELECT * FROM (SELECT CAST(NULL AS DATE) AS a, 2147483647 AS b, DATE '0001-01-01' AS c FROM s.t) AS q
                ORDER BY a, b, c LIMIT 3",
    },
    Case {
        name: "a condition on a computed group key",
        tables: &[
            "CREATE TABLE t (a INTEGER, b VARCHAR(20))",
            "INSERT INTO t VALUES (1, 'x'), (2, 'y'), (3, 'Y')",
        ],
        query: "SELECT k, n FROM (SELECT lower(b) AS k, count(*) AS n, min(b) AS least FROM s.t GROUP BY lower(b)) AS q
                WHERE k > least OR n = 1",
    },
    Case {
        name: "zeros of either sign are equal",
        tables: &[
            "CREATE TABLE t (a DOUBLE PRECISION, b DOUBLE PRECISION)",
            "INSERT INTO t VALUES (0, 1), (-0.0, 0), (1, 1), (NULL, NULL)",
        ],
        query: "SELECT t.a, t.b FROM s.t JOIN s.t AS u ON t.a = u.b
                WHERE t.a = CAST('-0' AS DOUBLE) OR t.a IN (CAST('-0' AS DOUBLE), 1, 7, 8) OR t.b <> t.a",
    },
    Case {
        name: "a constant -0.0 keeps its sign",
        tables: &[
            "CREATE TABLE t (a INTEGER)",
            "INSERT INTO t VALUES (1), (2)",
        ],
        query: "SELECT a, CAST('-0' AS DOUBLE) AS b FROM s.t WHERE a > 1",
    },
    Case {
        name: "a table made of groups that a semi join keeps",
        tables: &[
            "CREATE TABLE t (a INTEGER, b INTEGER)",
            "CREATE TABLE u (a INTEGER)",
            "INSERT INTO t VALUES (1, 2), (3, 4), (NULL, 5)",
            "INSERT INTO u VALUES (1), (NULL)",
        ],
        query: "SELECT coalesce(coalesce(m, m), coalesce(m, m)) AS m
                FROM (SELECT min(a) AS k, max(b) AS m FROM s.t GROUP BY b) AS q LEFT SEMI JOIN s.u AS r ON q.k = r.a",
    },
];

const MYSQL: &[Case] = &[
    Case {
        name: "columns named as those of a table made of a SELECT are",
        tables: &["CREATE TABLE t1 (c0 YEAR, c1 VARBINARY(9), c2 VARBINARY(9), c3 VARBINARY(9))"],
        query: "SELECT q5.c0 AS c0, q5.c3 AS c1 FROM (SELECT q6.c1 AS c0, q6.c0 AS c1, count(*) AS c2, min(q6.c3) AS c3
                FROM s.t1 AS q6 WHERE X'ff00' = q6.c2 GROUP BY q6.c1, q6.c0) AS q5
                WHERE q5.c1 = CASE WHEN (q5.c3 <> q5.c0) THEN q5.c2 END",
    },
    Case {
    name: "a condition that reads what a semi join's table is made of",
    tables: &[
        "CREATE TABLE t0 (c0 VARBINARY(9), c1 DECIMAL(30,6), c2 YEAR, c3 VARCHAR(20) CHARACTER SET latin1, c4 YEAR)",
        "CREATE TABLE t2 (id INT NOT NULL PRIMARY KEY, c0 VARCHAR(20) COLLATE utf8mb4_nopad_bin, c1 DATETIME, c2 VARCHAR(20) CHARACTER SET latin1)",
    ],
    query: "SELECT q1.c0 AS c0 FROM (SELECT count(*) AS c0 FROM s.t2 AS q2 LEFT ANTI JOIN s.t0 AS q3
                ON q2.id = q3.c2 AND (q3.c4 NOT BETWEEN q2.id AND q2.id AND (q2.id < q3.c2))
                WHERE q2.c1 = TIMESTAMP '1970-01-01 00:00:00') AS q1
            LEFT SEMI JOIN s.t2 AS q4 ON q1.c0 = q4.id AND (character_length(q4.c0) = coalesce(q1.c0, q1.c0))",
    },
];

const POSTGRES: &[Case] = &[
    Case {
        name: "texts of two collations",
        tables: &[
            "CREATE TABLE t (a text COLLATE \"en-x-icu\", b text COLLATE \"C\", c text)",
            "INSERT INTO t VALUES ('a', 'a', 'b'), ('B', 'a', NULL), (NULL, NULL, 'c')",
        ],
        query: "SELECT * FROM s.t WHERE (a IS NOT DISTINCT FROM b) OR (a IS DISTINCT FROM c) OR b IN (a, c) OR a < b",
    },
    Case {
        name: "zeros in their order, where a condition makes them one",
        tables: &[
            "CREATE TABLE t (a real, b bigint)",
            "INSERT INTO t VALUES ('0', -1), ('-0', NULL), ('-0', -2), ('1', 1)",
        ],
        query: "SELECT a, b FROM s.t WHERE a = 0.0 ORDER BY a, b",
    },
    Case {
        name: "the first groups by floats",
        tables: &[
            "CREATE TABLE t (a double precision)",
            "INSERT INTO t VALUES ('NaN'), ('-0'), ('0'), ('1'), ('NaN'), ('Infinity'), (NULL), (2), (3)",
        ],
        query: "SELECT DISTINCT a FROM s.t ORDER BY a DESC LIMIT 3",
    },
];

async fn agree(system: &dyn System, cases: &[Case]) {
    for case in cases {
        system.clear().await;
        system
            .execute(
                &case
                    .tables
                    .iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>(),
            )
            .await;
        let engine = Engine::builder().open().await.unwrap();
        let session = engine.session();
        let source = format!("CREATE SOURCE s FROM '{}'", system.url());
        session.execute(&source).await.unwrap();
        match compare(&session, case.query, case.query.contains("ORDER BY")).await {
            Outcome::Same(_) => {}
            Outcome::Fails(why) => panic!(
                "{}: {}: the plain query fails: {why}",
                system.name(),
                case.name
            ),
            Outcome::Differs(how) => panic!("{}: {}: {how}", system.name(), case.name),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    agree(&Sqlite::start(), ANYWHERE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    let system = Postgres::start().await;
    agree(&system, ANYWHERE).await;
    agree(&system, POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql() {
    let system = Mysql::start().await;
    agree(&system, ANYWHERE).await;
    agree(&system, MYSQL).await;
}
