//! Who had to agree, and whether they did (Fabric: the built-in validation plugin `vscc` of V2_0 channels).

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use ripstop_channel_config::ChannelConfig;
use ripstop_lifecycle::{QueryError, RecordError, collection_endorsement_policy, validation_info};
use ripstop_policy::{ApplicationPolicy, SignaturePolicy};
use ripstop_rwset::{NsRwSet, StateError, StateView};

use crate::form::Content;
use crate::{EndorsementError, KeyName, PolicyScope, Refusal, Undecided};

/// The metadata entry under which a key keeps its own endorsement policy, a `common.SignaturePolicyEnvelope`.
const KEY_POLICY: &str = "VALIDATION_PARAMETER";

/// The only validation plugin there is.
const BUILT_IN_PLUGIN: &str = "vscc";

/// What the policies of one namespace say about a transaction.
#[derive(Debug)]
pub(crate) struct NamespaceVerdict {
    pub(crate) namespace: String,
    pub(crate) verdict: Result<(), Refusal>,
}

/// Judges the endorsements of the transactions of one block. Definitions are looked up once a block.
pub(crate) struct Judge<'a> {
    config: &'a ChannelConfig,
    before: &'a dyn StateView,
    policies: Mutex<HashMap<PolicyOf, Arc<Policy>>>,
}

/// A policy in the definition of a chaincode.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct PolicyOf {
    chaincode: String,
    /// None for the chaincode's own.
    collection: Option<String>,
}

type Policy = Result<ApplicationPolicy, Refusal>;

impl<'a> Judge<'a> {
    pub(crate) fn new(config: &'a ChannelConfig, before: &'a dyn StateView) -> Self {
        Self { config, before, policies: Mutex::new(HashMap::new()) }
    }

    /// The verdicts of the namespaces of a transaction up to the first refusal; of all of them where the transaction
    /// changes key-level policies, because later transactions depend on each namespace by itself.
    pub(crate) fn namespaces(&self, content: &Content) -> Result<Vec<NamespaceVerdict>, Undecided> {
        let changes_policies = content.rwset.namespaces.iter().any(changes_policies);
        let mut verdicts = Vec::new();
        for namespace in content.judged_namespaces() {
            let verdict = self.namespace(namespace, content)?;
            let refused = verdict.is_err();
            verdicts.push(NamespaceVerdict { namespace: namespace.to_owned(), verdict });
            if refused && !changes_policies {
                break;
            }
        }
        Ok(verdicts)
    }

    fn namespace(&self, namespace: &str, content: &Content) -> Result<Result<(), Refusal>, Undecided> {
        let policy = self.policy(PolicyOf { chaincode: namespace.to_owned(), collection: None })?;
        if let Err(refusal @ Refusal::Definition { .. }) = policy.as_ref() {
            return Ok(Err(refusal.clone()));
        }
        let mut satisfied = Satisfied { judge: self, content, namespace, policies: HashSet::new(), any: false };
        let Some(set) = content.rwset.namespace(namespace) else { return satisfied.chaincode() };
        for key in written_keys(set) {
            let verdict = match self.key_policy(&key)? {
                Some(policy) => satisfied.key(&key, &policy),
                None => satisfied.default(key.collection)?,
            };
            if verdict.is_err() {
                return Ok(verdict);
            }
        }
        if satisfied.any { Ok(Ok(())) } else { satisfied.chaincode() }
    }

    /// The key's own policy as it was before the block.
    fn key_policy(&self, key: &WrittenKey<'_>) -> Result<Option<Bytes>, StateError> {
        let value = if key.collection.is_empty() {
            self.before.get(key.namespace, &String::from_utf8_lossy(key.key))?
        } else {
            self.before.hashed(key.namespace, key.collection, key.key)?
        };
        let Some(value) = value.filter(|value| !value.metadata.is_empty()) else { return Ok(None) };
        Ok(value.metadata_entry(KEY_POLICY)?.filter(|policy| !policy.is_empty()))
    }

    fn policy(&self, of: PolicyOf) -> Result<Arc<Policy>, Undecided> {
        let lock = || self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(policy) = lock().get(&of) {
            return Ok(policy.clone());
        }
        let policy = Arc::new(self.look_up(&of)?);
        lock().insert(of, policy.clone());
        Ok(policy)
    }

    fn look_up(&self, of: &PolicyOf) -> Result<Policy, Undecided> {
        let bytes = match &of.collection {
            None => self.chaincode_policy(&of.chaincode)?,
            Some(collection) => self.collection_policy(&of.chaincode, collection)?,
        };
        Ok(bytes.and_then(|bytes| {
            ApplicationPolicy::parse(&bytes).map_err(|error| Refusal::Endorsement {
                scope: of.scope(),
                refusal: EndorsementError::NoPolicy(error.to_string()),
            })
        }))
    }

    fn chaincode_policy(&self, chaincode: &str) -> Result<Result<Bytes, Refusal>, Undecided> {
        let refuse = |why: String| Ok(Err(Refusal::Definition { name: chaincode.to_owned(), why }));
        let info = match validation_info(self.before, self.config, chaincode) {
            Ok(Some(info)) => info,
            Ok(None) => return refuse(format!("chaincode {chaincode} not found")),
            Err(error) => return refuse(readable(error)?),
        };
        if info.plugin.is_empty() {
            return refuse("definition is invalid, plugin field must be set".to_owned());
        }
        if info.policy.is_empty() {
            return refuse("definition is invalid, policy field must be set".to_owned());
        }
        if info.plugin != BUILT_IN_PLUGIN {
            return Err(Undecided::Plugin { chaincode: chaincode.to_owned(), plugin: info.plugin });
        }
        Ok(Ok(info.policy))
    }

    fn collection_policy(&self, chaincode: &str, collection: &str) -> Result<Result<Bytes, Refusal>, Undecided> {
        let why = match collection_endorsement_policy(self.before, self.config, chaincode, collection) {
            Ok(Some(policy)) => return Ok(Ok(policy)),
            Ok(None) => format!("no such collection '{collection}'"),
            Err(error) => readable(error)?,
        };
        let scope = PolicyScope::Collection { chaincode: chaincode.to_owned(), collection: collection.to_owned() };
        Ok(Err(Refusal::Endorsement { scope, refusal: EndorsementError::NoPolicy(why) }))
    }

    fn evaluate(&self, policy: &ApplicationPolicy, content: &Content, scope: PolicyScope) -> Result<(), Refusal> {
        policy
            .evaluate_signers(&content.endorsers, self.config.policies(), self.config.msps())
            .map_err(|refusal| Refusal::Endorsement { scope, refusal: refusal.into() })
    }
}

/// What is wrong with a definition that was read; an error where it could not be read. A definition that makes no sense
/// stops Fabric's peers. It is the same on every peer, so here its chaincode is invalid.
fn readable(error: QueryError) -> Result<String, Undecided> {
    match error {
        error @ QueryError::Record { error: RecordError::State { .. }, .. } => Err(StateError::new(error).into()),
        other => Ok(other.to_string()),
    }
}

impl PolicyOf {
    fn scope(&self) -> PolicyScope {
        let chaincode = self.chaincode.clone();
        match self.collection.clone() {
            None => PolicyScope::Chaincode(chaincode),
            Some(collection) => PolicyScope::Collection { chaincode, collection },
        }
    }
}

/// The policies of a namespace that a transaction is known to satisfy; none is asked twice.
struct Satisfied<'j> {
    judge: &'j Judge<'j>,
    content: &'j Content,
    namespace: &'j str,
    policies: HashSet<PolicyOf>,
    any: bool,
}

impl Satisfied<'_> {
    fn chaincode(&mut self) -> Result<Result<(), Refusal>, Undecided> {
        self.defined(PolicyOf { chaincode: self.namespace.to_owned(), collection: None })
    }

    /// The policy of a key without one of its own: the collection's, or the chaincode's.
    fn default(&mut self, collection: &str) -> Result<Result<(), Refusal>, Undecided> {
        let collection = Some(collection.to_owned()).filter(|collection| !collection.is_empty());
        self.defined(PolicyOf { chaincode: self.namespace.to_owned(), collection })
    }

    fn defined(&mut self, of: PolicyOf) -> Result<Result<(), Refusal>, Undecided> {
        if self.policies.contains(&of) {
            return Ok(Ok(()));
        }
        let policy = self.judge.policy(of.clone())?;
        let verdict = match policy.as_ref() {
            Err(refusal) => Err(refusal.clone()),
            Ok(policy) => self.judge.evaluate(policy, self.content, of.scope()),
        };
        if verdict.is_ok() {
            self.policies.insert(of);
            self.any = true;
        }
        Ok(verdict)
    }

    fn key(&mut self, key: &WrittenKey<'_>, policy: &[u8]) -> Result<(), Refusal> {
        let scope = || PolicyScope::Key(key.name());
        let policy = SignaturePolicy::parse(policy).map_err(|error| Refusal::Endorsement {
            scope: scope(),
            refusal: EndorsementError::NoPolicy(error.to_string()),
        })?;
        self.judge.evaluate(&ApplicationPolicy::Signature(policy), self.content, scope())?;
        self.any = true;
        Ok(())
    }
}

/// A key whose value or metadata a transaction writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct WrittenKey<'a> {
    namespace: &'a str,
    /// Empty for a public key.
    collection: &'a str,
    /// The key, or its hash.
    key: &'a [u8],
}

impl WrittenKey<'_> {
    fn name(&self) -> KeyName {
        let key = if self.collection.is_empty() {
            String::from_utf8_lossy(self.key).into_owned()
        } else {
            hex::encode(self.key)
        };
        KeyName { namespace: self.namespace.to_owned(), collection: self.collection.to_owned(), key }
    }
}

/// Public writes, public metadata, private writes, private metadata: the order of Fabric's checks.
fn written_keys(set: &NsRwSet) -> impl Iterator<Item = WrittenKey<'_>> {
    let namespace = set.namespace.as_str();
    let public = |key| WrittenKey { namespace, collection: "", key };
    let writes = set.writes.iter().map(move |write| public(write.key.as_bytes()));
    let metadata = set.metadata_writes.iter().map(move |write| public(write.key.as_bytes()));
    let private = set.collections.iter().flat_map(move |collection| {
        let name = collection.collection.as_str();
        collection.writes.iter().map(move |write| WrittenKey { namespace, collection: name, key: &write.key_hash })
    });
    writes.chain(metadata).chain(private).chain(private_metadata(set))
}

fn private_metadata(set: &NsRwSet) -> impl Iterator<Item = WrittenKey<'_>> {
    let namespace = set.namespace.as_str();
    set.collections.iter().flat_map(move |collection| {
        let name = collection.collection.as_str();
        let key = move |key| WrittenKey { namespace, collection: name, key };
        collection.metadata_writes.iter().map(move |write| key(&write.key_hash[..]))
    })
}

fn metadata_keys(set: &NsRwSet) -> impl Iterator<Item = WrittenKey<'_>> {
    let namespace = set.namespace.as_str();
    let public = move |key| WrittenKey { namespace, collection: "", key };
    set.metadata_writes.iter().map(move |write| public(write.key.as_bytes())).chain(private_metadata(set))
}

fn changes_policies(set: &NsRwSet) -> bool {
    metadata_keys(set).next().is_some()
}

/// The keys whose policies the transactions so far change, with the transaction that did it.
///
/// A transaction counts when the policies of the key's namespace agree with it, whatever else becomes of it: repeated
/// ids and changed reads do not matter here. (Fabric's peers wait for ever where an earlier transaction was refused
/// before its policies were asked; here it simply changes nothing.)
#[derive(Debug, Default)]
pub(crate) struct PolicyChanges(HashMap<ChangedKey, usize>);

type ChangedKey = (String, String, Bytes);

impl PolicyChanges {
    /// The verdict of all namespaces of transaction `index`, in the light of the transactions before it. Call in block
    /// order.
    pub(crate) fn judge(
        &mut self,
        index: usize,
        content: &Content,
        namespaces: Vec<NamespaceVerdict>,
    ) -> Option<Refusal> {
        let mut first = None;
        for NamespaceVerdict { namespace, verdict } in namespaces {
            let set = content.rwset.namespace(&namespace);
            let verdict = verdict.and_then(|()| set.map_or(Ok(()), |set| self.check(set)));
            match verdict {
                Err(refusal) => first = first.or(Some(refusal)),
                Ok(()) => {
                    let keys = set.into_iter().flat_map(metadata_keys).map(changed_key);
                    self.0.extend(keys.map(|key| (key, index)));
                }
            }
        }
        first
    }

    fn check(&self, set: &NsRwSet) -> Result<(), Refusal> {
        if self.0.is_empty() {
            return Ok(());
        }
        match written_keys(set).find_map(|key| Some((key, self.0.get(&changed_key(key))?))) {
            Some((key, by)) => Err(Refusal::PolicyChanged { key: key.name(), by: *by }),
            None => Ok(()),
        }
    }
}

fn changed_key(key: WrittenKey<'_>) -> ChangedKey {
    (key.namespace.to_owned(), key.collection.to_owned(), Bytes::copy_from_slice(key.key))
}
