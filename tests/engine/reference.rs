use crate::fixture::Fixture;

/// The statements in the ```sql blocks of a Markdown text.
fn examples(markdown: &str) -> Vec<String> {
    let mut statements = vec![String::new()];
    let mut inside = false;
    for line in markdown.lines() {
        match line {
            "```sql" => inside = true,
            "```" => inside = false,
            line if inside => {
                let (text, ended) = match line.strip_suffix(';') {
                    Some(text) => (text, true),
                    None => (line, false),
                };
                if let Some(statement) = statements.last_mut() {
                    statement.push_str(text);
                    statement.push('\n');
                }
                if ended {
                    statements.push(String::new());
                }
            }
            _ => {}
        }
    }
    let rest = statements.pop();
    assert_eq!(
        rest.as_deref(),
        Some(""),
        "an example does not end with a semicolon"
    );
    statements
}

#[tokio::test]
async fn every_example_of_the_reference_runs() {
    let t = Fixture::empty().await;
    let statements = examples(include_str!("../../docs/sql.md"));
    assert!(statements.len() > 40, "{}", statements.len());
    for sql in statements {
        t.ok(&sql).await;
    }
}
