use std::borrow::Cow;

use belvedere_sql::redacted;

/// What an option's name has that is one.
const SECRET: &[&str] = &[
    "secret",
    "token",
    "password",
    "passwd",
    "credential",
    "_key",
];
const HIDDEN: &str = "…";

/// A statement's text without what may be a secret: passwords, those in URLs, and literals that stand behind `=` and a name that
/// says that it is one. Such are never written literally, and a statement that does so fails; but its text has them. References
/// (`env:…`, `file:…`) are shown.
pub fn without_secrets(sql: &str) -> Cow<'_, str> {
    let text = redacted(sql);
    let lower = text.to_ascii_lowercase();
    let may_tell = lower.contains("://") || SECRET.iter().any(|name| lower.contains(name));
    if !may_tell {
        return text;
    }
    let hidden = [in_urls(&text), behind_names(&text, &lower)].concat();
    if hidden.is_empty() {
        return text;
    }
    let mut hidden = hidden;
    hidden.sort_unstable();
    let mut shown = String::with_capacity(text.len());
    let mut from = 0;
    for (start, end) in hidden {
        if start >= from {
            shown.push_str(&text[from..start]);
            shown.push_str(HIDDEN);
        }
        // They may overlap.
        from = from.max(end);
    }
    shown.push_str(&text[from.min(text.len())..]);
    Cow::Owned(shown)
}

/// `scheme://user:HERE@host`, and what stands behind `?password=` and its like.
fn in_urls(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let ends = |c: char| c.is_whitespace() || matches!(c, '\'' | '"');
        let url = &text[start..];
        let url = &url[..url.find(ends).unwrap_or(url.len())];
        let host = url.find(['/', '?']).unwrap_or(url.len());
        // A password may have an unescaped '/' or '@': rather too much than too little.
        let at_sign = url
            .rfind('@')
            .filter(|at| *at < host || url[..*at].contains(':'));
        if let Some(at) = at_sign
            && let Some(colon) = url[..at].find(':')
        {
            found.push((start + colon + 1, start + at));
        }
        if let Some(query) = url.find('?') {
            let mut from = query + 1;
            for pair in url[query + 1..].split(['&', ';']) {
                if let Some((name, value)) = pair.split_once('=')
                    && is_secret(&name.to_ascii_lowercase())
                    && !is_reference(value)
                {
                    let value_at = start + from + name.len() + 1;
                    found.push((value_at, value_at + value.len()));
                }
                from += pair.len() + 1;
            }
        }
    }
    found
}

/// `secret_key = 'HERE'`
fn behind_names(text: &str, lower: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (at, _) in text.match_indices('=') {
        let before = lower[..at].trim_end().trim_end_matches('"');
        let name = before.rfind(|c: char| !is_of_name(c)).map_or(0, |end| {
            end + before[end..].chars().next().map_or(1, char::len_utf8)
        });
        if !is_secret(&before[name..]) {
            continue;
        }
        let behind = &text[at + 1..];
        let blanks = behind.len() - behind.trim_start().len();
        let value = &behind[blanks..];
        let Some(quote) = value.find('\'').filter(|at| *at <= 1) else {
            continue;
        };
        let inside = &value[quote + 1..];
        let end = inside.find('\'').unwrap_or(inside.len());
        if !is_reference(&inside[..end]) {
            let start = at + 1 + blanks + quote + 1;
            // Two quotes are one, and what is behind is still inside.
            let mut length = end;
            while inside[length..].starts_with("''") {
                let more = &inside[length + 2..];
                length += 2 + more.find('\'').unwrap_or(more.len());
            }
            found.push((start, start + length));
        }
    }
    found
}

fn is_secret(name: &str) -> bool {
    SECRET.iter().any(|secret| name.contains(secret))
}

fn is_reference(value: &str) -> bool {
    value.starts_with("env:") || value.starts_with("file:") || value == HIDDEN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_hidden() {
        for (sql, shown) in [
            ("SELECT 1", "SELECT 1"),
            ("CREATE USER a PASSWORD 'x'", "CREATE USER a PASSWORD '…'"),
            (
                "CREATE SOURCE s FROM 'postgres://u:s3/cret@h/db'",
                "CREATE SOURCE s FROM 'postgres://u:…@h/db'",
            ),
            (
                "CREATE SOURCE s FROM 'postgres://u@h:5432/db'",
                "CREATE SOURCE s FROM 'postgres://u@h:5432/db'",
            ),
            (
                "CREATE SOURCE s FROM 'mysql://h/db?user=u&password=x&a=b'",
                "CREATE SOURCE s FROM 'mysql://h/db?user=u&password=…&a=b'",
            ),
            (
                "CREATE SOURCE s FROM 's3://b' WITH (secret_access_key = 'it''s', region = 'eu', \"Token\"='t')",
                "CREATE SOURCE s FROM 's3://b' WITH (secret_access_key = '…', region = 'eu', \"Token\"='…')",
            ),
            (
                "ALTER SOURCE s SET (password = 'env:PW')",
                "ALTER SOURCE s SET (password = 'env:PW')",
            ),
        ] {
            assert_eq!(without_secrets(sql), shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_taken(sql in ".*") {
            without_secrets(&sql);
            without_secrets(&format!("{sql}://{sql}:{sql}@token={sql}'{sql}"));
        }
    }
}
