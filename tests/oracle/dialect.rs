//! One text in two dialects: the engine's, and DuckDB's, which is asked for a third opinion.
//!
//! Most of a query reads the same in both. Where it does not, [`either`] holds both texts; where no text of DuckDB's means
//! what the engine's does, [`ours_alone`] says why, and the query gets no third opinion. Both may be nested.

/// Characters for private use: no query has them.
const OURS: char = '\u{e000}';
const THEIRS: char = '\u{e001}';
const END: char = '\u{e002}';
const DEVIATES: char = '\u{e003}';

pub fn either(ours: &str, theirs: &str) -> String {
    format!("{OURS}{ours}{THEIRS}{theirs}{END}")
}

pub fn ours_alone(ours: &str, why: &'static str) -> String {
    either(ours, &format!("{DEVIATES}{why}{DEVIATES}"))
}

pub fn ours(text: &str) -> String {
    one(text, true)
}

/// Or why there is none.
pub fn theirs(text: &str) -> Result<String, String> {
    let text = one(text, false);
    match text.split(DEVIATES).nth(1) {
        Some(why) => Err(why.into()),
        None => Ok(text),
    }
}

fn one(text: &str, ours: bool) -> String {
    let mut kept = String::new();
    // Of each `either` around: whether the text is in the half that is kept.
    let mut around = Vec::new();
    for c in text.chars() {
        match c {
            OURS => around.push(ours),
            THEIRS => {
                if let Some(half) = around.last_mut() {
                    *half = !ours;
                }
            }
            END => {
                around.pop();
            }
            c if around.iter().all(|half| *half) => kept.push(c),
            _ => {}
        }
    }
    kept
}
