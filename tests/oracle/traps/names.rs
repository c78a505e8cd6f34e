//! The table of traps in the documentation names tests that are there.

const TABLE: &str = include_str!("../../../docs/exactness.md");
const FILES: &[(&str, &str)] = &[
    ("text", include_str!("text.rs")),
    ("numbers", include_str!("numbers.rs")),
    ("times", include_str!("times.rs")),
    ("types", include_str!("types.rs")),
];

/// `FILE::SYSTEM::NAME`, or `FILE::NAME`, is a test of `traps`; `FILE.rs::NAME` one of another file.
#[test]
fn the_table_names_tests() {
    let mut named = 0;
    for name in TABLE
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|name| name.contains("::") && !name.contains(' '))
    {
        let found = match name.split("::").collect::<Vec<_>>()[..] {
            [file, name] if file.ends_with(".rs") => {
                let root = env!("CARGO_MANIFEST_DIR");
                let text = std::fs::read_to_string(format!("{root}/{file}"));
                text.is_ok_and(|text| text.contains(&format!("fn {name}(")))
            }
            [file, system, name] => {
                text(file).is_some_and(|text| of(text, system).contains(&format!(" {name}: ")))
            }
            [file, name] => text(file).is_some_and(|text| text.contains(&format!("fn {name}("))),
            _ => false,
        };
        assert!(found, "{name} in docs/exactness.md is no test");
        named += 1;
    }
    assert!(named > 80, "the table has {named} names");
}

fn text(file: &str) -> Option<&'static str> {
    FILES
        .iter()
        .find(|(name, _)| *name == file)
        .map(|(_, text)| *text)
}

/// The part of a file about one system.
fn of<'a>(text: &'a str, system: &str) -> &'a str {
    let start = text
        .find(&format!("    {system} {{\n"))
        .unwrap_or(text.len());
    let part = &text[start..];
    &part[..part.find("\n    }\n").unwrap_or(part.len())]
}
