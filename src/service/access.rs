//! `AccessService`: tokens, groups, roles and row policies.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::context::{Context, blocking};
use super::limits::FIXED;
use super::{RequestError, ServiceError, convert, gate};
use crate::access::{Grant, PolicyCheck, Proof, Registry, Role, RoleInfo, Scope, system_clock};
use crate::engine::Db;
use crate::query;
use crate::wire::v1;
use crate::wire::v1::access_service_server::AccessService;

/// How often it is written down when tokens were used last.
const USES: Duration = Duration::from_hours(1);

/// Names in one request.
const NAMES_MAX: usize = 10_000;

/// Bytes of a predicate that a policy may have: it is evaluated with every query.
const PREDICATE_BYTES_MAX: usize = 4_096;

/// Manages identities, roles and row policies.
#[derive(Clone)]
pub(super) struct Access {
    context: Context,
}

/// Checks predicates against the schemas of a database.
struct Schemas {
    db: Db,
}

impl PolicyCheck for Schemas {
    fn check(&self, collection: &str, predicate: &str) -> Result<(), String> {
        let schema = self.db.schema(collection).map_err(|error| error.to_string())?;
        query::check_policy(&schema, predicate).map_err(|error| error.to_string())
    }
}

impl Access {
    pub(super) fn new(context: Context) -> Self {
        Self { context }
    }

    fn registry(&self) -> &Registry {
        &self.context.registry
    }

    /// Changes the registry on a thread that may wait for the disk.
    async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Registry) -> Result<T, crate::access::AccessError> + Send + 'static,
    ) -> Result<T, ServiceError> {
        let registry = self.registry().clone();
        blocking(move || work(&registry)).await
    }

    /// Whether somebody administers a collection, or without one the server.
    fn administers(&self, grant: &Grant, collection: Option<&str>) -> bool {
        grant.open || self.registry().decide(&grant.identity, Role::Administer, collection).is_ok()
    }

    fn who(&self, grant: &Grant) -> v1::WhoAmIResponse {
        let identity = &grant.identity;
        let is_his = |role: &RoleInfo| match &role.principal {
            crate::access::Principal::User(name) => *name == identity.name,
            crate::access::Principal::Group(name) => identity.groups.contains(name),
        };
        let roles = self.registry().roles(None).into_iter().filter(is_his).collect();
        let expires = match &identity.proof {
            Proof::Token { id } => {
                let own = self.registry().tokens(Some(&identity.name));
                own.into_iter().find(|token| token.id == *id).map(|token| token.expires)
            }
            Proof::Open | Proof::Certificate | Proof::Oidc { .. } => None,
        };
        convert::access::who(grant, roles, expires)
    }

    async fn create_token(
        &self,
        grant: &Grant,
        request: v1::CreateTokenRequest,
    ) -> Result<v1::CreateTokenResponse, ServiceError> {
        let v1::CreateTokenRequest { owner, seconds, groups } = request;
        check_count("groups", groups.len())?;
        let by = grant.identity.name.clone();
        let life = (seconds > 0).then_some(seconds);
        let (secret, token) =
            self.change(move |registry| registry.create_token(&owner, life, &groups, &by)).await?;
        tracing::info!(id = token.id, owner = token.owner, by = token.created_by, "token made");
        let token = Some(convert::access::token(token, system_clock()()));
        Ok(v1::CreateTokenResponse { secret: secret.reveal().to_owned(), token })
    }

    fn list_tokens(
        &self,
        grant: &Grant,
        request: &v1::ListTokensRequest,
    ) -> v1::ListTokensResponse {
        let wanted = (!request.owner.is_empty()).then_some(request.owner.as_str());
        let own = grant.identity.name.as_str();
        let sees_all = self.administers(grant, None);
        let owner = if sees_all { wanted } else { Some(own) };
        // What others have does not exist for him.
        let is_wanted = sees_all || wanted.is_none_or(|wanted| wanted == own);
        let now = system_clock()();
        let tokens = self.registry().tokens(owner).into_iter();
        let tokens = tokens.filter(|token| is_wanted && (request.ended || token.is_in_force(now)));
        v1::ListTokensResponse {
            tokens: tokens.map(|token| convert::access::token(token, now)).collect(),
        }
    }

    async fn revoke_token(
        &self,
        grant: &Grant,
        request: v1::RevokeTokenRequest,
    ) -> Result<v1::RevokeTokenResponse, ServiceError> {
        let own = (!self.administers(grant, None)).then(|| grant.identity.name.clone());
        let work = move |registry: &Registry| registry.revoke_token(&request.id, own.as_deref());
        let token = self.change(work).await?;
        tracing::info!(
            id = token.id,
            owner = token.owner,
            by = grant.identity.name,
            "token revoked"
        );
        Ok(v1::RevokeTokenResponse { token: Some(convert::access::token(token, system_clock()())) })
    }

    async fn set_group(&self, request: v1::SetGroupRequest) -> Result<v1::Group, ServiceError> {
        let v1::SetGroupRequest { name, members } = request;
        check_count("members of a group", members.len())?;
        let group = self.change(move |registry| registry.set_group(&name, &members)).await?;
        Ok(convert::access::group(group))
    }

    async fn give_role(
        &self,
        grant: &Grant,
        request: v1::GiveRoleRequest,
    ) -> Result<v1::GiveRoleResponse, ServiceError> {
        let principal = convert::access::principal(&request.principal)?;
        let scope = convert::access::scope(&request.collection)?;
        let role = convert::access::role(&request.role)?;
        let by = grant.identity.name.clone();
        let exists = match &scope {
            Scope::Everything => true,
            Scope::Collection(name) => self.context.schema(name).await.is_ok(),
        };
        let given =
            self.change(move |registry| registry.give_role(&principal, &scope, role, &by)).await?;
        tracing::info!(principal = %given.principal, role = %given.role, on = %given.scope, by = given.given_by, "role given");
        Ok(v1::GiveRoleResponse { given: Some(convert::access::role_given(given)), exists })
    }

    async fn take_role(
        &self,
        grant: &Grant,
        request: &v1::TakeRoleRequest,
    ) -> Result<v1::TakeRoleResponse, ServiceError> {
        let principal = convert::access::principal(&request.principal)?;
        let scope = convert::access::scope(&request.collection)?;
        tracing::info!(%principal, on = %scope, by = grant.identity.name, "taking a role away");
        let role = self.change(move |registry| registry.take_role(&principal, &scope)).await?;
        Ok(v1::TakeRoleResponse { role: role.name().to_owned() })
    }

    fn list_roles(
        &self,
        grant: &Grant,
        request: &v1::ListRolesRequest,
    ) -> Result<v1::ListRolesResponse, ServiceError> {
        let wanted = match request.collection.as_str() {
            "" => None,
            name => Some(convert::access::scope(name)?),
        };
        let roles = self.registry().roles(wanted.as_ref()).into_iter();
        let roles = roles.filter(|role| self.administers(grant, collection_of(&role.scope)));
        Ok(v1::ListRolesResponse { roles: roles.map(convert::access::role_given).collect() })
    }

    async fn set_policy(
        &self,
        grant: &Grant,
        request: v1::SetRowPolicyRequest,
    ) -> Result<v1::SetRowPolicyResponse, ServiceError> {
        let principal = convert::access::principal(&request.principal)?;
        let scope = convert::access::scope(&request.collection)?;
        let (predicate, by) = (request.predicate, grant.identity.name.clone());
        if predicate.len() > PREDICATE_BYTES_MAX {
            return Err(too_many("bytes of a predicate", predicate.len(), PREDICATE_BYTES_MAX));
        }
        let schemas = Schemas { db: self.context.db.clone() };
        let policy = self
            .change(move |registry| {
                registry.set_policy(&principal, &scope, &predicate, &by, &schemas)
            })
            .await?;
        tracing::info!(principal = %policy.principal, collection = policy.collection, by = policy.written_by, "row policy written");
        let undated_rows = self.undated_rows(grant, &policy.collection, &policy.predicate).await;
        let policy = Some(convert::access::row_policy(policy));
        Ok(v1::SetRowPolicyResponse { policy, undated_rows })
    }

    /// Rows that a policy hides since they have no date where it wants one; 0 where that cannot be told now.
    async fn undated_rows(&self, grant: &Grant, collection: &str, predicate: &str) -> u64 {
        let door = self.context.door(grant.clone());
        let (collection, predicate) = (collection.to_owned(), predicate.to_owned());
        let counted = blocking(move || -> Result<u64, ServiceError> {
            Ok(query::undated_rows(&door.view(&collection)?, &predicate)?)
        });
        match counted.await {
            Ok(0) => 0,
            Ok(rows) => {
                tracing::warn!(rows, "a row policy compares `today` with texts that are no dates");
                rows
            }
            Err(error) => {
                tracing::warn!(%error, "it cannot be told whether a row policy finds dates");
                0
            }
        }
    }

    fn list_policies(
        &self,
        grant: &Grant,
        request: &v1::ListRowPoliciesRequest,
    ) -> v1::ListRowPoliciesResponse {
        let wanted = Some(request.collection.as_str()).filter(|name| !matches!(*name, "" | "*"));
        let policies = self.registry().policies(wanted).into_iter();
        let policies = policies.filter(|policy| self.administers(grant, Some(&policy.collection)));
        v1::ListRowPoliciesResponse {
            policies: policies.map(convert::access::row_policy).collect(),
        }
    }

    async fn drop_policy(
        &self,
        grant: &Grant,
        request: &v1::DropRowPolicyRequest,
    ) -> Result<(), ServiceError> {
        let principal = convert::access::principal(&request.principal)?;
        let scope = convert::access::scope(&request.collection)?;
        tracing::info!(%principal, on = %scope, by = grant.identity.name, "dropping a row policy");
        self.change(move |registry| registry.drop_policy(&principal, &scope)).await
    }
}

fn collection_of(scope: &Scope) -> Option<&str> {
    match scope {
        Scope::Everything => None,
        Scope::Collection(name) => Some(name),
    }
}

fn check_count(what: &'static str, count: usize) -> Result<(), ServiceError> {
    if count > NAMES_MAX { Err(too_many(what, count, NAMES_MAX)) } else { Ok(()) }
}

fn too_many(what: &'static str, count: usize, max: usize) -> ServiceError {
    RequestError::TooMany { what, limit: FIXED, count, max }.into()
}

/// Writes down from time to time, and when the server stops, when tokens were used last.
pub(super) async fn keep_uses(registry: Registry, stop: CancellationToken) {
    loop {
        let stopped = tokio::time::timeout(USES, stop.cancelled()).await.is_ok();
        let registry = registry.clone();
        if let Err(error) = blocking(move || registry.write_uses()).await {
            tracing::warn!(%error, "it was not written down when tokens were used last");
        }
        if stopped {
            return;
        }
    }
}

#[tonic::async_trait]
impl AccessService for Access {
    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        Ok(Response::new(self.who(&gate::grant(&request)?)))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let grant = gate::grant(&request)?;
        Ok(Response::new(self.create_token(&grant, request.into_inner()).await?))
    }

    async fn list_tokens(
        &self,
        request: Request<v1::ListTokensRequest>,
    ) -> Result<Response<v1::ListTokensResponse>, Status> {
        let grant = gate::grant(&request)?;
        Ok(Response::new(self.list_tokens(&grant, request.get_ref())))
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let grant = gate::grant(&request)?;
        Ok(Response::new(self.revoke_token(&grant, request.into_inner()).await?))
    }

    async fn set_group(
        &self,
        request: Request<v1::SetGroupRequest>,
    ) -> Result<Response<v1::SetGroupResponse>, Status> {
        let group = Some(self.set_group(request.into_inner()).await?);
        Ok(Response::new(v1::SetGroupResponse { group }))
    }

    async fn list_groups(
        &self,
        _request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<v1::ListGroupsResponse>, Status> {
        let groups = self.registry().groups().into_iter().map(convert::access::group).collect();
        Ok(Response::new(v1::ListGroupsResponse { groups }))
    }

    async fn drop_group(
        &self,
        request: Request<v1::DropGroupRequest>,
    ) -> Result<Response<v1::DropGroupResponse>, Status> {
        let name = request.into_inner().name;
        self.change(move |registry| registry.drop_group(&name)).await?;
        Ok(Response::new(v1::DropGroupResponse {}))
    }

    async fn give_role(
        &self,
        request: Request<v1::GiveRoleRequest>,
    ) -> Result<Response<v1::GiveRoleResponse>, Status> {
        let grant = gate::grant(&request)?;
        Ok(Response::new(self.give_role(&grant, request.into_inner()).await?))
    }

    async fn take_role(
        &self,
        request: Request<v1::TakeRoleRequest>,
    ) -> Result<Response<v1::TakeRoleResponse>, Status> {
        let grant = gate::grant(&request)?;
        Ok(Response::new(self.take_role(&grant, request.get_ref()).await?))
    }

    async fn list_roles(
        &self,
        request: Request<v1::ListRolesRequest>,
    ) -> Result<Response<v1::ListRolesResponse>, Status> {
        let grant = gate::grant(&request)?;
        Ok(Response::new(self.list_roles(&grant, request.get_ref())?))
    }

    async fn set_row_policy(
        &self,
        request: Request<v1::SetRowPolicyRequest>,
    ) -> Result<Response<v1::SetRowPolicyResponse>, Status> {
        let grant = gate::grant(&request)?;
        Ok(Response::new(self.set_policy(&grant, request.into_inner()).await?))
    }

    async fn list_row_policies(
        &self,
        request: Request<v1::ListRowPoliciesRequest>,
    ) -> Result<Response<v1::ListRowPoliciesResponse>, Status> {
        let grant = gate::grant(&request)?;
        Ok(Response::new(self.list_policies(&grant, request.get_ref())))
    }

    async fn drop_row_policy(
        &self,
        request: Request<v1::DropRowPolicyRequest>,
    ) -> Result<Response<v1::DropRowPolicyResponse>, Status> {
        let grant = gate::grant(&request)?;
        self.drop_policy(&grant, request.get_ref()).await?;
        Ok(Response::new(v1::DropRowPolicyResponse {}))
    }
}
