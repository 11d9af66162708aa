//! The asset-transfer sample contract.
//!
//! What question this crate answers: *what does a contract look like?* Functions, arguments and JSON are those of Fabric's
//! `asset-transfer-basic` sample, so its clients work unchanged. The fields of [`Asset`] are in alphabetical order, as the
//! samples in other languages write them, so that all of them leave the same bytes in the state.
//!
//! Absent: any check of who may do what; it is a sample.

use ripstop_contract::{Context, Contract, Error, Result};
use serde::{Deserialize, Serialize};

/// A thing that somebody owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Asset {
    /// What it is worth.
    pub appraised_value: i64,
    /// Its colour.
    pub color: String,
    /// Its key in the state.
    #[serde(rename = "ID")]
    pub id: String,
    /// Who owns it.
    pub owner: String,
    /// How big it is.
    pub size: i64,
}

/// The contract with all its functions.
pub fn contract() -> Contract {
    Contract::new("asset-transfer")
        .function("InitLedger", init_ledger)
        .function("CreateAsset", create_asset)
        .function("ReadAsset", read_asset)
        .function("UpdateAsset", update_asset)
        .function("DeleteAsset", delete_asset)
        .function("AssetExists", asset_exists)
        .function("TransferAsset", transfer_asset)
        .function("GetAllAssets", get_all_assets)
}

fn init_ledger(ctx: &Context) -> Result<()> {
    let assets = [
        ("asset1", "blue", 5, "Tomoko", 300),
        ("asset2", "red", 5, "Brad", 400),
        ("asset3", "green", 10, "Jin Soo", 500),
        ("asset4", "yellow", 10, "Max", 600),
        ("asset5", "black", 15, "Adriana", 700),
        ("asset6", "white", 15, "Michel", 800),
    ];
    assets.into_iter().try_for_each(|(id, color, size, owner, appraised_value)| {
        put(ctx, &Asset { appraised_value, color: color.into(), id: id.into(), owner: owner.into(), size })
    })
}

fn create_asset(
    ctx: &Context,
    id: String,
    color: String,
    size: i64,
    owner: String,
    appraised_value: i64,
) -> Result<()> {
    if ctx.exists(&id)? {
        return Err(Error::new(format!("the asset {id} already exists")));
    }
    put(ctx, &Asset { appraised_value, color, id, owner, size })
}

fn read_asset(ctx: &Context, id: String) -> Result<Asset> {
    ctx.get_json(&id)?.ok_or_else(|| unknown(&id))
}

fn update_asset(
    ctx: &Context,
    id: String,
    color: String,
    size: i64,
    owner: String,
    appraised_value: i64,
) -> Result<()> {
    if !ctx.exists(&id)? {
        return Err(unknown(&id));
    }
    put(ctx, &Asset { appraised_value, color, id, owner, size })
}

fn delete_asset(ctx: &Context, id: String) -> Result<()> {
    if !ctx.exists(&id)? {
        return Err(unknown(&id));
    }
    ctx.delete(&id)
}

fn asset_exists(ctx: &Context, id: String) -> Result<bool> {
    ctx.exists(&id)
}

/// Gives the asset a new owner and returns the old one.
fn transfer_asset(ctx: &Context, id: String, new_owner: String) -> Result<String> {
    let mut asset = read_asset(ctx, id)?;
    let old_owner = std::mem::replace(&mut asset.owner, new_owner);
    put(ctx, &asset)?;
    Ok(old_owner)
}

fn get_all_assets(ctx: &Context) -> Result<Vec<Asset>> {
    ctx.range("", "")?.map(|entry| entry?.json()).collect()
}

fn put(ctx: &Context, asset: &Asset) -> Result<()> {
    ctx.put_json(&asset.id, asset)
}

fn unknown(id: &str) -> Error {
    Error::new(format!("the asset {id} does not exist"))
}

#[cfg(test)]
mod tests {
    use ripstop_contract::Memory;

    use super::*;

    fn text(outcome: Result<impl AsRef<[u8]>>) -> String {
        String::from_utf8(outcome.expect("the transaction succeeds").as_ref().to_vec()).expect("the result is text")
    }

    #[test]
    fn assets_are_created_read_changed_transferred_and_deleted() {
        let (contract, mut ledger) = (contract(), Memory::new());
        let asset = |owner: &str, size: i64| {
            format!(r#"{{"AppraisedValue":1300,"Color":"yellow","ID":"asset7","Owner":"{owner}","Size":{size}}}"#)
        };

        assert_eq!(text(ledger.submit(&contract, "CreateAsset", &["asset7", "yellow", "5", "Tom", "1300"])), "");
        assert_eq!(ledger.value("asset7").as_deref(), Some(asset("Tom", 5).as_bytes()));
        assert_eq!(text(ledger.evaluate(&contract, "ReadAsset", &["asset7"])), asset("Tom", 5));
        assert_eq!(text(ledger.evaluate(&contract, "AssetExists", &["asset7"])), "true");

        ledger.submit(&contract, "UpdateAsset", &["asset7", "yellow", "6", "Tom", "1300"]).expect("it exists");
        assert_eq!(text(ledger.submit(&contract, "TransferAsset", &["asset7", "Mary"])), "Tom");
        assert_eq!(text(ledger.evaluate(&contract, "ReadAsset", &["asset7"])), asset("Mary", 6));

        ledger.submit(&contract, "DeleteAsset", &["asset7"]).expect("it exists");
        assert_eq!(text(ledger.evaluate(&contract, "AssetExists", &["asset7"])), "false");
    }

    #[test]
    fn the_ledger_begins_with_six_assets() {
        let (contract, mut ledger) = (contract(), Memory::new());
        assert_eq!(text(ledger.evaluate(&contract, "GetAllAssets", &[])), "[]");
        ledger.submit(&contract, "InitLedger", &[]).expect("nothing stands in the way");
        let all: Vec<Asset> =
            serde_json::from_str(&text(ledger.evaluate(&contract, "GetAllAssets", &[]))).expect("JSON");
        assert_eq!(all.len(), 6);
        assert_eq!(all[2].owner, "Jin Soo");
    }

    #[test]
    fn refusals_say_why() {
        let (contract, mut ledger) = (contract(), Memory::new());
        ledger.submit(&contract, "InitLedger", &[]).expect("nothing stands in the way");
        let mut refused = |function: &str, arguments: &[&str]| {
            ledger.submit(&contract, function, arguments).expect_err("it is refused").to_string()
        };
        assert_eq!(refused("ReadAsset", &["asset70"]), "the asset asset70 does not exist");
        assert_eq!(
            refused("UpdateAsset", &["asset70", "blue", "5", "Tomoko", "300"]),
            "the asset asset70 does not exist"
        );
        assert_eq!(
            refused("CreateAsset", &["asset1", "blue", "5", "Tomoko", "300"]),
            "the asset asset1 already exists"
        );
        assert_eq!(refused("CreateAsset", &["asset9"]), "Incorrect number of params. Expected 5, received 1");
        assert_eq!(
            refused("CreateAsset", &["asset9", "blue", "big", "Tomoko", "300"]),
            "Error managing parameter param2. Conversion error. Value big was not passed in expected format i64"
        );
        assert_eq!(refused("Explode", &[]), "Function Explode not found in contract asset-transfer");
    }
}
