//! What may have been meant by the name of a function that there is not.

use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::execution::SessionStateDefaults;

/// DataFusion's message with another guess than its own, which is one of those that are equally far, however far: the nearest by name, if
/// it is near. None: the message says something else.
pub(crate) fn unknown_function(message: &str) -> Option<String> {
    let name = message.strip_prefix("Invalid function '")?;
    let (name, _) = name.split_once("'.\nDid you mean ")?;
    let said = format!("Invalid function '{name}'");
    Some(match nearest(name) {
        Some(near) => format!("{said}. Did you mean '{near}'?"),
        None => said,
    })
}

fn nearest(name: &str) -> Option<String> {
    let scalar = SessionStateDefaults::default_scalar_functions();
    let aggregate = SessionStateDefaults::default_aggregate_functions();
    let window = SessionStateDefaults::default_window_functions();
    let scalar = scalar.iter().map(|f| (f.name(), f.aliases()));
    let aggregate = aggregate.iter().map(|f| (f.name(), f.aliases()));
    let window = window.iter().map(|f| (f.name(), f.aliases()));
    let names = scalar
        .chain(aggregate)
        .chain(window)
        .flat_map(|(name, aliases)| {
            let aliases = aliases.iter().map(String::as_str);
            std::iter::once(name).chain(aliases)
        });
    let lower = name.to_lowercase();
    names
        .map(|near| (levenshtein(&lower, near), near))
        .filter(|(distance, _)| (1..=1.max(name.len() / 3)).contains(distance))
        .min()
        .map(|(_, near)| near.to_string())
}

#[cfg(test)]
mod tests {
    use super::unknown_function;

    #[test]
    fn only_what_is_near_is_meant() {
        let of = |name: &str| {
            let message = format!("Invalid function '{name}'.\nDid you mean 'row'?");
            unknown_function(&message).unwrap()
        };
        assert_eq!(of("foo"), "Invalid function 'foo'");
        assert_eq!(of("uper"), "Invalid function 'uper'. Did you mean 'upper'?");
        assert_eq!(
            of("substrng"),
            "Invalid function 'substrng'. Did you mean 'substring'?"
        );
        assert_eq!(unknown_function("something else"), None);
    }
}
