//! What an error of DataFusion's planner is, which says so in its text alone.

/// What the text has, and the SQLSTATE that PostgreSQL would give.
const STATES: &[(&str, &str)] = &[
    ("No field named", "42703"),
    ("Ambiguous reference", "42702"),
    ("Invalid function", "42883"),
    ("No function matches", "42883"),
    ("must be in GROUP BY", "42803"),
    ("must appear in the GROUP BY", "42803"),
    ("Order by column out of bounds", "42P10"),
    ("Cannot find column with position", "42P10"),
    ("non-boolean predicate", "42804"),
    ("Inconsistent data length across values list", "42601"),
    ("Column count doesn't match insert query", "42601"),
];

/// What a name stands behind, and what it ends with.
const NAMES: &[(&str, &str)] = &[
    ("No field named ", ". "),
    ("Ambiguous reference to unqualified field ", ". "),
    ("Ambiguous reference to qualified field ", ". "),
    ("Invalid function '", "'"),
    ("column \"", "\" must appear"),
];

pub(super) fn sqlstate(message: &str) -> &'static str {
    let known = STATES.iter().find(|(text, _)| message.contains(*text));
    known.map_or("42000", |(_, state)| state)
}

/// The name of a column or a function, in quotes where it needs them.
pub(super) fn about(message: &str) -> Option<&str> {
    NAMES.iter().find_map(|(before, end)| {
        let (_, rest) = message.split_once(*before)?;
        Some(rest.split(*end).next().unwrap_or(rest))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_planner_are_told_apart() {
        for (message, state, name) in [
            (
                "No field named a.nope. Did you mean 'a.id'?",
                "42703",
                Some("a.nope"),
            ),
            ("No field named nope", "42703", Some("nope")),
            (
                "Ambiguous reference to unqualified field id",
                "42702",
                Some("id"),
            ),
            (
                "Invalid function 'nosuch'. Did you mean 'cosh'?",
                "42883",
                Some("nosuch"),
            ),
            (
                "Column in SELECT must be in GROUP BY or an aggregate function: While expanding wildcard, column \"t.name\" must appear in the GROUP BY clause",
                "42803",
                Some("t.name"),
            ),
            (
                "Order by column out of bounds, specified: 5, max: 1",
                "42P10",
                None,
            ),
            ("something else", "42000", None),
        ] {
            assert_eq!(
                (sqlstate(message), about(message)),
                (state, name),
                "{message}"
            );
        }
    }
}
