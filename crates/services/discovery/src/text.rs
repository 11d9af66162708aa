use std::fmt::Write as _;

use ripstop_proto::protos::{ChaincodeCall, ChaincodeInterest};
use ripstop_types::shortened;

/// How many characters of an interest are shown.
const MOST: usize = 500;

/// An interest as Go prints the message, but for the content of policies, and cut off where it is very long.
pub(crate) fn interest(interest: &ChaincodeInterest) -> String {
    let mut text = String::new();
    for (index, chaincode) in interest.chaincodes.iter().enumerate() {
        let joint = if index == 0 { "" } else { " " };
        text += &format!("{joint}chaincodes:{{{}}}", call(chaincode));
        if text.len() > MOST {
            break;
        }
    }
    shortened(text, MOST)
}

fn call(call: &ChaincodeCall) -> String {
    let mut text = format!("name:{:?}", call.name);
    for collection in call.collection_names.iter().take(MOST) {
        let _ = write!(text, " collection_names:{collection:?}");
    }
    for (name, is_set) in [("no_private_reads", call.no_private_reads), ("no_public_writes", call.no_public_writes)] {
        if is_set {
            let _ = write!(text, " {name}:true");
        }
    }
    for _ in call.key_policies.iter().take(MOST) {
        text += " key_policies:{...}";
    }
    if call.disregard_namespace_policy {
        text += " disregard_namespace_policy:true";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interests_read_as_in_go() {
        let one = ChaincodeCall { name: "mycc".to_owned(), ..Default::default() };
        let two = ChaincodeCall {
            name: "other".to_owned(),
            collection_names: vec!["c1".to_owned(), "c2".to_owned()],
            no_private_reads: true,
            key_policies: vec![Default::default()],
            disregard_namespace_policy: true,
            ..Default::default()
        };
        assert_eq!(
            interest(&ChaincodeInterest { chaincodes: vec![one.clone(), two] }),
            "chaincodes:{name:\"mycc\"} chaincodes:{name:\"other\" collection_names:\"c1\" collection_names:\"c2\" \
             no_private_reads:true key_policies:{...} disregard_namespace_policy:true}"
        );
        let many = interest(&ChaincodeInterest { chaincodes: vec![one; 1000] });
        assert!(many.len() <= MOST + 3, "{}", many.len());
    }
}
