//! Users, roles and grants in files of definitions.

use belvedere::engine::{ApplyOptions, SqlFile};

use crate::fixture::{Fixture, shown};

async fn apply(t: &Fixture, text: &str, prune: bool) -> Result<Vec<String>, String> {
    let file = SqlFile {
        name: "access.sql".into(),
        text: text.into(),
        base_dir: t.dir.path().to_path_buf(),
    };
    let options = ApplyOptions {
        prune,
        ..ApplyOptions::default()
    };
    let changes = t.engine.apply(vec![file], options).await;
    let changes = changes.map_err(|e| e.to_string())?;
    let lines = changes.iter().filter(|change| change.kind != "source");
    Ok(lines
        .map(|change| format!("{:?} {} {}", change.action, change.kind, change.name))
        .collect())
}

async fn password(t: &Fixture, name: &str, text: &str) -> String {
    let path = t.path(name);
    std::fs::write(&path, text).unwrap();
    format!("file:{}", path.display())
}

#[tokio::test]
async fn what_files_say_of_access_is_there() {
    let t = Fixture::new().await;
    let secret = password(&t, "root.txt", "r00t").await;
    let text = format!(
        "GRANT SELECT ON items TO sales;
         GRANT SELECT (sku), INSERT (sku) ON erp.stock TO sales, PUBLIC;
         GRANT sales TO ana;
         ALTER ROLE sales SET max_result_rows = 100;
         CREATE USER ana;
         CREATE USER root PASSWORD '{secret}' SUPERUSER;
         CREATE ROLE sales;
         CREATE VIEW items AS SELECT sku FROM erp.item;
         CREATE SOURCE erp FROM 'sqlite:erp.db';
         CREATE SOURCE shop FROM 'sqlite:shop.db';"
    );
    let all = [
        "Create view items",
        "Create role sales",
        "Create user ana",
        "Create user root",
        "Create grant sales TO ana",
        "Create grant SELECT ON items TO sales",
        "Create grant SELECT (sku) ON erp.main.stock TO PUBLIC",
        "Create grant INSERT (sku) ON erp.main.stock TO PUBLIC",
        "Create grant SELECT (sku) ON erp.main.stock TO sales",
        "Create grant INSERT (sku) ON erp.main.stock TO sales",
    ];
    let mut expected: Vec<String> = all.map(str::to_string).into();
    expected.sort();
    let mut said = apply(&t, &text, false).await.unwrap();
    said.sort();
    assert_eq!(said, expected);
    let ana = t.engine.session_as("ana");
    assert!(
        shown(&ana, "SELECT * FROM items")
            .await
            .unwrap()
            .contains("a1")
    );

    // Again: all is as it is said, the password, too.
    let kept = apply(&t, &text, true).await.unwrap();
    assert!(
        kept.iter().all(|line| line.starts_with("Keep")),
        "{kept:#?}"
    );
    shown(&ana, "SELECT 1").await.unwrap();

    // What has been granted besides is extra, until it is pruned; users stay.
    for sql in [
        "CREATE ROLE more",
        "CREATE USER ben PASSWORD 'b'",
        "GRANT more TO ben",
        "GRANT SELECT ON shop.orders TO more",
        "GRANT UPDATE ON erp.stock TO sales",
        "ALTER ROLE sales SET max_sessions = 3",
    ] {
        t.ok(sql).await;
    }
    let other = |lines: Vec<String>| -> Vec<String> {
        lines
            .into_iter()
            .filter(|line| !line.starts_with("Keep"))
            .collect()
    };
    let extra = other(apply(&t, &text, false).await.unwrap());
    assert_eq!(
        extra,
        [
            "Replace role sales",
            "Extra grant more TO ben",
            "Extra grant UPDATE ON erp.main.stock TO sales",
            "Extra grant SELECT ON shop.main.orders TO more",
            "Extra role more",
        ]
    );
    assert!(t.ok("SELECT name FROM system.roles").await.contains("more"));
    assert!(
        !t.ok("SELECT setting FROM system.role_settings")
            .await
            .contains("max_sessions")
    );
    let pruned = other(apply(&t, &text, true).await.unwrap());
    assert_eq!(
        pruned,
        [
            "Drop grant more TO ben",
            "Drop grant UPDATE ON erp.main.stock TO sales",
            "Drop grant SELECT ON shop.main.orders TO more",
            "Drop role more",
        ]
    );
    let grants = t.ok("SELECT grantee, privilege FROM system.grants").await;
    assert!(
        !grants.contains("more") && !grants.contains("UPDATE"),
        "{grants}"
    );
    assert!(t.ok("SELECT name FROM system.users").await.contains("ben"));

    // A password that has changed where it is; and files that say nothing of it.
    password(&t, "root.txt", "another").await;
    let changed = other(apply(&t, &text, false).await.unwrap());
    assert_eq!(changed, ["Replace user root"]);
    let silent = "CREATE VIEW items AS SELECT sku FROM erp.item;
        CREATE SOURCE erp FROM 'sqlite:erp.db'; CREATE SOURCE shop FROM 'sqlite:shop.db';";
    assert_eq!(apply(&t, silent, true).await.unwrap(), ["Keep view items"]);
    assert!(
        t.ok("SELECT grantee FROM system.grants")
            .await
            .contains("sales")
    );
}

#[tokio::test]
async fn what_files_may_not_say_is_refused_and_nothing_is_done() {
    let t = Fixture::new().await;
    for (text, says) in [
        ("CREATE USER ana PASSWORD 'secret' SUPERUSER", "env:NAME"),
        ("DROP USER ana", "not what to do"),
        ("REVOKE SELECT ON erp.item FROM PUBLIC", "not what to do"),
        ("ALTER USER ana PASSWORD 'secret'", "not what to do"),
        ("CREATE ROLE a; CREATE ROLE a", "a is defined twice"),
        ("CREATE ROLE a; CREATE USER a", "a is defined twice"),
        ("CREATE ROLE a; GRANT SELECT ON nothing TO a", "nothing"),
        ("CREATE USER a", "has to be a superuser"),
    ] {
        let error = apply(&t, text, false).await.unwrap_err();
        assert!(error.starts_with("access.sql, line 1: "), "{error}");
        assert!(error.contains(says), "{text}: {error}");
        assert!(!error.contains("secret"), "{error}");
    }
    assert!(!t.ok("SELECT name FROM system.roles").await.contains("| a"));
}
