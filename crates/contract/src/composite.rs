use crate::{Error, Result};

/// The first character of every composite key, and the separator.
const MIN: char = '\u{0}';
/// The last character there is; ranges over a prefix end with it.
const MAX: char = '\u{10ffff}';

/// Joins attributes to a key that sorts by type, then by attribute. Ranges over simple keys never meet composite keys.
///
/// Fails when a part contains U+0000 or U+10FFFF.
pub fn composite_key(object_type: &str, attributes: &[&str]) -> Result<String> {
    let mut key = String::from(MIN);
    for part in std::iter::once(&object_type).chain(attributes) {
        if let Some((index, character)) = part.char_indices().find(|(_, c)| matches!(*c, MIN | MAX)) {
            return Err(Error::new(format!(
                "input contains unicode {character:?} starting at position [{index}]. U+0000 and U+10FFFF are not \
                 allowed in the input attribute of a composite key"
            )));
        }
        key.push_str(part);
        key.push(MIN);
    }
    Ok(key)
}

/// Takes a composite key apart again: the type and the attributes.
pub fn split_composite_key(key: &str) -> Result<(String, Vec<String>)> {
    let parts = key.strip_prefix(MIN).and_then(|rest| rest.strip_suffix(MIN));
    let mut parts = parts.ok_or_else(|| Error::new(format!("{key:?} is no composite key")))?.split(MIN);
    let object_type = parts.next().unwrap_or_default().to_owned();
    Ok((object_type, parts.map(str::to_owned).collect()))
}

/// The range of all composite keys that begin with these parts.
pub(crate) fn composite_range(object_type: &str, attributes: &[&str]) -> Result<(String, String)> {
    let start = composite_key(object_type, attributes)?;
    let end = format!("{start}{MAX}");
    Ok((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn composite_keys_come_apart_again() {
        let key = composite_key("colour~name", &["blue", "a1"]).unwrap();
        assert_eq!(key, "\0colour~name\0blue\0a1\0");
        assert_eq!(
            split_composite_key(&key).unwrap(),
            ("colour~name".to_owned(), vec!["blue".to_owned(), "a1".to_owned()])
        );
        assert_eq!(split_composite_key(&composite_key("t", &[]).unwrap()).unwrap(), ("t".to_owned(), vec![]));
        assert!(composite_key("t", &["a\0b"]).is_err());
        assert!(split_composite_key("plain").is_err());
        assert_eq!(composite_range("t", &["a"]).unwrap(), ("\0t\0a\0".to_owned(), "\0t\0a\0\u{10ffff}".to_owned()));
    }
}
