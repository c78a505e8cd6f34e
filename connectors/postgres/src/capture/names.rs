use belvedere_connector::{Code, Error, Result, SourceConfig};

/// What PostgreSQL cuts names at.
const MOST_BYTES: usize = 63;

/// The slot and the publication of a source.
#[derive(Debug, Clone)]
pub struct Names {
    pub slot: Name,
    pub publication: Name,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub text: String,
    /// Made by us when needed, and removed by us. Else it was given.
    pub is_ours: bool,
}

impl Names {
    pub fn new(config: &SourceConfig) -> Result<Self> {
        let ours = derived(&config.name);
        let name = |option: &str| match config.option(option) {
            Some(text) => Name {
                text: text.to_string(),
                is_ours: false,
            },
            None => Name {
                text: ours.clone(),
                is_ours: true,
            },
        };
        let names = Self {
            slot: name("slot"),
            publication: name("publication"),
        };
        // It becomes part of a command that knows no quotes.
        let slot = &names.slot.text;
        let is_plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
        if slot.is_empty() || slot.len() > MOST_BYTES || !slot.bytes().all(is_plain) {
            let message = "slot is a name of up to 63 of a-z, 0-9 and _, as PostgreSQL has them";
            return Err(Error::new(Code::InvalidOption, message));
        }
        let publication = &names.publication.text;
        if publication.is_empty() || publication.len() > MOST_BYTES || publication.contains('\0') {
            let message = "publication is a name of up to 63 bytes";
            return Err(Error::new(Code::InvalidOption, message));
        }
        Ok(names)
    }
}

/// `belvedere_` and the source's name. Where that is no slot's name, with a hash of it: names that differ stay different.
fn derived(source: &str) -> String {
    let is_plain = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_');
    let name = format!("belvedere_{source}");
    if name.len() <= MOST_BYTES && name.chars().all(is_plain) {
        return name;
    }
    let plain = name.chars().map(|c| match c.to_ascii_lowercase() {
        c if is_plain(c) => c,
        _ => '_',
    });
    let cut: String = plain.take(MOST_BYTES - 9).collect();
    // FNV-1a: it has to be the same in every version.
    let hash = source.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{cut}_{hash:08x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_a_slot_of_its_own() {
        assert_eq!(derived("erp"), "belvedere_erp");
        let odd = [
            "ERP",
            "e-rp",
            "e.rp",
            "größe",
            &"x".repeat(80),
            &"x".repeat(81),
        ];
        let names: std::collections::BTreeSet<_> = odd.iter().map(|name| derived(name)).collect();
        assert_eq!(names.len(), odd.len());
        for name in names {
            assert!(name.len() <= MOST_BYTES, "{name}");
            assert!(name.starts_with("belvedere_"), "{name}");
            assert!(
                name.bytes()
                    .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_'))
            );
        }
    }
}
