use std::path::Path;

use insta::assert_snapshot;

use super::support::Place;

#[test]
fn a_server_answers_shells_until_it_is_told_to_end() {
    let place = Place::new();
    let server = place.serve("data");
    let ask = |sql: &str| {
        place.run(&[
            "sql",
            "--connect",
            &server.url,
            "--format",
            "csv",
            "-c",
            sql,
        ])
    };
    let shop = place.path("shop.db");
    ask(&format!(
        "CREATE SOURCE shop FROM 'sqlite://{}'",
        shop.display()
    ))
    .ok();
    assert_eq!(
        ask("SELECT sku, name FROM shop.item WHERE sku = 'b2'").ok(),
        "sku,name\nb2,東京\n"
    );
    // One command is one session.
    assert_eq!(
        ask("SET statement_timeout = '9s'; SHOW statement_timeout").ok(),
        "statement_timeout\n9000ms\n"
    );
    assert_snapshot!(ask("SELEC 1").failed(), @r"
    1: error: expected a statement, found SELEC
     1 | SELEC 1
       | ^
     help: did you mean SELECT?
    ");
    assert_snapshot!(ask("CREATE SOURCE y FROM 'sqlite:shop.db'").failed(), @"1: error: the path in 'sqlite:shop.db' is relative. Over a connection write it absolute, as the server sees it");
    assert_eq!(server.end(), Some(0));
    let count = place.run(&[
        "sql",
        "--data",
        "data",
        "--format",
        "csv",
        "-c",
        "SELECT count(*) AS n FROM shop.item",
    ]);
    assert_eq!(count.ok(), "n\n3\n");
}

#[test]
fn tls() {
    let place = Place::new();
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/flight/tls");
    let file = |name: &str| files.join(name).display().to_string();
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let server = place.serve_with("data", &["--tls-cert", &certificate, "--tls-key", &key]);
    assert!(server.url.starts_with("grpc+tls://"), "{}", server.url);
    let authority = file("ca.pem");
    let ask = |url: &str, more: &[&str]| {
        let arguments = [
            "sql",
            "--connect",
            url,
            "--format",
            "csv",
            "-c",
            "SELECT 7 AS n",
        ];
        place.run(&[&arguments, more].concat())
    };
    let url = server.url.as_str();
    assert_eq!(ask(url, &["--tls-ca", &authority]).ok(), "n\n7\n");
    let localhost = url.replace("127.0.0.1", "ana@localhost");
    assert_eq!(ask(&localhost, &["--tls-ca", &authority]).ok(), "n\n7\n");
    // An authority that is not known here, and no TLS at all.
    let said = |url: &str| {
        ask(url, &[])
            .failed()
            .replace(server.address(), "[address]")
    };
    assert_snapshot!(said(url), @r"
    75: error: cannot connect to [address]: transport error: invalid peer certificate: UnknownIssuer
     help: --tls-ca FILE names the certificate of the authority that signed the server's
    ");
    assert_snapshot!(said(&url.replace("grpc+tls", "grpc")), @r"
    1: error: the connection broke before the server had answered
     help: Is it a server with TLS? Its address is grpc+tls://…
    ");
}

#[test]
fn one_process_owns_a_data_directory() {
    let place = Place::new();
    let _server = place.serve("data");
    for command in [
        &["sql", "-c", "SELECT 1"][..],
        &["serve"],
        &["demo", "--once"],
    ] {
        let said = place.run(&[command, &["--data", "data"]].concat()).failed();
        assert!(
            said.starts_with("1: error: the data directory data is in use by another process"),
            "{said}"
        );
        assert!(said.contains("belvedere sql --connect grpc://"), "{said}");
    }
}

#[test]
fn an_address_that_cannot_be_had_names_its_flag() {
    let place = Place::new();
    let server = place.serve("data");
    let taken = place
        .run(&["serve", "--data", "other", "--flight", server.address()])
        .failed();
    assert_snapshot!(taken.replace(server.address(), "[address]"), @"2: error: the address [address] is taken by another process. --flight HOST:PORT takes another one");
    assert_snapshot!(place.run(&["serve", "--data", "other", "--flight", "0.0.0.0:0"]).failed(), @"2: error: 0.0.0.0:0 is not on this machine's loopback, and no users are defined: everybody who reaches it would be the administrator. --insecure serves it all the same");
    let http = [
        "serve",
        "--data",
        "other",
        "--flight",
        "127.0.0.1:0",
        "--postgres",
        "127.0.0.1:0",
        "--http",
    ];
    let taken = place
        .run(&[&http[..], &[server.address()]].concat())
        .failed();
    assert_snapshot!(taken.replace(server.address(), "[address]"), @"2: error: the address [address] is taken by another process. --http HOST:PORT takes another one");
    let exposed = place.run(&[&http[..], &["0.0.0.0:0"]].concat()).failed();
    assert!(
        exposed.contains("--insecure serves it all the same"),
        "{exposed}"
    );
}
