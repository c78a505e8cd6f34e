use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use belvedere_connector::{Code, Connector, Result, SourceConfig};
use belvedere_postgres::PostgresConnector;

use crate::server::Server;

fn openssl(folder: &Path, args: &str) {
    let status = Command::new("openssl")
        .args(args.split(' '))
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()
        .expect("openssl");
    assert!(status.success(), "openssl {args}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_checks_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    for ca in ["ca", "other"] {
        openssl(
            folder.path(),
            &format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem"
            ),
        );
    }
    openssl(
        folder.path(),
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout leaf.key -out leaf.csr",
    );
    std::fs::write(
        at("leaf.ext"),
        "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    openssl(
        folder.path(),
        "x509 -req -in leaf.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile leaf.ext -out leaf.pem",
    );
    let server = Arc::new(Server::private());
    server.enable_tls(&at("leaf.pem"), &at("leaf.key"));

    let port = server.port;
    let discover = async |host: &str, mode: &str, ca: Option<&str>| -> Result<()> {
        let mut options =
            std::collections::BTreeMap::from([("sslmode".to_string(), mode.to_string())]);
        if let Some(ca) = ca {
            options.insert("ssl_root_cert".into(), at(ca).display().to_string());
        }
        let source = PostgresConnector.open(SourceConfig {
            name: "erp".into(),
            url: format!("postgres://postgres@{host}:{port}/postgres"),
            options,
            limits: belvedere_connector::Limits::default(),
        })?;
        source.discover().await?;
        if ca.is_some() && host != "localhost" {
            return Ok(());
        }
        // By the replication protocol, too, which checks the name wherever it checks the authority.
        source.snapshot(&[]).await?;
        source.release().await
    };
    for (host, mode, ca) in [
        ("127.0.0.1", "disable", None),
        ("127.0.0.1", "prefer", None),
        ("127.0.0.1", "require", None),
        ("127.0.0.1", "require", Some("ca.pem")),
        ("127.0.0.1", "verify-ca", Some("ca.pem")),
        ("localhost", "verify-ca", Some("ca.pem")),
        ("localhost", "verify-full", Some("ca.pem")),
    ] {
        let result = discover(host, mode, ca).await;
        assert!(result.is_ok(), "{mode}: {result:?}");
    }
    for (host, mode, ca) in [
        ("127.0.0.1", "verify-full", Some("ca.pem")),
        ("localhost", "verify-full", Some("other.pem")),
        ("127.0.0.1", "verify-ca", Some("other.pem")),
        ("127.0.0.1", "require", Some("other.pem")),
    ] {
        let e = discover(host, mode, ca).await.unwrap_err();
        assert_eq!(e.code, Code::Unreachable, "{mode}");
        assert!(e.to_string().contains("certificate"), "{e}");
    }
    let e = discover("localhost", "verify-full", Some("none.pem"))
        .await
        .unwrap_err();
    assert_eq!(e.code, Code::InvalidOption);
    let e = discover("localhost", "verify-full", Some("leaf.key"))
        .await
        .unwrap_err();
    assert_eq!(e.code, Code::InvalidOption);
}
