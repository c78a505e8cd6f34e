use insta::assert_snapshot;

use super::support::Place;

/// A folder of definitions; the source's path is relative to its file.
fn defined() -> Place {
    let place = Place::new();
    std::fs::create_dir_all(place.path("defs/sources")).unwrap();
    std::fs::copy(place.path("shop.db"), place.path("defs/sources/shop.db")).unwrap();
    // The view's file is read before its source's.
    place.write(
        "defs/a.sql",
        "CREATE VIEW items AS SELECT count(*) AS n FROM shop.item;\nCREATE SCHEMA sales;\n",
    );
    place.write(
        "defs/sources/shop.sql",
        "CREATE SOURCE shop FROM 'sqlite:shop.db'\n  WITH (owner = 'o', contact = 'c', event = 'e', impact = 'i', runbook = 'r');",
    );
    place
}

#[test]
fn what_runs_becomes_what_the_files_say() {
    let place = defined();
    let apply = ["apply", "defs", "--data", "data"];
    assert_snapshot!(place.run(&["check", "defs"]).ok(), @r"
    + schema sales
    + source shop
    + view items
    3 created, 0 replaced, 0 dropped, 0 as they were: valid; nothing was changed
    ");
    assert_snapshot!(place.run(&apply).ok(), @r"
    + schema sales
    + source shop
    + view items
    3 created, 0 replaced, 0 dropped, 0 as they were: applied
    ");
    assert_snapshot!(place.run(&apply).ok(), @"0 created, 0 replaced, 0 dropped, 3 as they were: applied");
    let count = [
        "sql",
        "--data",
        "data",
        "--format",
        "csv",
        "-c",
        "SELECT * FROM items",
    ];
    assert_eq!(place.run(&count).ok(), "n\n3\n");

    // A failure changes nothing.
    place.write("defs/a.sql", "CREATE VIEW first AS SELECT 1 AS one;\nCREATE VIEW items AS SELECT max(prize) AS n FROM shop.item;\n");
    assert_snapshot!(place.run(&apply).failed(), @"1: error: a.sql, line 2: No field named prize. Did you mean 'shop.item.price'? Valid fields are shop.item.sku, shop.item.name, shop.item.price, shop.item.added");
    assert_eq!(place.run(&count).ok(), "n\n3\n");

    // What no file defines goes only with --prune.
    place.write(
        "defs/a.sql",
        "CREATE VIEW items AS SELECT max(price) AS n FROM shop.item;\n",
    );
    assert_snapshot!(place.run(&apply).ok(), @r"
    ~ view items
    ? schema sales: no file defines it (--prune drops it)
    0 created, 1 replaced, 0 dropped, 1 as they were: applied
    ");
    assert_snapshot!(place.run(&[&apply[..], &["--prune"]].concat()).ok(), @r"
    - schema sales
    0 created, 0 replaced, 1 dropped, 2 as they were: applied
    ");
    assert_eq!(place.run(&count).ok(), "n\n12.50\n");
}

#[test]
fn strict_lists_what_nobody_answers_for() {
    let place = defined();
    let said = place.run(&["check", "defs", "--strict"]);
    assert!(
        said.out
            .contains("! view items: has no owner, contact, event, impact, runbook\n"),
        "{}",
        said.out
    );
    assert!(!said.out.contains("! source shop"), "{}", said.out);
    assert_snapshot!(said.failed(), @"1: error: 1 definitions lack what --strict asks for");
}

#[test]
fn over_a_connection_paths_are_the_servers() {
    let place = defined();
    let server = place.serve("data");
    let apply = ["apply", "defs", "--connect", &server.url];
    assert_snapshot!(place.run(&apply).failed(), @"1: error: sources/shop.sql, line 1: the path in 'sqlite:shop.db' is relative. Over a connection write it absolute, as the server sees it");
    let shop = place.path("shop.db");
    place.write(
        "defs/sources/shop.sql",
        &format!("CREATE SOURCE shop FROM 'sqlite://{}'", shop.display()),
    );
    assert!(
        place
            .run(&["check", "defs", "--connect", &server.url])
            .ok()
            .contains("3 created")
    );
    assert!(place.run(&apply).ok().contains("3 created"));
    assert!(place.run(&apply).ok().contains("3 as they were"));
}

#[test]
fn files_that_say_nothing_to_do() {
    let place = Place::new();
    let apply = |file: &str| place.run(&["apply", file, "--data", "data"]).failed();
    place.write("empty/readme.md", "");
    assert_snapshot!(apply("none"), @"2: error: none cannot be read: No such file or directory (os error 2)");
    assert_snapshot!(apply("empty"), @"2: error: empty holds no *.sql file");
    place.write("x.sql", "CREATE VEW x AS SELECT 1");
    assert_snapshot!(apply("x.sql"), @"1: error: x.sql, line 1: expected SOURCE, VIEW, SCHEMA, MATERIALIZED, INDEX, USER, ROLE, POLICY or MASK, found VEW (line 1, column 8); did you mean VIEW?");
    place.write("y.sql", "SELECT 1");
    assert_snapshot!(apply("y.sql"), @"1: error: y.sql, line 1: a file of definitions holds what should be, not what to do. It may hold CREATE SOURCE, SCHEMA, VIEW and INDEX, ALTER SOURCE … OWNS, COMMENT ON, CREATE USER and ROLE, ALTER USER and ROLE … SET, GRANT, CREATE POLICY and MASK");
    assert_snapshot!(place.run(&["apply", "x.sql"]).failed(), @r"
    2: error: apply needs to know where
     help: Add --data DIR or --connect URL; belvedere check validates without either
    ");
}
