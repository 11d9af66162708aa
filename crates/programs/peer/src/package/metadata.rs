//! What may stand in a package's `META-INF`: definitions of indexes (Fabric: `internal/ccmetadata`).

use anyhow::{anyhow, bail};
use serde_json::{Map, Value};

/// The only database that has indexes.
const DATABASE: &str = "couchdb";

/// Checks a file by its name in the package and its content.
pub(super) fn check(name: &str, content: &[u8]) -> anyhow::Result<()> {
    if !is_index(name) {
        bail!(misplaced(name));
    }
    let definition: Map<String, Value> =
        serde_json::from_slice(content).map_err(|_| anyhow!("Index metadata file [{name}] is not a valid JSON"))?;
    check_index(&definition)
        .map_err(|problem| anyhow!("Index metadata file [{name}] is not a valid index definition: {problem}"))
}

/// Whether a file stands where the indexes of a chaincode or of one of its collections stand.
fn is_index(name: &str) -> bool {
    let Some(below) = name.strip_prefix("META-INF/statedb/couchdb/") else { return false };
    let file = match below.strip_prefix("collections/") {
        Some(below) => below.split_once('/').filter(|(name, _)| is_collection(name)).map(|(_, below)| below),
        None => Some(below),
    };
    let file = file.and_then(|below| below.strip_prefix("indexes/"));
    file.is_some_and(|file| file.contains(".json"))
}

fn is_collection(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
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

fn check_index(definition: &Map<String, Value>) -> Result<(), String> {
    for (member, value) in definition {
        match member.as_str() {
            "index" => check_fields(value.as_object().ok_or("Invalid entry, \"index\" must be a JSON")?)?,
            "ddoc" | "name" if !value.is_string() => {
                return Err(format!("Invalid entry, \"{member}\" must be a string"));
            }
            "ddoc" | "name" => {}
            "type" if value != "json" => return Err("Index type must be json".to_owned()),
            "type" => {}
            _ => return Err(format!("Invalid Entry.  Entry {member}")),
        }
    }
    match definition.contains_key("index") {
        true => Ok(()),
        false => Err("Index definition must include a \"fields\" definition".to_owned()),
    }
}

fn check_fields(index: &Map<String, Value>) -> Result<(), String> {
    for (member, value) in index {
        match member.as_str() {
            "fields" => {
                let fields = value.as_array().ok_or("Expecting a JSON array of fields")?;
                fields.iter().filter_map(Value::as_object).try_for_each(check_orders)?;
            }
            "partial_filter_selector" => {}
            _ => return Err(format!("Invalid Entry.  Entry {member}")),
        }
    }
    Ok(())
}

fn check_orders(field: &Map<String, Value>) -> Result<(), String> {
    for order in field.values() {
        let order =
            order.as_str().ok_or("Invalid field definition, fields must be in the form \"fieldname\":\"sort\"")?;
        if !matches!(order.to_lowercase().as_str(), "asc" | "desc") {
            return Err(format!("Sort must be either \"asc\" or \"desc\".  \"{order}\" was found."));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_stand_in_their_place_and_define_something() {
        let index = br#"{"index":{"fields":["a",{"b":"Desc"}]},"ddoc":"d","name":"n","type":"json"}"#;
        for name in
            ["META-INF/statedb/couchdb/indexes/a.json", "META-INF/statedb/couchdb/collections/private_1/indexes/a.json"]
        {
            check(name, index).unwrap();
        }
        let place = "META-INF/statedb/couchdb/indexes/a.json";
        for (name, content, words) in [
            (
                "META-INF/x/a.json",
                index.as_slice(),
                "metadata file path must begin with META-INF/statedb, found: META-INF/x/",
            ),
            (
                "META-INF/statedb/a.json",
                index,
                "metadata file path must include a database and index directory: META-INF/statedb/",
            ),
            (
                "META-INF/statedb/leveldb/indexes/a.json",
                index,
                "database name [leveldb] is not supported, valid options: [couchdb]",
            ),
            (
                "META-INF/statedb/couchdb/x/a.json",
                index,
                "metadata file path does not have an indexes directory: META-INF/statedb/couchdb/x/",
            ),
            (place, b"[", "Index metadata file [META-INF/statedb/couchdb/indexes/a.json] is not a valid JSON"),
            (place, b"{}", "Index definition must include a \"fields\" definition"),
            (
                place,
                br#"{"index":{"fields":[{"a":"up"}]}}"#,
                "Sort must be either \"asc\" or \"desc\".  \"up\" was found.",
            ),
            (place, br#"{"index":{"fields":1}}"#, "Expecting a JSON array of fields"),
            (place, br#"{"index":{},"x":1}"#, "Invalid Entry.  Entry x"),
        ] {
            let error = check(name, content).unwrap_err().to_string();
            assert!(error.ends_with(words), "{error}");
        }
    }
}
