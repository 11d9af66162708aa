//! Do these signatures suffice?
#![allow(clippy::unwrap_used, reason = "a step that fails is a test that fails")]

use std::collections::BTreeMap;

use ripstop_crypto::SigningIdentity;
use ripstop_msp::{Claim, MspSet, Role};
use ripstop_policy::{ApplicationPolicy, PolicyTree, Reader, SignaturePolicy, dsl, envelope};
use ripstop_proto::{Message, common};
use ripstop_testkit::{CertificateOptions, Organization, msp_set, signed_data};
use ripstop_types::{MspId, SignedData};

const MESSAGE: &[u8] = b"message";

struct World {
    orgs: Vec<Organization>,
    msps: MspSet,
}

impl World {
    fn new() -> Self {
        let orgs: Vec<_> = ["A", "B", "C"].into_iter().map(Organization::new).collect();
        let msps = msp_set(&orgs);
        Self { orgs, msps }
    }

    /// `A.peer`, `B.admin2`: organization, role, and a number for several of a kind.
    fn sign(&self, who: &[&str]) -> Vec<SignedData> {
        who.iter().map(|who| signed_data(&self.identity(who), MESSAGE)).collect()
    }

    fn identity(&self, who: &str) -> SigningIdentity {
        let (org, role) = who.split_once('.').unwrap();
        let org = self.orgs.iter().find(|candidate| candidate.msp_id().as_str() == org).unwrap();
        let unit = role.trim_end_matches(char::is_numeric);
        org.identity(role, &CertificateOptions::units(&[unit]))
    }

    fn satisfied(&self, policy: &str, who: &[&str]) -> bool {
        let policy = SignaturePolicy::compile(&dsl::parse(policy).unwrap()).unwrap();
        policy.evaluate(&self.sign(who), &self.msps).is_ok()
    }
}

#[test]
fn signature_policies_are_evaluated_greedily_and_in_order() {
    let world = World::new();
    for (policy, signers, expected) in [
        ("AND('A.peer', 'B.peer')", &["A.peer", "B.peer"][..], true),
        ("AND('A.peer', 'B.peer')", &["B.peer", "A.peer"], true),
        ("AND('A.peer', 'B.peer')", &["A.peer"], false),
        ("AND('A.peer', 'B.peer')", &["A.peer", "B.client"], false),
        ("OR('A.peer', 'B.peer')", &["B.peer"], true),
        ("OR('A.peer', 'B.peer')", &[], false),
        ("OutOf(0, 'A.peer')", &[], true),
        ("OutOf(3, 'A.peer', 'B.peer')", &["A.peer", "B.peer"], false),
        ("AND('A.member', 'A.member')", &["A.peer"], false),
        ("AND('A.member', 'A.member')", &["A.peer1", "A.peer2"], true),
        // The member takes the only admin, and there is no going back.
        ("AND('A.member', 'A.admin')", &["A.admin", "A.peer"], false),
        ("AND('A.member', 'A.admin')", &["A.peer", "A.admin"], true),
        // The first branch takes both signers, so the second finds none, though one branch would do.
        ("AND(OR('A.member', 'B.member'), 'B.member')", &["A.peer", "B.peer"], false),
        ("AND(OR('A.member', 'C.member'), 'B.member')", &["A.peer", "B.peer"], true),
        // What a failing branch took is free again.
        ("OR(AND('A.member', 'C.member'), 'A.member')", &["A.peer"], true),
        ("OutOf(2, 'A.peer', 'B.peer', 'C.peer')", &["C.peer", "A.peer"], true),
    ] {
        assert_eq!(world.satisfied(policy, signers), expected, "{policy} by {signers:?}");
    }
}

#[test]
fn a_signer_counts_once_and_only_with_a_right_signature() {
    let world = World::new();
    let policy = SignaturePolicy::compile(&dsl::parse("AND('A.member', 'A.member')").unwrap()).unwrap();
    let one = signed_data(&world.identity("A.peer"), MESSAGE);
    let refusal = policy.evaluate(&[one.clone(), one.clone()], &world.msps).unwrap_err();
    assert_eq!(refusal.headline(), "signature set did not satisfy policy");
    assert!(refusal.explanation(Reader::Signer).contains("signature 1 is a second one by 'CN=peer.A,"), "{refusal}");

    let any = SignaturePolicy::compile(&dsl::parse("OR('A.member')").unwrap()).unwrap();
    let mut wrong = one.clone();
    wrong.message = "other".into();
    let refusal = any.evaluate(std::slice::from_ref(&wrong), &world.msps).unwrap_err();
    assert!(refusal.to_string().contains("The signature is invalid"), "{refusal}");
    // A wrong signature does not use up the signer.
    any.evaluate(&[wrong, one], &world.msps).unwrap();
}

#[test]
fn refusals_say_what_was_needed_and_why_signers_do_not_count() {
    let world = World::new();
    let policy = SignaturePolicy::compile(&dsl::parse("AND('A.admin', 'B.peer')").unwrap()).unwrap();
    let refusal = policy.evaluate(&world.sign(&["A.client", "C.peer", "B.peer"]), &world.msps).unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "signature set did not satisfy policy: it needs OutOf(2, A.ADMIN, B.PEER); \
         'CN=client.A,OU=client,C=US' of A signed, but: The identity is not an admin under this MSP [A]: The identity does not contain OU [ADMIN], MSP: [A]; \
         'CN=peer.C,OU=peer,C=US' of C signed, but that is not one of the organisations needed; \
         signed by 'CN=peer.B,OU=peer,C=US' of B"
    );
    let nobody = policy.evaluate(&[], &world.msps).unwrap_err();
    assert_eq!(nobody.to_string(), "signature set did not satisfy policy: nobody signed");
    assert_eq!(nobody.explanation(Reader::Member), "it needs OutOf(2, A.ADMIN, B.PEER); nobody signed");
}

#[test]
fn malformed_policies_do_not_compile() {
    let compile = |rule, identities, version| {
        SignaturePolicy::compile(&common::SignaturePolicyEnvelope { version, rule, identities })
            .unwrap_err()
            .to_string()
    };
    assert_eq!(compile(None, vec![], 0), "Empty policy element");
    assert_eq!(
        compile(Some(envelope::signed_by(0)), vec![], 1),
        "This evaluator only understands messages of version 0, but version was 1"
    );
    for index in [-1, 1] {
        assert_eq!(
            compile(Some(envelope::signed_by(index)), vec![common::MspPrincipal::default()], 0),
            format!("identity index out of range, requested {index}, but identities length is 1")
        );
    }
    assert!(SignaturePolicy::parse(&[0xff]).is_err());
}

fn signature(policy: &str) -> common::ConfigPolicy {
    config_policy(1, dsl::parse(policy).unwrap().encode_to_vec())
}

fn meta(rule: i32, name: &str) -> common::ConfigPolicy {
    config_policy(3, common::ImplicitMetaPolicy { sub_policy: name.to_owned(), rule }.encode_to_vec())
}

fn config_policy(kind: i32, value: Vec<u8>) -> common::ConfigPolicy {
    let policy = common::Policy { r#type: kind, value: value.into() };
    common::ConfigPolicy { version: 0, policy: Some(policy), mod_policy: String::new() }
}

fn group(groups: &[(&str, common::ConfigGroup)], policies: &[(&str, common::ConfigPolicy)]) -> common::ConfigGroup {
    common::ConfigGroup {
        groups: groups.iter().map(|(name, group)| ((*name).to_owned(), group.clone())).collect(),
        policies: policies
            .iter()
            .map(|(name, policy)| ((*name).to_owned(), policy.clone()))
            .collect::<BTreeMap<_, _>>(),
        ..Default::default()
    }
}

fn channel() -> common::ConfigGroup {
    let org = |name: &str| {
        group(
            &[],
            &[
                ("Writers", signature(&format!("OR('{name}.member')"))),
                ("Admins", signature(&format!("OR('{name}.admin')"))),
            ],
        )
    };
    let application = group(
        &[("A", org("A")), ("B", org("B")), ("C", org("C"))],
        &[
            ("Writers", meta(0, "Writers")),
            ("Admins", meta(2, "Admins")),
            ("Everyone", meta(1, "Writers")),
            ("Nonsense", meta(7, "Writers")),
            ("Missing", meta(0, "Readers")),
            ("Nested", meta(0, "../x")),
        ],
    );
    let empty = group(&[], &[("Writers", meta(0, "Writers")), ("All", meta(1, "Writers"))]);
    group(
        &[("Application", application), ("Orderer", empty)],
        &[("Writers", meta(0, "Writers")), ("Both", meta(1, "Writers"))],
    )
}

#[test]
fn implicit_meta_policies_count_child_groups() {
    let world = World::new();
    let tree = PolicyTree::new(&channel()).unwrap();
    for (path, signers, expected) in [
        ("/Channel/Application/Writers", &["B.client"][..], true),
        ("/Channel/Application/Writers", &[], false),
        ("Application/Writers", &["B.client"], true),
        ("/Channel/Application/A/Writers", &["B.client"], false),
        ("/Channel/Application/Admins", &["A.admin"], false),
        ("/Channel/Application/Admins", &["A.admin", "C.admin"], true),
        ("/Channel/Application/Admins", &["A.admin", "A.admin2"], false),
        ("/Channel/Application/Everyone", &["A.client", "B.client", "C.client"], true),
        ("/Channel/Application/Everyone", &["A.client", "B.client"], false),
        // A group without children is satisfied by nothing at all.
        ("/Channel/Orderer/Writers", &[], true),
        ("/Channel/Orderer/All", &[], true),
        ("/Channel/Writers", &[], true),
        ("/Channel/Both", &[], false),
        ("/Channel/Both", &["A.client"], true),
        ("/Channel/Application/Missing", &["A.client"], false),
        // A rule without a meaning is refused once anybody signs.
        ("/Channel/Application/Nonsense", &[], true),
        ("/Channel/Application/Nonsense", &["A.client"], false),
    ] {
        assert_eq!(tree.evaluate(path, &world.sign(signers), &world.msps).is_ok(), expected, "{path} by {signers:?}");
    }
}

#[test]
fn refusals_say_which_policies_below_are_not_satisfied() {
    let world = World::new();
    let tree = PolicyTree::new(&channel()).unwrap();
    let headline = |satisfied, required, name| {
        format!(
            "implicit policy evaluation failed - {satisfied} sub-policies were satisfied, but this policy requires {required} of the '{name}' sub-policies to be satisfied"
        )
    };
    let needs = |org: &str, policy: &str, role: &str| {
        format!("/Channel/Application/{org}/{policy} needs OutOf(1, {org}.{role})")
    };
    let by_a = "signed by 'CN=admin.A,OU=admin,C=US' of A";
    for (path, headline, explanation) in [
        (
            "/Channel/Application/Admins",
            headline(1, 2, "Admins"),
            format!(
                "/Channel/Application/Admins needs MAJORITY Admins; /Channel/Application/A/Admins is satisfied; {}; {}; {by_a}",
                needs("B", "Admins", "ADMIN"),
                needs("C", "Admins", "ADMIN")
            ),
        ),
        (
            "/Channel/Application/Missing",
            headline(0, 1, "Readers"),
            "/Channel/Application/Missing needs ANY Readers; /Channel/Application/A has no policy 'Readers'; \
             /Channel/Application/B has no policy 'Readers'; /Channel/Application/C has no policy 'Readers'; \
             'CN=admin.A,OU=admin,C=US' of A signed, but that is not one of the organisations needed"
                .to_owned(),
        ),
        (
            "/Channel/Application/B/Writers",
            "signature set did not satisfy policy".to_owned(),
            format!(
                "{}; 'CN=admin.A,OU=admin,C=US' of A signed, but that is not one of the organisations needed",
                needs("B", "Writers", "MEMBER")
            ),
        ),
    ] {
        let refusal = tree.evaluate(path, &world.sign(&["A.admin"]), &world.msps).unwrap_err();
        assert_eq!(refusal.headline(), headline);
        assert_eq!(refusal.explanation(Reader::Member), explanation);
        assert_eq!(refusal.to_string(), format!("{headline}: {explanation}"), "a member may read the configuration");
    }
    // One level further down.
    let refusal = tree.evaluate("/Channel/Both", &[], &world.msps).unwrap_err();
    assert!(
        refusal.explanation(Reader::Member).starts_with(
            "/Channel/Both needs ALL Writers; /Channel/Application/Writers needs ANY Writers; \
             /Channel/Application/A/Writers needs OutOf(1, A.MEMBER); "
        ),
        "{refusal}"
    );
}

#[test]
fn strangers_are_told_only_of_what_they_sent() {
    let world = World::new();
    let tree = PolicyTree::new(&channel()).unwrap();
    let stranger = Organization::new("D").client("eve");
    let impostor = Organization::new("A").client("eve");
    let mut revoking = Organization::new("A");
    let revoked = revoking.client("mallory");
    revoking.revoke(&revoked);
    let with_revoked = msp_set([&revoking]);
    let forged = SignedData { message: "other".into(), ..signed_data(&world.identity("A.client"), MESSAGE) };
    let claim = |signer: &SigningIdentity| Claim::of(&signer.identity().raw);
    for (signed, msps, expected) in [
        (
            signed_data(&stranger, MESSAGE),
            &world.msps,
            format!("signature 0 claims to be by {}, who is nobody known: MSP D is not defined on channel", claim(&stranger)),
        ),
        (
            signed_data(&impostor, MESSAGE),
            &world.msps,
            format!(
                "signature 0 claims to be by {}, who is nobody known: the supplied identity is not valid: x509: certificate \
                 signed by unknown authority (possibly because of \"x509: ECDSA verification failure\" while trying to verify \
                 candidate authority certificate \"ca.A\")",
                claim(&impostor)
            ),
        ),
        (
            signed_data(&revoked, MESSAGE),
            &with_revoked,
            "'CN=mallory.A,OU=client,C=US' of A signed, but: could not validate identity against certification chain: The \
             certificate has been revoked"
                .to_owned(),
        ),
        (
            forged,
            &world.msps,
            "signature 0 by 'CN=client.A,OU=client,C=US' of A: The signature is invalid".to_owned(),
        ),
    ] {
        let refusal = tree.evaluate("/Channel/Application/Everyone", &[signed], msps).unwrap_err();
        assert_eq!(refusal.to_string(), format!("{}: {expected}", refusal.headline()));
        let told = refusal.explanation(Reader::Member);
        assert!(told.starts_with("/Channel/Application/Everyone needs ALL Writers; "), "{told}");
        assert!(told.contains("/Channel/Application/B/Writers needs OutOf(1, B.MEMBER); "), "{told}");
    }
}

#[test]
fn explanations_are_bounded() {
    let world = World::new();
    let tree = PolicyTree::new(&channel()).unwrap();
    let long = signed_data(&Organization::new(&"D".repeat(100_000)).client("eve"), MESSAGE);
    for (signers, most) in [(world.sign(&["A.peer"; 100]), 2_000), (vec![long; 100], 4_000)] {
        let refusal = tree.evaluate("/Channel/Application/Everyone", &signers, &world.msps).unwrap_err();
        let text = refusal.text(Reader::Member);
        assert!(text.len() < most, "{} bytes", text.len());
    }
}

#[test]
fn policies_are_found_by_absolute_and_relative_paths() {
    let world = World::new();
    let tree = PolicyTree::new(&channel()).unwrap();
    for found in ["/Channel/Writers", "Writers", "/Channel/Application/A/Admins", "Application/A/Admins"] {
        assert!(tree.contains(found), "{found}");
    }
    for (missing, quoted) in [
        ("", ""),
        ("/", "/"),
        ("/Channel", "/Channel"),
        ("/Channel/", ""),
        ("/Other/Writers", "/Other/Writers"),
        ("/Channel/Application/Readers", "Application/Readers"),
        ("Readers", "Readers"),
        ("/Channelé", "/Channelé"),
    ] {
        assert!(!tree.contains(missing), "{missing}");
        let refusal = tree.evaluate(missing, &[], &world.msps).unwrap_err();
        assert_eq!(refusal.to_string(), format!("no such policy: '{quoted}'"));
    }
}

#[test]
fn configurations_with_broken_policies_are_refused() {
    let broken = |policy: common::ConfigPolicy| {
        let root = group(&[("Application", group(&[], &[("Readers", policy)]))], &[]);
        PolicyTree::new(&root).unwrap_err().to_string()
    };
    assert_eq!(broken(common::ConfigPolicy::default()), "policy Readers at path Channel/Application was nil");
    assert_eq!(
        broken(config_policy(2, vec![])),
        "policy Readers at path Channel/Application has unknown policy type: 2"
    );
    assert_eq!(
        broken(config_policy(1, vec![])),
        "policy Readers at path Channel/Application did not compile: Empty policy element"
    );
    assert!(broken(config_policy(3, vec![0xff])).starts_with(
        "implicit policy Readers at path Channel/Application did not compile: Error unmarshalling to ImplicitMetaPolicy: "
    ));
}

#[test]
fn application_policies_are_their_own_or_refer_to_the_channel() {
    let world = World::new();
    let tree = PolicyTree::new(&channel()).unwrap();
    let parse = |policy| ApplicationPolicy::parse(&common::ApplicationPolicy { r#type: policy }.encode_to_vec());
    use common::application_policy::Type;
    let own = parse(Some(Type::SignaturePolicy(dsl::parse("OR('A.peer')").unwrap()))).unwrap();
    assert!(own.evaluate(&world.sign(&["A.peer"]), &tree, &world.msps).is_ok());
    let reference = |path: &str| parse(Some(Type::ChannelConfigPolicyReference(path.to_owned()))).unwrap();
    assert!(reference("/Channel/Application/Writers").evaluate(&world.sign(&["A.peer"]), &tree, &world.msps).is_ok());
    assert_eq!(
        reference("/Channel/X").evaluate(&[], &tree, &world.msps).unwrap_err().to_string(),
        "could not create evaluator for channel reference policy: failed to retrieve policy for reference /Channel/X"
    );
    assert_eq!(parse(None).unwrap_err().to_string(), "unsupported policy type <nil>");
}

#[test]
fn ready_made_policies_have_fabrics_bytes() {
    let ids: Vec<MspId> = ["B", "A", "C"].into_iter().map(MspId::new).collect();
    let hex = |envelope: common::SignaturePolicyEnvelope| hex::encode(envelope.encode_to_vec());
    assert_eq!(
        hex(envelope::signed_by_any(Role::Member, &ids)),
        "1210120e08011202080012020801120208021a0512030a01411a0512030a01421a0512030a0143"
    );
    assert_eq!(hex(envelope::signed_by_any(Role::Admin, &ids[1..2])), "120812060801120208001a0712050a01411001");
    assert_eq!(hex(envelope::accept_all()), "12021200");
    assert_eq!(hex(envelope::reject_all()), "120412020801");
}

#[test]
fn implicit_policies_become_signature_policies_of_their_children() {
    let tree = PolicyTree::new(&channel()).unwrap();
    let text = |path: &str| match tree.as_signature_policy(path) {
        Ok(policy) => policy.to_string(),
        Err(error) => error.to_string(),
    };
    assert_eq!(text("/Channel/Application/A/Admins"), "OutOf(1, A.ADMIN)");
    assert_eq!(
        text("/Channel/Application/Admins"),
        "OutOf(2, OutOf(1, A.ADMIN), OutOf(1, B.ADMIN), OutOf(1, C.ADMIN))"
    );
    assert_eq!(
        text("/Channel/Writers"),
        "OutOf(1, OutOf(1, OutOf(1, A.MEMBER), OutOf(1, B.MEMBER), OutOf(1, C.MEMBER)), OutOf(0))"
    );
    assert_eq!(text("/Channel/Application/Missing"), "/Channel/Application/A has no policy 'Readers'");
    assert_eq!(
        text("/Channel/Application/Nonsense"),
        "/Channel/Application/Nonsense is an implicit policy with a rule of no known kind"
    );
    assert_eq!(text("/Channel/None"), "could not retrieve policy for reference '/Channel/None'");
}
