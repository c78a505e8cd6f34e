use std::process::Stdio;

use serde_json::json;

use super::support::{Server, root};

/// The examples of docs/http.md, each in a shell of its own: what is below `$ ` is what it answers.
#[tokio::test]
async fn examples_answer_what_the_document_says() {
    if std::process::Command::new("curl")
        .arg("--version")
        .stdout(Stdio::null())
        .status()
        .is_err()
    {
        println!("not shown: there is no curl");
        return;
    }
    let server = Server::start().await;
    server
        .shop()
        .execute_batch(
            "CREATE TABLE stock (sku TEXT NOT NULL, site TEXT NOT NULL, free INTEGER, price DECIMAL(10, 2), PRIMARY KEY (sku, site));
             INSERT INTO stock VALUES ('FA-1', 'berlin', 12, 1.5), ('FA-1', 'wien', 0, 1.5), ('FA-2', 'berlin', 7, 20), ('FA-3', 'wien', 3, 4.25);",
        )
        .unwrap();
    let view = "CREATE MATERIALIZED VIEW stock_available WITH (refresh = 'on change', key = 'sku, site', wait = true)
                AS SELECT sku, site, free FROM shop.stock";
    let said = server
        .post("/v1/sql", &json!({ "sql": "REFRESH SOURCE shop" }))
        .await;
    assert_eq!(said.status, 200, "{}", said.text());
    let said = server.sql(view).await;
    assert_eq!(said.status, 200, "{}", said.text());
    let text = std::fs::read_to_string(root().join("docs/http.md")).unwrap();
    let mut examples = 0;
    for block in text.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap();
        for example in block.split("$ ").skip(1) {
            // A command goes on while its lines end with a backslash.
            let mut lines = example.lines();
            let mut command = String::new();
            for line in lines.by_ref() {
                command += line;
                command.push('\n');
                if !line.ends_with('\\') {
                    break;
                }
            }
            let expected: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
            let command = command.replace("http://127.0.0.1:8080", &server.url(""));
            let mut run = std::process::Command::new("sh");
            run.arg("-c").arg(&command);
            let run = tokio::task::spawn_blocking(move || run.output());
            let output = run.await.unwrap().unwrap();
            let answered = String::from_utf8(output.stdout).unwrap();
            let answered: Vec<&str> = answered
                .lines()
                .map(str::trim_end)
                .filter(|line| !line.is_empty())
                .collect();
            assert_eq!(answered, expected, "{command}");
            examples += 1;
        }
    }
    assert!(examples >= 6, "{examples}");
}
