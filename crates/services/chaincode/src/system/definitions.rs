//! `_lifecycle`: packages, approvals and definitions.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;
use ripstop_chaincode_builder::{Package, package_id};
use ripstop_channel_config::ChannelConfig;
use ripstop_channel_config::acl::Resource;
use ripstop_ledger::{SimulatedLifecycle, Simulator};
use ripstop_lifecycle::{
    ChaincodeDefinition, ChaincodeParameters, NAMESPACE, PackageSource, QueryError, approve, approved_definition,
    approved_definitions, check_input, check_readiness, commit, committed_definition, committed_definitions,
    org_approvals, references,
};
use ripstop_proto::lifecycle;

use super::{Answer, SystemCall, text};
use crate::error::{LaunchError, Refusal};
use crate::store::StoreError;

pub(super) fn answer(request: &SystemCall) -> Answer {
    let (function, input) = match request.args.as_slice() {
        [] => return Err("lifecycle scc must be invoked with arguments".into()),
        [function, input] => (text(function).into_owned(), input.clone()),
        args => {
            let count = args.len();
            return Err(format!("lifecycle scc operations require exactly two arguments but received {count}").into());
        }
    };
    let ledger = request.call.ledger.as_deref();
    let config = ledger.map(|ledger| ledger.config());
    if config.as_ref().is_some_and(|config| !config.lifecycle_v2()) {
        let channel = request.call.channel();
        return Err(format!(
            "cannot use new lifecycle for channel '{channel}' as it does not have the required capabilities enabled"
        )
        .into());
    }
    let name = format!("{NAMESPACE}/{function}");
    let denied = |why: &str| format!("Failed to authorize invocation due to failed ACL check: {why}");
    let resource = Resource::from_name(&name).ok_or_else(|| denied(&format!("Unmapped policy for {name}")))?;
    request.host.authorize(resource, ledger, &request.call.signed).map_err(|refusal| refusal.within(denied))?;
    let work = Work { request, function: &function, config: config.as_deref() };
    work.dispatch(resource, input).map_err(|refusal| match refusal {
        Refusal::Failed(text) => {
            Refusal::Failed(format!("failed to invoke backing implementation of '{function}': {text}"))
        }
        not_found => not_found,
    })
}

struct Work<'a> {
    request: &'a SystemCall,
    function: &'a str,
    /// The channel's configuration; none outside of a channel.
    config: Option<&'a ChannelConfig>,
}

impl Work<'_> {
    fn dispatch(&self, resource: Resource, input: Bytes) -> Answer {
        match resource {
            Resource::LifecycleInstallChaincode => self.install(self.decode(input)?),
            Resource::LifecycleQueryInstalledChaincode => self.installed(self.decode(input)?),
            Resource::LifecycleQueryInstalledChaincodes => self.all_installed(),
            Resource::LifecycleGetInstalledChaincodePackage => self.package(self.decode(input)?),
            Resource::LifecycleApproveChaincodeDefinitionForMyOrg => self.approve(self.decode(input)?),
            Resource::LifecycleQueryApprovedChaincodeDefinition => self.approved(self.decode(input)?),
            Resource::LifecycleQueryApprovedChaincodeDefinitions => self.all_approved(),
            Resource::LifecycleCheckCommitReadiness => self.readiness(self.decode(input)?),
            Resource::LifecycleCommitChaincodeDefinition => self.commit(self.decode(input)?),
            Resource::LifecycleQueryChaincodeDefinition => self.definition(self.decode(input)?),
            Resource::LifecycleQueryChaincodeDefinitions => self.all_definitions(),
            _ => Err(format!("receiver *lifecycle.Invocation.{} does not exist", self.function).into()),
        }
    }

    fn decode<M: Message + Default>(&self, input: Bytes) -> Result<M, Refusal> {
        M::decode(input).map_err(|error| {
            format!("could not decode input arg for *lifecycle.Invocation.{}: {error}", self.function).into()
        })
    }

    fn channel(&self) -> &str {
        self.request.call.channel()
    }

    fn config(&self) -> Result<&ChannelConfig, Refusal> {
        self.config.ok_or_else(|| format!("no application config for channel '{}'", self.channel()).into())
    }

    /// Runs something on the simulation, as one operation.
    fn simulate<T>(&self, work: impl FnOnce(&mut SimulatedLifecycle<'_>) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut guard = self.request.call.simulator();
        let simulator: &mut Simulator = guard.as_mut().ok_or("invalid channel-less operation")?;
        work(&mut SimulatedLifecycle::new(simulator))
    }

    fn install(&self, args: lifecycle::InstallChaincodeArgs) -> Answer {
        let bytes = args.chaincode_install_package;
        let package = Package::parse(&bytes)
            .and_then(|package| package.check_indexes().map(|()| package))
            .map_err(|error| format!("could not parse as a chaincode install package: {error}"))?;
        let host = &self.request.host;
        let label = package.metadata.label.clone();
        let id = package_id(&label, &bytes);
        if host.packages().get(&id).is_some() {
            return Err(StoreError::Installed(id).to_string().into());
        }
        // What this peer cannot run is not kept.
        self.build(&id, package).map_err(|error| format!("could not build chaincode: {error}"))?;
        let saved = host.packages().save(&label, &bytes);
        let installed = saved.map_err(|error| match error {
            StoreError::Installed(_) => error.to_string(),
            error => format!("could not save cc install package: {error}"),
        })?;
        tracing::info!("Successfully installed chaincode with package ID '{}'", installed.id);
        encode(&lifecycle::InstallChaincodeResult { package_id: installed.id, label: installed.label })
    }

    /// Builds a package on this thread, which may block, until the time for an installation is over.
    fn build(&self, id: &str, package: Package) -> Result<(), String> {
        let host = &self.request.host;
        let (stopping, timeout) = (host.stopping(), host.options().install_timeout);
        tokio::runtime::Handle::current().block_on(async {
            tokio::select! {
                built = tokio::time::timeout(timeout, host.build(id, package)) => match built {
                    Ok(built) => built.map(drop).map_err(|error| error.to_string()),
                    Err(_) => Err(format!("it takes longer than chaincode.installTimeout ({timeout:?})")),
                },
                () = stopping.cancelled() => Err(LaunchError::Stopping.to_string()),
            }
        })
    }

    fn installed(&self, args: lifecycle::QueryInstalledChaincodeArgs) -> Answer {
        use lifecycle::query_installed_chaincode_result::{Chaincode, References};
        let id = args.package_id;
        let package = self.request.host.packages().get(&id);
        let package = package.ok_or_else(|| format!("could not find chaincode with package id '{id}'"))?;
        let references = self.references(&id)?.into_iter().map(|(channel, chaincodes)| {
            let chaincodes = chaincodes.into_iter().map(|(name, version)| Chaincode { name, version }).collect();
            (channel, References { chaincodes })
        });
        encode(&lifecycle::QueryInstalledChaincodeResult {
            references: references.collect(),
            package_id: package.id,
            label: package.label,
        })
    }

    fn all_installed(&self) -> Answer {
        use lifecycle::query_installed_chaincodes_result::{Chaincode, InstalledChaincode, References};
        let mut installed_chaincodes = Vec::new();
        for package in self.request.host.packages().list().iter() {
            let references = self.references(&package.id)?.into_iter().map(|(channel, chaincodes)| {
                let chaincodes = chaincodes.into_iter().map(|(name, version)| Chaincode { name, version }).collect();
                (channel, References { chaincodes })
            });
            installed_chaincodes.push(InstalledChaincode {
                references: references.collect(),
                package_id: package.id.clone(),
                label: package.label.clone(),
            });
        }
        encode(&lifecycle::QueryInstalledChaincodesResult { installed_chaincodes })
    }

    /// Which definitions a package runs, by channel.
    fn references(&self, package_id: &str) -> Result<BTreeMap<String, Vec<(String, String)>>, Refusal> {
        let node = self.request.host.node();
        let mut all = BTreeMap::new();
        for channel in node.ledgers.list() {
            let Some(ledger) = node.ledgers.get(&channel) else { continue };
            let found = references(ledger.snapshot().as_ref(), node.local_msp.id(), package_id).map_err(refuse)?;
            if !found.is_empty() {
                all.insert(channel.to_string(), found);
            }
        }
        Ok(all)
    }

    fn package(&self, args: lifecycle::GetInstalledChaincodePackageArgs) -> Answer {
        let bytes = self.request.host.packages().load(&args.package_id);
        // Fabric answers 500 here also when there is no such package.
        let bytes = bytes.map_err(|error| Refusal::Failed(format!("could not load cc install package: {error}")))?;
        encode(&lifecycle::GetInstalledChaincodePackageResult { chaincode_install_package: bytes })
    }

    fn approve(&self, args: lifecycle::ApproveChaincodeDefinitionForMyOrgArgs) -> Answer {
        let config = self.config()?;
        let (name, source) = (args.name.clone(), PackageSource::from_proto(args.source.clone()));
        let proposed = ChaincodeDefinition::from(args);
        let org = self.request.host.node().local_msp.id();
        self.simulate(|state| {
            check(state, config, &name, &proposed)?;
            approve(state, config, org, &name, proposed, &source).map_err(refuse)
        })?;
        let (package_id, channel) = (source.package_id(), self.channel());
        tracing::info!(
            "Successfully endorsed chaincode approval with name '{name}', package ID '{package_id}', on channel '{channel}'"
        );
        encode(&lifecycle::ApproveChaincodeDefinitionForMyOrgResult {})
    }

    fn approved(&self, args: lifecycle::QueryApprovedChaincodeDefinitionArgs) -> Answer {
        let org = self.request.host.node().local_msp.id();
        let approved = self.simulate(|state| {
            approved_definition(state, org, self.channel(), &args.name, args.sequence).map_err(refuse)
        })?;
        let source = Some(approved.source.to_proto());
        encode(&lifecycle::QueryApprovedChaincodeDefinitionResult { source, ..approved.definition.into() })
    }

    fn all_approved(&self) -> Answer {
        use lifecycle::query_approved_chaincode_definitions_result::ApprovedChaincodeDefinition;
        let org = self.request.host.node().local_msp.id();
        let approved = self.simulate(|state| approved_definitions(state, org).map_err(refuse))?;
        let definitions = approved.into_iter().map(|((name, _), approved)| {
            let source = Some(approved.source.to_proto());
            ApprovedChaincodeDefinition { name, source, ..approved.definition.into() }
        });
        let approved_chaincode_definitions = definitions.collect();
        encode(&lifecycle::QueryApprovedChaincodeDefinitionsResult { approved_chaincode_definitions })
    }

    fn readiness(&self, args: lifecycle::CheckCommitReadinessArgs) -> Answer {
        use lifecycle::check_commit_readiness_result::Mismatches;
        let config = self.config()?;
        let name = args.name.clone();
        let mut proposed = ChaincodeDefinition::from(args);
        let readiness = self.simulate(|state| check_readiness(state, config, &name, &mut proposed).map_err(refuse))?;
        let mismatches = readiness.mismatches.into_iter().map(|(org, fields)| {
            (org.to_string(), Mismatches { items: fields.into_iter().map(str::to_owned).collect() })
        });
        encode(&lifecycle::CheckCommitReadinessResult {
            approvals: readiness.approvals.into_iter().map(|(org, agreed)| (org.to_string(), agreed)).collect(),
            mismatches: mismatches.collect(),
        })
    }

    fn commit(&self, args: lifecycle::CommitChaincodeDefinitionArgs) -> Answer {
        let config = self.config()?;
        let name = args.name.clone();
        let proposed = ChaincodeDefinition::from(args);
        let org = self.request.host.node().local_msp.id();
        self.simulate(|state| {
            check(state, config, &name, &proposed)?;
            commit(state, config, org, &name, proposed).map_err(refuse)
        })?;
        let channel = self.channel();
        tracing::info!("Successfully endorsed commit for chaincode name '{name}' on channel '{channel}'");
        encode(&lifecycle::CommitChaincodeDefinitionResult {})
    }

    fn definition(&self, args: lifecycle::QueryChaincodeDefinitionArgs) -> Answer {
        let (definition, readiness) = self.simulate(|state| {
            let definition = committed_definition(state, &args.name).map_err(|error| match error {
                QueryError::NotDefined(_) => Refusal::NotFound(error.to_string()),
                error => refuse(error),
            })?;
            let readiness = org_approvals(state, self.config()?, &args.name, &definition).map_err(refuse)?;
            Ok((definition, readiness))
        })?;
        let approvals = readiness.approvals.into_iter().map(|(org, agreed)| (org.to_string(), agreed)).collect();
        encode(&lifecycle::QueryChaincodeDefinitionResult { approvals, ..definition.into() })
    }

    fn all_definitions(&self) -> Answer {
        use lifecycle::query_chaincode_definitions_result::ChaincodeDefinition as Named;
        let definitions = self.simulate(|state| committed_definitions(state).map_err(refuse))?;
        let definitions = definitions.into_iter().map(|(name, definition)| Named { name, ..definition.into() });
        encode(&lifecycle::QueryChaincodeDefinitionsResult { chaincode_definitions: definitions.collect() })
    }
}

/// Checks the form of what an approval or a commit proposes.
fn check(
    state: &mut SimulatedLifecycle<'_>,
    config: &ChannelConfig,
    name: &str,
    proposed: &ChaincodeDefinition,
) -> Result<(), Refusal> {
    let ChaincodeParameters { version, collections, .. } = &proposed.parameters;
    check_input(state, config, name, version, Some(collections))
        .map_err(|error| format!("error validating chaincode definition: {error}").into())
}

fn refuse(error: impl std::fmt::Display) -> Refusal {
    Refusal::Failed(error.to_string())
}

fn encode(result: &impl Message) -> Answer {
    Ok(result.encode_to_vec().into())
}
