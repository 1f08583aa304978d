from sidereus.options.v1 import access_pb2 as _access_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TokenInfo(_message.Message):
    __slots__ = ("id", "owner", "created_by", "created", "expires", "revoked", "last_used", "in_force")
    ID_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    CREATED_BY_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    LAST_USED_FIELD_NUMBER: _ClassVar[int]
    IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    id: str
    owner: str
    created_by: str
    created: int
    expires: int
    revoked: int
    last_used: int
    in_force: bool
    def __init__(self, id: _Optional[str] = ..., owner: _Optional[str] = ..., created_by: _Optional[str] = ..., created: _Optional[int] = ..., expires: _Optional[int] = ..., revoked: _Optional[int] = ..., last_used: _Optional[int] = ..., in_force: _Optional[bool] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("name", "members")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    members: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., members: _Optional[_Iterable[str]] = ...) -> None: ...

class RoleGiven(_message.Message):
    __slots__ = ("principal", "role", "collection", "given", "given_by")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    GIVEN_BY_FIELD_NUMBER: _ClassVar[int]
    principal: str
    role: str
    collection: str
    given: int
    given_by: str
    def __init__(self, principal: _Optional[str] = ..., role: _Optional[str] = ..., collection: _Optional[str] = ..., given: _Optional[int] = ..., given_by: _Optional[str] = ...) -> None: ...

class RowPolicy(_message.Message):
    __slots__ = ("principal", "collection", "predicate", "written", "written_by")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_BY_FIELD_NUMBER: _ClassVar[int]
    principal: str
    collection: str
    predicate: str
    written: int
    written_by: str
    def __init__(self, principal: _Optional[str] = ..., collection: _Optional[str] = ..., predicate: _Optional[str] = ..., written: _Optional[int] = ..., written_by: _Optional[str] = ...) -> None: ...

class WhoAmIRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WhoAmIResponse(_message.Message):
    __slots__ = ("name", "groups", "proof", "proof_id", "expires", "roles")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    PROOF_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    ROLES_FIELD_NUMBER: _ClassVar[int]
    name: str
    groups: _containers.RepeatedScalarFieldContainer[str]
    proof: str
    proof_id: str
    expires: int
    roles: _containers.RepeatedCompositeFieldContainer[RoleGiven]
    def __init__(self, name: _Optional[str] = ..., groups: _Optional[_Iterable[str]] = ..., proof: _Optional[str] = ..., proof_id: _Optional[str] = ..., expires: _Optional[int] = ..., roles: _Optional[_Iterable[_Union[RoleGiven, _Mapping[str, _Any]]]] = ...) -> None: ...

class CreateTokenRequest(_message.Message):
    __slots__ = ("owner", "seconds", "groups")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    owner: str
    seconds: int
    groups: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, owner: _Optional[str] = ..., seconds: _Optional[int] = ..., groups: _Optional[_Iterable[str]] = ...) -> None: ...

class CreateTokenResponse(_message.Message):
    __slots__ = ("secret", "token")
    SECRET_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    secret: str
    token: TokenInfo
    def __init__(self, secret: _Optional[str] = ..., token: _Optional[_Union[TokenInfo, _Mapping[str, _Any]]] = ...) -> None: ...

class ListTokensRequest(_message.Message):
    __slots__ = ("owner", "ended")
    OWNER_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    owner: str
    ended: bool
    def __init__(self, owner: _Optional[str] = ..., ended: _Optional[bool] = ...) -> None: ...

class ListTokensResponse(_message.Message):
    __slots__ = ("tokens",)
    TOKENS_FIELD_NUMBER: _ClassVar[int]
    tokens: _containers.RepeatedCompositeFieldContainer[TokenInfo]
    def __init__(self, tokens: _Optional[_Iterable[_Union[TokenInfo, _Mapping[str, _Any]]]] = ...) -> None: ...

class RevokeTokenRequest(_message.Message):
    __slots__ = ("id",)
    ID_FIELD_NUMBER: _ClassVar[int]
    id: str
    def __init__(self, id: _Optional[str] = ...) -> None: ...

class RevokeTokenResponse(_message.Message):
    __slots__ = ("token",)
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    token: TokenInfo
    def __init__(self, token: _Optional[_Union[TokenInfo, _Mapping[str, _Any]]] = ...) -> None: ...

class SetGroupRequest(_message.Message):
    __slots__ = ("name", "members")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    members: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., members: _Optional[_Iterable[str]] = ...) -> None: ...

class SetGroupResponse(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: Group
    def __init__(self, group: _Optional[_Union[Group, _Mapping[str, _Any]]] = ...) -> None: ...

class ListGroupsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListGroupsResponse(_message.Message):
    __slots__ = ("groups",)
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[Group]
    def __init__(self, groups: _Optional[_Iterable[_Union[Group, _Mapping[str, _Any]]]] = ...) -> None: ...

class DropGroupRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DropGroupResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GiveRoleRequest(_message.Message):
    __slots__ = ("principal", "role", "collection")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    principal: str
    role: str
    collection: str
    def __init__(self, principal: _Optional[str] = ..., role: _Optional[str] = ..., collection: _Optional[str] = ...) -> None: ...

class GiveRoleResponse(_message.Message):
    __slots__ = ("given", "exists")
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    EXISTS_FIELD_NUMBER: _ClassVar[int]
    given: RoleGiven
    exists: bool
    def __init__(self, given: _Optional[_Union[RoleGiven, _Mapping[str, _Any]]] = ..., exists: _Optional[bool] = ...) -> None: ...

class TakeRoleRequest(_message.Message):
    __slots__ = ("principal", "collection")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    principal: str
    collection: str
    def __init__(self, principal: _Optional[str] = ..., collection: _Optional[str] = ...) -> None: ...

class TakeRoleResponse(_message.Message):
    __slots__ = ("role",)
    ROLE_FIELD_NUMBER: _ClassVar[int]
    role: str
    def __init__(self, role: _Optional[str] = ...) -> None: ...

class ListRolesRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class ListRolesResponse(_message.Message):
    __slots__ = ("roles",)
    ROLES_FIELD_NUMBER: _ClassVar[int]
    roles: _containers.RepeatedCompositeFieldContainer[RoleGiven]
    def __init__(self, roles: _Optional[_Iterable[_Union[RoleGiven, _Mapping[str, _Any]]]] = ...) -> None: ...

class SetRowPolicyRequest(_message.Message):
    __slots__ = ("principal", "collection", "predicate")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    principal: str
    collection: str
    predicate: str
    def __init__(self, principal: _Optional[str] = ..., collection: _Optional[str] = ..., predicate: _Optional[str] = ...) -> None: ...

class SetRowPolicyResponse(_message.Message):
    __slots__ = ("policy", "undated_rows")
    POLICY_FIELD_NUMBER: _ClassVar[int]
    UNDATED_ROWS_FIELD_NUMBER: _ClassVar[int]
    policy: RowPolicy
    undated_rows: int
    def __init__(self, policy: _Optional[_Union[RowPolicy, _Mapping[str, _Any]]] = ..., undated_rows: _Optional[int] = ...) -> None: ...

class ListRowPoliciesRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class ListRowPoliciesResponse(_message.Message):
    __slots__ = ("policies",)
    POLICIES_FIELD_NUMBER: _ClassVar[int]
    policies: _containers.RepeatedCompositeFieldContainer[RowPolicy]
    def __init__(self, policies: _Optional[_Iterable[_Union[RowPolicy, _Mapping[str, _Any]]]] = ...) -> None: ...

class DropRowPolicyRequest(_message.Message):
    __slots__ = ("principal", "collection")
    PRINCIPAL_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    principal: str
    collection: str
    def __init__(self, principal: _Optional[str] = ..., collection: _Optional[str] = ...) -> None: ...

class DropRowPolicyResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...
