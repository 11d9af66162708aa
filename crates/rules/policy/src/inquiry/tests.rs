use std::collections::BTreeMap;

use ripstop_msp::Role;
use ripstop_types::MspId;

use super::*;
use crate::dsl;
use crate::signature::Rule;

fn policy(text: &str) -> SignaturePolicy {
    let one = text.starts_with('\'').then(|| format!("OR({text})"));
    SignaturePolicy::compile(&dsl::parse(one.as_deref().unwrap_or(text)).unwrap()).unwrap()
}

/// `A.peer` for short, in texts too.
fn short(principal: &Principal) -> String {
    principal.to_string().to_lowercase().replace(".member", "")
}

fn texts(inquiry: &Inquiry, combinations: &[Combination]) -> Vec<String> {
    let text = |combination: &Combination| {
        let names = combination.members().iter().map(|member| short(&inquiry.principals()[*member]));
        names.collect::<Vec<_>>().join("+")
    };
    let mut texts: Vec<_> = combinations.iter().map(text).collect();
    texts.sort();
    texts
}

fn inquiry(policies: &[&str], available: usize) -> Inquiry {
    let policies: Vec<_> = policies.iter().map(|text| policy(text)).collect();
    Inquiry::new(&policies.iter().collect::<Vec<_>>(), |_| available).unwrap()
}

fn merged(policies: &[&str]) -> Vec<String> {
    let inquiry = inquiry(policies, 10);
    texts(&inquiry, &inquiry.merged())
}

fn every(policies: &[&str]) -> Vec<String> {
    let inquiry = inquiry(policies, 10);
    texts(&inquiry, &inquiry.every_combination())
}

#[test]
fn one_policy_is_taken_apart_into_all_its_combinations() {
    assert_eq!(merged(&["AND('A.member', 'B.peer')"]), ["a+b.peer"]);
    assert_eq!(merged(&["OR('A.member', 'B.member')"]), ["a", "b"]);
    assert_eq!(merged(&["OutOf(2, 'A.member', 'B.member', 'C.member')"]), ["a+b", "a+c", "b+c"]);
    assert_eq!(merged(&["OutOf(2, 'A.member', 'A.member')"]), ["a+a"]);
    // What stands higher in a policy comes first.
    assert_eq!(merged(&["AND(OR('A.member', 'B.member'), 'C.member')"]), ["c+a", "c+b"]);
    assert_eq!(merged(&["OR(AND('A.member', 'B.member'), 'C.member')"]), ["a+b", "c"]);
}

#[test]
fn policies_are_merged_as_fabric_does() {
    let check = |left: &str, right: &str, expected: &[&str]| {
        assert_eq!(merged(&[left, right]), expected, "{left} with {right}");
    };
    check("AND('A.member', 'B.member')", "OR('A.member', 'B.member')", &["a+b"]);
    check("OR('A.member', 'B.member')", "OR('A.member', 'C.member')", &["a", "c+b"]);
    check("AND('A.member', 'B.member')", "AND('B.member', 'C.member')", &["b+c+a"]);
    // A peer of A is a member of A: it serves both policies.
    check("'A.member'", "'A.peer'", &["a.peer"]);
    check("'A.admin'", "'A.peer'", &["a.peer+a.admin"]);
    // One signer counts once a policy: a second one is needed.
    check("OutOf(2, 'A.member', 'A.member')", "'A.peer'", &["a.peer+a"]);
    // The same policy once more changes nothing.
    check(
        "OutOf(2, 'A.member', 'B.member', 'C.member')",
        "OutOf(2, 'A.member', 'B.member', 'C.member')",
        &["a+b", "a+c", "b+c"],
    );
    // Fabric makes nothing larger of a combination that is in one of the other policy already.
    check("'A.member'", "OR(AND('A.member', 'B.member'), 'C.member')", &["a+b"]);
}

#[test]
fn every_combination_holds_those_that_merging_leaves_out() {
    let policies = ["'A.member'", "OR(AND('A.member', 'B.member'), 'C.member')"];
    assert_eq!(every(&policies), ["a+b", "c+a"]);
    assert_eq!(every(&["OutOf(2, 'A.member', 'A.member', 'B.member')", "'A.member'"]), ["a+a", "a+b"]);
}

#[test]
fn only_combinations_of_available_signers_are_in_every_combination() {
    let first = policy("OutOf(2, 'A.member', 'A.member', 'B.member')");
    let second = policy("'A.member'");
    let inquiry = Inquiry::new(&[&first, &second], |_| 1).unwrap();
    assert_eq!(texts(&inquiry, &inquiry.every_combination()), ["a+b"]);
}

#[test]
fn policies_that_nobody_satisfies_are_told_apart() {
    let (satisfiable, nobody) = (policy("'A.member'"), SignaturePolicy { rule: never(), principals: Vec::new() });
    let inquiry = Inquiry::new(&[&satisfiable, &nobody], |_| 1).unwrap();
    assert_eq!(inquiry.impossible(), Some(1));
    assert!(inquiry.merged().is_empty());
    let anyone = SignaturePolicy { rule: Rule::OutOf { n: 0, rules: Vec::new() }, principals: Vec::new() };
    let inquiry = Inquiry::new(&[&satisfiable, &anyone], |_| 1).unwrap();
    assert_eq!(texts(&inquiry, &inquiry.merged()), ["a"]);
    assert_eq!(Inquiry::new(&[], |_| 1).unwrap_err(), InquiryError::NoPolicies);
}

fn never() -> Rule {
    Rule::OutOf { n: 1, rules: Vec::new() }
}

fn many(n: i32, listed: usize) -> SignaturePolicy {
    let org = |index: usize| Principal::Role { msp_id: MspId::new(&format!("Org{index}")), role: Role::Member };
    let rules = (0..listed).map(Rule::SignedBy).collect();
    SignaturePolicy { rule: Rule::OutOf { n, rules }, principals: (0..listed).map(org).collect() }
}

#[test]
fn of_very_many_combinations_those_of_available_signers_are_kept() {
    let policy = many(20, 100);
    // Nobody of the first seventy organizations is there.
    let available = |principal: &Principal| {
        let number: usize =
            principal.to_string().trim_start_matches("Org").trim_end_matches(".MEMBER").parse().unwrap();
        usize::from(number >= 70)
    };
    let inquiry = Inquiry::new(&[&policy], available).unwrap();
    let combinations = inquiry.merged();
    assert!(!combinations.is_empty() && combinations.len() <= MAX_COMBINATIONS, "{}", combinations.len());
    assert!(combinations.iter().all(|combination| inquiry.is_available(combination)));
}

#[test]
fn hostile_policies_are_bounded() {
    let nested = |inner: Rule| Rule::OutOf { n: 10, rules: vec![inner; 20] };
    let policy = SignaturePolicy { rule: nested(nested(nested(Rule::SignedBy(0)))), ..many(1, 1) };
    assert!(Inquiry::new(&[&policy], |_| 1).unwrap().merged().len() <= MAX_COMBINATIONS);
    let all_of_many =
        SignaturePolicy { rule: Rule::OutOf { n: 100_000, rules: vec![Rule::SignedBy(0); 100_000] }, ..many(1, 1) };
    assert!(Inquiry::new(&[&all_of_many], |_| 1).unwrap().merged().is_empty());
    assert_eq!(Inquiry::new(&[&many(1, MAX_PRINCIPALS + 1)], |_| 1).unwrap_err(), InquiryError::TooManyPrincipals);
    let different: Vec<_> = (1..=MAX_POLICIES + 1).map(|listed| many(1, listed)).collect();
    let different: Vec<_> = different.iter().collect();
    assert_eq!(Inquiry::new(&different, |_| 1).unwrap_err(), InquiryError::TooManyPolicies(MAX_POLICIES + 1));
}

/// Whether signers who are each exactly one principal satisfy a rule: tries everything.
fn holds(rules: &[&Rule], principals: &[Principal], signers: &[Principal]) -> bool {
    let Some((first, rest)) = rules.split_first() else { return true };
    match first {
        Rule::SignedBy(index) => (0..signers.len()).any(|place| {
            let mut others = signers.to_vec();
            principals::is_a(&others.remove(place), &principals[*index]) && holds(rest, principals, &others)
        }),
        Rule::OutOf { n, rules: inner } => choices(inner, *n as usize).into_iter().any(|chosen| {
            let all: Vec<_> = chosen.into_iter().chain(rest.iter().copied()).collect();
            holds(&all, principals, signers)
        }),
    }
}

fn choices(rules: &[Rule], needed: usize) -> Vec<Vec<&Rule>> {
    if needed == 0 {
        return vec![Vec::new()];
    }
    let Some((first, rest)) = rules.split_first() else { return Vec::new() };
    let with_first = choices(rest, needed - 1).into_iter().map(|mut chosen| {
        chosen.push(first);
        chosen
    });
    with_first.chain(choices(rest, needed)).collect()
}

#[test]
fn every_combination_named_satisfies_every_policy() {
    let texts = [
        "'A.member'",
        "'A.peer'",
        "AND('A.member', 'A.peer')",
        "OR('A.member', 'B.peer')",
        "AND('A.admin', 'B.member')",
        "OutOf(2, 'A.member', 'B.member', 'C.member')",
        "OutOf(2, 'A.member', 'A.peer', 'A.admin')",
        "OR(AND('A.peer', 'B.peer'), 'C.member')",
        "AND(OR('A.member', 'B.member'), OR('B.member', 'C.member'))",
        "OutOf(2, 'A.member', 'A.member', 'B.member')",
    ];
    let policies: Vec<_> = texts.iter().map(|text| policy(text)).collect();
    for (left_text, left) in texts.iter().zip(&policies) {
        for (right_text, right) in texts.iter().zip(&policies) {
            let inquiry = Inquiry::new(&[left, right], |_| 10).unwrap();
            let mut named: BTreeMap<&str, Vec<Combination>> = BTreeMap::new();
            named.insert("merged", inquiry.merged());
            named.insert("every", inquiry.every_combination());
            for (way, combinations) in named {
                assert!(!combinations.is_empty(), "{way}: {left_text} with {right_text}");
                for combination in combinations {
                    let signers: Vec<_> =
                        combination.members().iter().map(|member| inquiry.principals()[*member].clone()).collect();
                    for policy in [left, right] {
                        let satisfied = holds(&[&policy.rule], &policy.principals, &signers);
                        assert!(satisfied, "{way}: {left_text} with {right_text} by {signers:?}");
                    }
                }
            }
        }
    }
}
