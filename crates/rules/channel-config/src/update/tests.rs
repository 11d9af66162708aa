use prost::Message;
use ripstop_crypto::SigningIdentity;
use ripstop_proto::orderer;
use ripstop_testkit::{Channel, Organization, meta_policy, organization_group, value};
use ripstop_types::ChannelId;

use super::*;

/// A channel of two organizations and its administrators.
struct Net {
    config: ChannelConfig,
    orderer_admin: SigningIdentity,
    admin1: SigningIdentity,
    admin2: SigningIdentity,
    client1: SigningIdentity,
}

impl Net {
    fn new() -> Self {
        Self::edited(|_| {})
    }

    fn edited(edit: impl FnOnce(&mut common::ConfigGroup)) -> Self {
        let (orderer, org1, org2) =
            (Organization::new("OrdererMSP"), Organization::new("Org1MSP"), Organization::new("Org2MSP"));
        let mut config = Channel::new(&orderer, [&org1, &org2]).config();
        edit(config.channel_group.as_mut().unwrap());
        Self {
            config: ChannelConfig::new(ChannelId::new("mychannel").unwrap(), config).unwrap(),
            orderer_admin: orderer.admin("admin"),
            admin1: org1.admin("admin"),
            admin2: org2.admin("admin"),
            client1: org1.client("client"),
        }
    }

    fn root(&self) -> common::ConfigGroup {
        self.config.root().clone()
    }
}

/// A partial tree: the groups of a path at their versions, without content but what `edit` puts into the last.
fn partial(
    root: &common::ConfigGroup,
    path: &str,
    edit: impl FnOnce(&mut common::ConfigGroup, &common::ConfigGroup),
) -> common::ConfigGroup {
    let mut names = path.splitn(2, '/');
    let mut group = common::ConfigGroup { version: root.version, ..Default::default() };
    match names.next().filter(|name| !name.is_empty()) {
        None => edit(&mut group, root),
        Some(name) => {
            let child = partial(&root.groups[name], names.next().unwrap_or_default(), edit);
            group.groups.insert(name.to_owned(), child);
        }
    }
    group
}

fn sign(update: &common::ConfigUpdate, signers: &[&SigningIdentity]) -> common::ConfigUpdateEnvelope {
    let config_update = Bytes::from(update.encode_to_vec());
    let signatures = signers
        .iter()
        .map(|signer| {
            let creator = signer.identity().raw.clone();
            let header = common::SignatureHeader { creator, nonce: Bytes::from_static(b"nonce") }.encode_to_vec();
            let signature = signer.sign(&[header.as_slice(), &config_update].concat()).unwrap();
            common::ConfigSignature { signature_header: header.into(), signature }
        })
        .collect();
    common::ConfigUpdateEnvelope { config_update, signatures }
}

fn update(read: common::ConfigGroup, write: common::ConfigGroup) -> common::ConfigUpdate {
    common::ConfigUpdate {
        channel_id: "mychannel".into(),
        read_set: Some(read),
        write_set: Some(write),
        ..Default::default()
    }
}

/// The update that sets a new batch size.
fn new_batch_size(net: &Net, max_message_count: u32, version: u64) -> common::ConfigUpdate {
    let size = orderer::BatchSize { max_message_count, absolute_max_bytes: 99, preferred_max_bytes: 9 };
    let mut entry = value("BatchSize", &size);
    entry.1.version = version;
    let read = partial(&net.root(), "Orderer", |_, _| {});
    update(read, partial(&net.root(), "Orderer", |group, _| group.values.extend([entry])))
}

fn refusal(result: Result<ChannelConfig, UpdateError>) -> String {
    result.unwrap_err().to_string()
}

/// A configuration transaction as an orderer makes it.
fn transaction(config: common::Config, update: &common::ConfigUpdateEnvelope) -> common::ConfigEnvelope {
    let header = common::ChannelHeader {
        r#type: HeaderType::ConfigUpdate.number(),
        channel_id: "mychannel".into(),
        ..Default::default()
    };
    let payload = common::Payload {
        header: Some(common::Header { channel_header: header.encode_to_vec().into(), signature_header: Bytes::new() }),
        data: update.encode_to_vec().into(),
    };
    let last_update = common::Envelope { payload: payload.encode_to_vec().into(), signature: Bytes::new() };
    common::ConfigEnvelope { config: Some(config), last_update: Some(last_update) }
}

#[test]
fn a_value_changes_when_its_administrators_sign() {
    let net = Net::new();
    let signed = sign(&new_batch_size(&net, 7, 1), &[&net.orderer_admin]);
    let next = propose(&net.config, &signed).unwrap();
    assert_eq!(next.sequence(), 1);
    assert_eq!(next.orderer().unwrap().batch_size.max_message_count, 7);
    let mut expected = net.root();
    let old = expected.groups["Orderer"].values["BatchSize"].clone();
    let changed = &next.root().groups["Orderer"].values["BatchSize"];
    assert_eq!((changed.version, old.version), (1, 0));
    expected.groups.get_mut("Orderer").unwrap().values.insert("BatchSize".into(), changed.clone());
    assert_eq!(*next.root(), expected);
    assert!(
        refusal(propose(&next, &signed))
            .ends_with("attempt to set key [Value]  /Channel/Orderer/BatchSize to version 1, but key is at version 1")
    );
}

#[test]
fn a_change_without_the_right_signatures_is_refused() {
    let net = Net::new();
    let change = new_batch_size(&net, 7, 1);
    let begins = "error authorizing update: error validating DeltaSet: policy for [Value]  /Channel/Orderer/BatchSize not \
                  satisfied: implicit policy evaluation failed - 0 sub-policies were satisfied, but this policy requires 1 \
                  of the 'Admins' sub-policies to be satisfied";
    for signers in [&[][..], &[&net.admin1, &net.admin2], &[&net.client1]] {
        let error = refusal(propose(&net.config, &sign(&change, signers)));
        assert!(error.starts_with(begins), "{error}");
    }
    let mut forged = sign(&change, &[&net.orderer_admin]);
    forged.config_update = new_batch_size(&net, 8, 1).encode_to_vec().into();
    assert!(refusal(propose(&net.config, &forged)).starts_with(begins));
}

#[test]
fn an_organisation_joins_and_leaves_by_majority() {
    let net = Net::new();
    let org3 = Organization::new("Org3MSP");
    let path = "Application";
    let members = |group: &mut common::ConfigGroup, current: &common::ConfigGroup| {
        for (name, child) in &current.groups {
            let known = common::ConfigGroup { version: child.version, ..Default::default() };
            group.groups.insert(name.clone(), known);
        }
        for (name, policy) in &current.policies {
            let known = common::ConfigPolicy { version: policy.version, ..Default::default() };
            group.policies.insert(name.clone(), known);
        }
        for (name, value) in &current.values {
            let known = common::ConfigValue { version: value.version, ..Default::default() };
            group.values.insert(name.clone(), known);
        }
    };
    let read = partial(&net.root(), path, members);
    let join = partial(&net.root(), path, |group, current| {
        members(group, current);
        group.version += 1;
        group.mod_policy = "Admins".into();
        group.groups.insert("Org3MSP".into(), organization_group(&org3));
    });
    let change = update(read, join);
    let error = refusal(propose(&net.config, &sign(&change, &[&net.admin1])));
    assert_eq!(
        error,
        "error authorizing update: error validating DeltaSet: policy for [Group]  /Channel/Application not satisfied: implicit \
         policy evaluation failed - 1 sub-policies were satisfied, but this policy requires 2 of the 'Admins' sub-policies to be \
         satisfied: /Channel/Application/Admins needs MAJORITY Admins; /Channel/Application/Org1MSP/Admins is satisfied; \
         /Channel/Application/Org2MSP/Admins needs OutOf(1, Org2MSP.ADMIN); signed by 'CN=admin.Org1MSP,OU=admin,C=US' of Org1MSP"
    );
    let joined = propose(&net.config, &sign(&change, &[&net.admin1, &net.admin2])).unwrap();
    assert_eq!(joined.application().unwrap().organizations.len(), 3);
    assert_eq!(
        joined.root().groups["Application"].groups["Org1MSP"],
        net.root().groups["Application"].groups["Org1MSP"]
    );

    let read = partial(joined.root(), path, members);
    let leave = partial(joined.root(), path, |group, current| {
        members(group, current);
        group.version += 1;
        group.mod_policy = "Admins".into();
        group.groups.remove("Org3MSP");
    });
    let left = propose(&joined, &sign(&update(read, leave), &[&net.admin1, &net.admin2])).unwrap();
    assert_eq!(left.application().unwrap().organizations.len(), 2);
    assert!(!left.policies().contains("/Channel/Application/Org3MSP/Admins"));
}

#[test]
fn a_group_that_does_not_change_takes_no_new_children() {
    let net = Net::new();
    let org3 = Organization::new("Org3MSP");
    let read = partial(&net.root(), "Application", |_, _| {});
    let write = partial(&net.root(), "Application", |group, _| {
        group.groups.insert("Org3MSP".into(), organization_group(&org3));
    });
    let next = propose(&net.config, &sign(&update(read, write), &[])).unwrap();
    assert_eq!(next.application().unwrap().organizations.len(), 2);
}

#[test]
fn versions_names_and_policies_of_updates_are_checked() {
    let net = Net::new();
    let root = net.root();
    let check = |change: common::ConfigUpdate, message: &str| {
        let error = refusal(propose(&net.config, &sign(&change, &[&net.orderer_admin, &net.admin1, &net.admin2])));
        assert_eq!(error, format!("error authorizing update: {message}"));
    };
    let read = || partial(&root, "Orderer", |_, _| {});
    let written = |edit: &dyn Fn(&mut common::ConfigGroup)| update(read(), partial(&root, "Orderer", |g, _| edit(g)));
    let mut other = new_batch_size(&net, 7, 1);
    other.channel_id = "other".into();
    check(other, "ConfigUpdate for channel 'other' but envelope for channel 'mychannel'");
    check(
        new_batch_size(&net, 7, 2),
        "error validating DeltaSet: attempt to set key [Value]  /Channel/Orderer/BatchSize to version 2, but key is at version 0",
    );
    check(update(read(), read()), "error validating DeltaSet: delta set was empty -- update would have no effect");
    check(
        written(&|g| {
            g.values.extend([(
                "New".into(),
                common::ConfigValue { version: 1, mod_policy: "Admins".into(), ..Default::default() },
            )])
        }),
        "error validating DeltaSet: attempted to set key [Value]  /Channel/Orderer/New to version 1, but key does not exist",
    );
    check(
        written(&|g| g.values.extend([("New".into(), common::ConfigValue::default())])),
        "error validating DeltaSet: invalid mod_policy for element [Value]  /Channel/Orderer/New: mod_policy not set",
    );
    check(
        written(&|g| {
            g.values.extend([("New".into(), common::ConfigValue { mod_policy: "/a//b".into(), ..Default::default() })])
        }),
        "error validating DeltaSet: invalid mod_policy for element [Value]  /Channel/Orderer/New: path element at 1 is invalid: config ID illegal, cannot be empty",
    );
    check(
        written(&|g| g.groups.extend([("a/b".into(), common::ConfigGroup::default())])),
        "error mapping WriteSet: illegal characters in key: [Group]  /Channel/Orderer/a/b: config ID 'a/b' contains illegal characters",
    );
    let mut newer = read();
    newer.version = 4;
    check(
        update(newer, read()),
        "error validating ReadSet: proposed update requires that key [Group]  /Channel be at version 4, but it is currently at version 0",
    );
    let mut unknown = read();
    unknown.groups.insert("Odd".into(), common::ConfigGroup::default());
    check(
        update(unknown, read()),
        "error validating ReadSet: existing config does not contain element for [Group]  /Channel/Odd but was in the read set",
    );
}

#[test]
fn the_policy_of_a_change_is_that_of_the_current_element() {
    let set = |mod_policy: &'static str| {
        move |root: &mut common::ConfigGroup| {
            let orderer = root.groups.get_mut("Orderer").unwrap();
            orderer.values.get_mut("BatchSize").unwrap().mod_policy = mod_policy.into();
        }
    };
    let change = |net: &Net, signer: &SigningIdentity| {
        propose(&net.config, &sign(&new_batch_size(net, 7, 1), &[signer])).map(|_| ())
    };
    let net = Net::edited(set("/Channel/Application/Org1MSP/Admins"));
    assert!(change(&net, &net.admin1).is_ok());
    assert!(change(&net, &net.orderer_admin).is_err());
    let net = Net::edited(set("OrdererMSP/Writers"));
    assert!(change(&net, &net.orderer_admin).is_ok());
    for missing in ["Nobody", ""] {
        let net = Net::edited(set(missing));
        assert_eq!(
            change(&net, &net.orderer_admin).unwrap_err().to_string(),
            format!(
                "error authorizing update: error validating DeltaSet: unexpected missing policy {missing} for item [Value]  \
                 /Channel/Orderer/BatchSize"
            )
        );
    }
}

#[test]
fn elements_without_a_policy_are_given_the_administrators() {
    let net = Net::edited(|root| {
        root.mod_policy.clear();
        root.groups.get_mut("Application").unwrap().policies.get_mut("Readers").unwrap().mod_policy.clear();
        root.groups.get_mut("Orderer").unwrap().values.get_mut("BatchTimeout").unwrap().mod_policy.clear();
    });
    let next = propose(&net.config, &sign(&new_batch_size(&net, 7, 1), &[&net.orderer_admin])).unwrap();
    let root = next.root();
    assert_eq!(root.mod_policy, "Admins");
    assert_eq!(root.groups["Application"].policies["Readers"].mod_policy, "Admins");
    assert_eq!(root.groups["Orderer"].values["BatchTimeout"].mod_policy, "Admins");
}

#[test]
fn a_result_that_is_no_configuration_is_refused() {
    let net = Net::new();
    let signed = sign(&new_batch_size(&net, 0, 1), &[&net.orderer_admin]);
    let error = propose(&net.config, &signed).unwrap_err();
    assert!(matches!(error, UpdateError::Config(_)) && !error.is_unsupported(), "{error}");
    let capabilities = common::Capabilities { capabilities: [("V9_9".to_owned(), common::Capability {})].into() };
    let mut entry = value("Capabilities", &capabilities);
    entry.1.version = 1;
    let read = partial(&net.root(), "Application", |_, _| {});
    let write = partial(&net.root(), "Application", |group, _| group.values.extend([entry]));
    let error = propose(&net.config, &sign(&update(read, write), &[&net.admin1, &net.admin2])).unwrap_err();
    assert!(error.is_unsupported(), "{error}");
}

#[test]
fn a_transaction_is_accepted_only_with_the_result_of_its_update() {
    let net = Net::new();
    let signed = sign(&new_batch_size(&net, 7, 1), &[&net.orderer_admin]);
    let config = propose(&net.config, &signed).unwrap().config().clone();
    let good = transaction(config.clone(), &signed);
    assert_eq!(accept(&net.config, &good).unwrap().config(), &config);

    let mut late = good.clone();
    late.config.as_mut().unwrap().sequence = 2;
    assert_eq!(
        refusal(accept(&net.config, &late)),
        "config currently at sequence 0, cannot validate config at sequence 2"
    );

    let mut other = good.clone();
    let root = other.config.as_mut().unwrap().channel_group.as_mut().unwrap();
    root.groups.get_mut("Application").unwrap().policies.extend([meta_policy("Admins", "ANY Admins")]);
    assert_eq!(
        refusal(accept(&net.config, &other)),
        "ConfigEnvelope LastUpdate did not produce the supplied config result: they differ at [Policy] \
         /Channel/Application/Admins"
    );

    let unsigned = transaction(config, &sign(&new_batch_size(&net, 7, 1), &[]));
    assert!(matches!(accept(&net.config, &unsigned), Err(UpdateError::NotAuthorized { .. })));
    let without = common::ConfigEnvelope { last_update: None, ..good.clone() };
    assert_eq!(accept(&net.config, &without).unwrap_err(), UpdateError::NoLastUpdate);
    let nothing = common::ConfigEnvelope { config: None, ..good };
    assert_eq!(accept(&net.config, &nothing).unwrap_err(), UpdateError::NoConfig);
}

/// An edit of a configuration tree.
type Edit = fn(&mut common::ConfigGroup);

/// What editors do to a configuration, each a line.
const EDITS: &[(&str, Edit)] = &[
    ("a value", |root| {
        let size = orderer::BatchSize { max_message_count: 3, absolute_max_bytes: 99, preferred_max_bytes: 9 };
        let orderer = root.groups.get_mut("Orderer").unwrap();
        orderer.values.extend([value("BatchSize", &size)]);
    }),
    ("a policy", |root| {
        let application = root.groups.get_mut("Application").unwrap();
        application.policies.extend([meta_policy("Readers", "ALL Readers")]);
    }),
    ("a policy that was not there", |root| root.policies.extend([meta_policy("New", "ANY Readers")])),
    ("a policy that is not there any more", |root| {
        root.groups.get_mut("Application").unwrap().policies.remove("Writers");
    }),
    ("who may change a group", |root| root.groups.get_mut("Application").unwrap().mod_policy = "Readers".into()),
    ("who may change a value", |root| {
        let orderer = root.groups.get_mut("Orderer").unwrap();
        orderer.values.get_mut("BatchTimeout").unwrap().mod_policy = "Readers".into();
    }),
    ("an organisation that joins", |root| {
        let group = organization_group(&Organization::new("Org3MSP"));
        root.groups.get_mut("Application").unwrap().groups.insert("Org3MSP".into(), group);
    }),
    ("an organisation that leaves", |root| {
        root.groups.get_mut("Application").unwrap().groups.remove("Org2MSP");
    }),
];

/// The same tree as an editor sees it: versions do not matter.
fn without_versions(group: &common::ConfigGroup) -> common::ConfigGroup {
    let mut group = group.clone();
    group.version = 0;
    group.values.values_mut().for_each(|value| value.version = 0);
    group.policies.values_mut().for_each(|policy| policy.version = 0);
    group.groups.values_mut().for_each(|child| *child = without_versions(child));
    group
}

#[test]
fn a_computed_update_leads_to_the_edited_configuration() {
    for (index, (name, edit)) in EDITS.iter().enumerate() {
        let net = Net::new();
        // Each edit alone, and on top of a version that is not the first, together with the next one.
        for second in [None, EDITS.get(index + 1)] {
            let first = new_batch_size(&net, 7, 1);
            let current = propose(&net.config, &sign(&first, &[&net.orderer_admin])).unwrap();
            let mut edited = current.config().clone();
            edit(edited.channel_group.as_mut().unwrap());
            if let Some((_, second)) = second {
                second(edited.channel_group.as_mut().unwrap());
            }
            let change =
                common::ConfigUpdate { channel_id: "mychannel".into(), ..compute(current.config(), &edited).unwrap() };
            let signed = sign(&change, &[&net.orderer_admin, &net.admin1, &net.admin2]);
            let next = propose(&current, &signed).unwrap_or_else(|error| panic!("{name}: {error}"));
            let expected = without_versions(edited.channel_group.as_ref().unwrap());
            assert_eq!(without_versions(next.root()), expected, "{name}");
        }
    }
}

#[test]
fn no_update_leads_to_the_same_configuration_or_to_none() {
    let net = Net::new();
    let current = net.config.config();
    let mut newer = current.clone();
    newer.channel_group.as_mut().unwrap().version = 7;
    assert_eq!(compute(current, &newer), Err(ComputeError::NoDifferences));
    let none = common::Config::default();
    assert_eq!(compute(&none, current), Err(ComputeError::NoOriginal));
    assert_eq!(compute(current, &none), Err(ComputeError::NoUpdated));
}
