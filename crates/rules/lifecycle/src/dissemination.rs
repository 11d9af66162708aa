use ripstop_proto::protos::StaticCollectionConfig;

/// A collection demands that more peers have its values before an endorsement is given than can be given them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "could not build private data dissemination plan for chaincode {chaincode} and collection {collection}: required to disseminate to at least {required} peers, but know of only {reachable} eligible peers"
)]
pub struct NotDisseminated {
    /// The chaincode.
    pub chaincode: String,
    /// The collection.
    pub collection: String,
    /// How many other peers must have the values (`requiredPeerCount`).
    pub required: i32,
    /// How many can be given them.
    pub reachable: i32,
}

/// Checks that the collections an endorsement writes to, each with its chaincode, can be spread as widely as they demand, where
/// so many other peers can be given values.
pub fn check_dissemination(
    written: &[(String, StaticCollectionConfig)],
    reachable: i32,
) -> Result<(), NotDisseminated> {
    let demanding = written.iter().find(|(_, collection)| collection.required_peer_count > reachable);
    demanding.map_or(Ok(()), |(chaincode, collection)| {
        Err(NotDisseminated {
            chaincode: chaincode.clone(),
            collection: collection.name.clone(),
            required: collection.required_peer_count,
            reachable,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_that_must_be_spread_is_refused_in_fabrics_words() {
        let collection = |required_peer_count| {
            let config = StaticCollectionConfig { name: "coll".to_owned(), required_peer_count, ..Default::default() };
            ("cc".to_owned(), config)
        };
        assert_eq!(check_dissemination(&[collection(0)], 0), Ok(()));
        assert_eq!(check_dissemination(&[collection(1), collection(2)], 2), Ok(()));
        assert_eq!(
            check_dissemination(&[collection(0), collection(1)], 0).unwrap_err().to_string(),
            "could not build private data dissemination plan for chaincode cc and collection coll: required to disseminate to \
             at least 1 peers, but know of only 0 eligible peers"
        );
    }
}
