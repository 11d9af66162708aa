//! Definitions of CouchDB indexes in a package's `META-INF`, held to Fabric's form (`internal/ccmetadata`).

use serde_json::{Map, Value};

/// Where the definitions for public data lie.
const PUBLIC: &str = "META-INF/statedb/couchdb/indexes/";
/// Below this the definitions for a collection lie, in `<collection>/indexes/`.
const COLLECTIONS: &str = "META-INF/statedb/couchdb/collections/";

/// The only database that has indexes.
const DATABASE: &str = "couchdb";

/// A definition of an index that is none.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIndex {
    /// The file stands where no index is looked for.
    #[error("{0}")]
    Place(String),
    /// The file is no JSON object.
    #[error("Index metadata file [{0}] is not a valid JSON")]
    Json(String),
    /// The object says something else.
    #[error("Index metadata file [{file}] is not a valid index definition: {reason}")]
    Definition {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
}

/// Checks a file of a package's `META-INF`: it stands where indexes stand, and defines one.
pub fn check_metadata_file(name: &str, content: &[u8]) -> Result<(), InvalidIndex> {
    match is_index(name) {
        true => check(name, content),
        false => Err(InvalidIndex::Place(misplaced(name))),
    }
}

/// Whether a file of a package is to hold the definition of an index.
pub(crate) fn is_index(name: &str) -> bool {
    let file = match name.strip_prefix(COLLECTIONS).and_then(|rest| rest.split_once("/indexes/")) {
        Some((collection, file)) if is_collection(collection) => Some(file),
        _ => name.strip_prefix(PUBLIC),
    };
    file.is_some_and(|file| file.contains(".json"))
}

fn is_collection(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

/// What is wrong with a file's place.
fn misplaced(name: &str) -> String {
    let (directory, file) = name.rsplit_once('/').map_or(("", name), |(directory, file)| (directory, file));
    let shown = format!("{directory}/");
    if !name.starts_with("META-INF/statedb") {
        return format!("metadata file path must begin with META-INF/statedb, found: {shown}");
    }
    match directory.split('/').collect::<Vec<_>>().as_slice() {
        [] | [_] | [_, _] | [_, _, _] => {
            format!("metadata file path must include a database and index directory: {shown}")
        }
        [_, _, database, ..] if *database != DATABASE => {
            format!("database name [{database}] is not supported, valid options: [{DATABASE}]")
        }
        [_, _, _, indexes] if *indexes != "indexes" => {
            format!("metadata file path does not have an indexes directory: {shown}")
        }
        [_, _, _, collections, collection, indexes] => match () {
            () if *collections != "collections" || *indexes != "indexes" => {
                format!("metadata file path for collections must have a collections and indexes directory: {shown}")
            }
            () if !collection.starts_with(|c: char| is_collection(c.encode_utf8(&mut [0; 4]))) => {
                format!("collection name is not valid: {collection}")
            }
            () if !file.contains(".json") => format!("artifact file name is not valid: {file}"),
            () => format!("metadata file path or name is not supported: {shown}"),
        },
        _ => format!("metadata file path for collections must include a collections and index directory: {shown}"),
    }
}

/// Checks the definition of an index.
pub(crate) fn check(file: &str, content: &[u8]) -> Result<(), InvalidIndex> {
    let Ok(definition) = serde_json::from_slice::<Map<String, Value>>(content) else {
        return Err(InvalidIndex::Json(file.to_owned()));
    };
    check_definition(&definition).map_err(|reason| InvalidIndex::Definition { file: file.to_owned(), reason })
}

fn check_definition(definition: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in definition {
        match (key.as_str(), value) {
            ("index", Value::Object(index)) => check_index(index)?,
            ("index", _) => return Err("Invalid entry, \"index\" must be a JSON".to_owned()),
            ("ddoc" | "name", Value::String(_)) => {}
            ("ddoc" | "name", _) => return Err(format!("Invalid entry, \"{key}\" must be a string")),
            ("type", Value::String(kind)) if kind == "json" => {}
            ("type", _) => return Err("Index type must be json".to_owned()),
            _ => return Err(format!("Invalid Entry.  Entry {key}")),
        }
    }
    match definition.contains_key("index") {
        true => Ok(()),
        false => Err("Index definition must include a \"fields\" definition".to_owned()),
    }
}

fn check_index(index: &Map<String, Value>) -> Result<(), String> {
    for (key, value) in index {
        match (key.as_str(), value) {
            ("fields", Value::Array(fields)) => fields.iter().try_for_each(check_field)?,
            ("fields", _) => return Err("Expecting a JSON array of fields".to_owned()),
            // Fabric hands it on unseen.
            ("partial_filter_selector", _) => {}
            _ => return Err(format!("Invalid Entry.  Entry {key}")),
        }
    }
    Ok(())
}

/// A field is a name, or an object of names with their sort order.
fn check_field(field: &Value) -> Result<(), String> {
    let Value::Object(sorted) = field else { return Ok(()) };
    for order in sorted.values() {
        match order {
            Value::String(order) if matches!(order.to_lowercase().as_str(), "asc" | "desc") => {}
            Value::String(order) => {
                return Err(format!("Sort must be either \"asc\" or \"desc\".  \"{order}\" was found."));
            }
            _ => return Err("Invalid field definition, fields must be in the form \"fieldname\":\"sort\"".to_owned()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_lie_in_two_places() {
        for (name, expected) in [
            ("META-INF/statedb/couchdb/indexes/a.json", true),
            ("META-INF/statedb/couchdb/collections/coll_1/indexes/a.json", true),
            ("META-INF/statedb/couchdb/collections/coll/1/indexes/a.json", false),
            ("META-INF/statedb/couchdb/indexes/readme", false),
            ("META-INF/statedb/couchdb/a.json", false),
            ("src/META-INF/statedb/couchdb/indexes/a.json", false),
        ] {
            assert_eq!(is_index(name), expected, "{name}");
        }
    }

    #[test]
    fn a_file_in_no_place_of_indexes_is_refused_in_fabrics_words() {
        for (name, words) in [
            ("META-INF/x/a.json", "metadata file path must begin with META-INF/statedb, found: META-INF/x/"),
            (
                "META-INF/statedb/a.json",
                "metadata file path must include a database and index directory: META-INF/statedb/",
            ),
            (
                "META-INF/statedb/leveldb/indexes/a.json",
                "database name [leveldb] is not supported, valid options: [couchdb]",
            ),
            (
                "META-INF/statedb/couchdb/x/a.json",
                "metadata file path does not have an indexes directory: META-INF/statedb/couchdb/x/",
            ),
            (
                "META-INF/statedb/couchdb/collections/c/x/a.json",
                "metadata file path for collections must have a collections and indexes directory: META-INF/statedb/couchdb/collections/c/x/",
            ),
            ("META-INF/statedb/couchdb/collections/c/indexes/a", "artifact file name is not valid: a"),
        ] {
            assert_eq!(check_metadata_file(name, b"{}").unwrap_err().to_string(), words);
        }
    }

    #[test]
    fn a_wrong_definition_is_refused_in_fabrics_words() {
        let refused = |text: &str| {
            let error = check("a.json", text.as_bytes()).err()?.to_string();
            Some(error.trim_start_matches("Index metadata file [a.json] is not a valid ").to_owned())
        };
        for good in [
            r#"{"index":{"fields":["size",{"color":"DESC"}]},"ddoc":"d","name":"n","type":"json"}"#,
            r#"{"index":{"partial_filter_selector":{},"fields":[]}}"#,
        ] {
            assert_eq!(refused(good), None, "{good}");
        }
        for (text, reason) in [
            ("[]", "JSON"),
            ("{}", "index definition: Index definition must include a \"fields\" definition"),
            (r#"{"index":1}"#, "index definition: Invalid entry, \"index\" must be a JSON"),
            (r#"{"name":1}"#, "index definition: Invalid entry, \"name\" must be a string"),
            (r#"{"type":"text"}"#, "index definition: Index type must be json"),
            (r#"{"fields":[]}"#, "index definition: Invalid Entry.  Entry fields"),
            (r#"{"index":{"fields":"a"}}"#, "index definition: Expecting a JSON array of fields"),
            (r#"{"index":{"other":1}}"#, "index definition: Invalid Entry.  Entry other"),
            (
                r#"{"index":{"fields":[{"a":"up"}]}}"#,
                "index definition: Sort must be either \"asc\" or \"desc\".  \"up\" was found.",
            ),
            (
                r#"{"index":{"fields":[{"a":1}]}}"#,
                "index definition: Invalid field definition, fields must be in the form \"fieldname\":\"sort\"",
            ),
        ] {
            assert_eq!(refused(text).as_deref(), Some(reason), "{text}");
        }
    }
}
