//! Encrypted connections, against a server with a certificate of an authority of our own.

mod support;

use std::path::Path;
use std::process::{Command, Stdio};

use belvedere_connector::Code;
use support::{Server, assert_code, read, scan, table};

/// An authority and a certificate for 127.0.0.1, made by `openssl`.
fn certificates(folder: &Path) {
    let run = |args: &str| {
        let done = Command::new("openssl")
            .args(args.split(' '))
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("openssl is installed");
        assert!(done.success(), "openssl {args}");
    };
    run(
        "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=authority -keyout ca.key -out ca.pem",
    );
    run("req -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -keyout leaf.key -out leaf.csr");
    std::fs::write(
        folder.join("leaf.ext"),
        "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n",
    )
    .expect("a file");
    run(
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile leaf.ext -out leaf.pem",
    );
    run(
        "req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=stranger -keyout other.key -out other.pem",
    );
    run("pkcs8 -topk8 -nocrypt -in leaf.key -out key.pem");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(
        folder.join("key.pem"),
        std::fs::Permissions::from_mode(0o644),
    )
    .expect("permissions");
}

#[tokio::test]
async fn tls() {
    let mut server = Server::start().await;
    if !server.is_own() {
        eprintln!("the server of BELVEDERE_TEST_MYSQL cannot be given a certificate");
        return;
    }
    server
        .database(
            "t",
            &["CREATE TABLE t (id INT)", "INSERT INTO t VALUES (1)"],
        )
        .await;
    // Without TLS at the server.
    let error = server
        .source("t", &[("ssl_mode", "require")])
        .discover()
        .await
        .unwrap_err();
    assert!(
        matches!(error.code, Code::Authentication | Code::Unreachable),
        "{error}"
    );

    let folder = server.folder().to_path_buf();
    certificates(&folder);
    let path = |name: &str| folder.join(name).display().to_string();
    server.kill();
    server
        .launch_with(&[
            format!("--ssl-ca={}", path("ca.pem")),
            format!("--ssl-cert={}", path("leaf.pem")),
            format!("--ssl-key={}", path("key.pem")),
        ])
        .await;
    // Only encrypted connections.
    server
        .database(
            "u",
            &[
                "CREATE OR REPLACE USER ana@'%' REQUIRE SSL",
                "CREATE OR REPLACE USER ana@'localhost' REQUIRE SSL",
                "GRANT SELECT ON t.* TO ana@'%'",
                "GRANT SELECT ON t.* TO ana@'localhost'",
            ],
        )
        .await;
    let (ours, strange) = (path("ca.pem"), path("other.pem"));
    for options in [
        &[][..],
        &[("ssl_mode", "require")],
        &[
            ("ssl_mode", "verify-full"),
            ("ssl_root_cert", ours.as_str()),
        ],
    ] {
        let source = server.source_as("ana", "t", options);
        let t = table(&source, "t").await;
        assert_eq!(
            read(&source, scan(&t, &[])).await.unwrap()[0].num_rows(),
            1,
            "{options:?}"
        );
    }
    for options in [
        &[("ssl_mode", "verify-full")][..],
        &[
            ("ssl_mode", "verify-full"),
            ("ssl_root_cert", strange.as_str()),
        ],
    ] {
        let error = server
            .source_as("ana", "t", options)
            .discover()
            .await
            .unwrap_err();
        assert_code(&error, Code::Unreachable);
        assert!(error.to_string().contains("TLS"), "{error}");
    }
    let error = server
        .source_as("ana", "t", &[("ssl_mode", "disable")])
        .discover()
        .await
        .unwrap_err();
    assert_code(&error, Code::Authentication);
}
