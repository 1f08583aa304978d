from sidereus.options.v1 import access_pb2 as _access_pb2
from sidereus.v1 import objects_pb2 as _objects_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class BridgeSpec(_message.Message):
    __slots__ = ("to", "procrustes", "ridge", "cca", "contrastive", "split", "predicate", "resamples", "seed", "train_limit", "test_limit")
    FROM_FIELD_NUMBER: _ClassVar[int]
    TO_FIELD_NUMBER: _ClassVar[int]
    PROCRUSTES_FIELD_NUMBER: _ClassVar[int]
    RIDGE_FIELD_NUMBER: _ClassVar[int]
    CCA_FIELD_NUMBER: _ClassVar[int]
    CONTRASTIVE_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    RESAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TRAIN_LIMIT_FIELD_NUMBER: _ClassVar[int]
    TEST_LIMIT_FIELD_NUMBER: _ClassVar[int]
    to: str
    procrustes: ProcrustesBridge
    ridge: RidgeBridge
    cca: CcaBridge
    contrastive: ContrastiveBridge
    split: str
    predicate: str
    resamples: int
    seed: int
    train_limit: int
    test_limit: int
    def __init__(self, to: _Optional[str] = ..., procrustes: _Optional[_Union[ProcrustesBridge, _Mapping[str, _Any]]] = ..., ridge: _Optional[_Union[RidgeBridge, _Mapping[str, _Any]]] = ..., cca: _Optional[_Union[CcaBridge, _Mapping[str, _Any]]] = ..., contrastive: _Optional[_Union[ContrastiveBridge, _Mapping[str, _Any]]] = ..., split: _Optional[str] = ..., predicate: _Optional[str] = ..., resamples: _Optional[int] = ..., seed: _Optional[int] = ..., train_limit: _Optional[int] = ..., test_limit: _Optional[int] = ..., **kwargs: _Any) -> None: ...

class ProcrustesBridge(_message.Message):
    __slots__ = ("keep_means", "keep_scale")
    KEEP_MEANS_FIELD_NUMBER: _ClassVar[int]
    KEEP_SCALE_FIELD_NUMBER: _ClassVar[int]
    keep_means: bool
    keep_scale: bool
    def __init__(self, keep_means: _Optional[bool] = ..., keep_scale: _Optional[bool] = ...) -> None: ...

class RidgeBridge(_message.Message):
    __slots__ = ("alphas", "folds")
    ALPHAS_FIELD_NUMBER: _ClassVar[int]
    FOLDS_FIELD_NUMBER: _ClassVar[int]
    alphas: _containers.RepeatedScalarFieldContainer[float]
    folds: int
    def __init__(self, alphas: _Optional[_Iterable[float]] = ..., folds: _Optional[int] = ...) -> None: ...

class CcaBridge(_message.Message):
    __slots__ = ("components", "regularisation", "power")
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    REGULARISATION_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    components: int
    regularisation: float
    power: float
    def __init__(self, components: _Optional[int] = ..., regularisation: _Optional[float] = ..., power: _Optional[float] = ...) -> None: ...

class ContrastiveBridge(_message.Message):
    __slots__ = ("dimension", "hidden", "temperature", "learning_rate", "epochs", "batch", "weight_decay")
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    dimension: int
    hidden: _containers.RepeatedScalarFieldContainer[int]
    temperature: float
    learning_rate: float
    epochs: int
    batch: int
    weight_decay: float
    def __init__(self, dimension: _Optional[int] = ..., hidden: _Optional[_Iterable[int]] = ..., temperature: _Optional[float] = ..., learning_rate: _Optional[float] = ..., epochs: _Optional[int] = ..., batch: _Optional[int] = ..., weight_decay: _Optional[float] = ...) -> None: ...

class BridgeMetric(_message.Message):
    __slots__ = ("name", "value", "low", "high", "chance")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    CHANCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    low: float
    high: float
    chance: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ..., chance: _Optional[float] = ...) -> None: ...

class Bridge(_message.Message):
    __slots__ = ("name", "collection", "spec", "version", "from_provenance", "to_provenance", "dimension", "leads_into_target", "n_train", "n_test", "metrics", "alpha", "alphas", "alpha_scores", "scale", "correlations", "collection_version", "fitted_at", "elapsed_seconds", "stale", "n_changed", "n_leaked")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FROM_PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TO_PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    LEADS_INTO_TARGET_FIELD_NUMBER: _ClassVar[int]
    N_TRAIN_FIELD_NUMBER: _ClassVar[int]
    N_TEST_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    ALPHAS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_SCORES_FIELD_NUMBER: _ClassVar[int]
    SCALE_FIELD_NUMBER: _ClassVar[int]
    CORRELATIONS_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_VERSION_FIELD_NUMBER: _ClassVar[int]
    FITTED_AT_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    N_CHANGED_FIELD_NUMBER: _ClassVar[int]
    N_LEAKED_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection: str
    spec: BridgeSpec
    version: int
    from_provenance: _objects_pb2.Provenance
    to_provenance: _objects_pb2.Provenance
    dimension: int
    leads_into_target: bool
    n_train: int
    n_test: int
    metrics: _containers.RepeatedCompositeFieldContainer[BridgeMetric]
    alpha: float
    alphas: _containers.RepeatedScalarFieldContainer[float]
    alpha_scores: _containers.RepeatedScalarFieldContainer[float]
    scale: float
    correlations: _containers.RepeatedScalarFieldContainer[float]
    collection_version: int
    fitted_at: int
    elapsed_seconds: float
    stale: str
    n_changed: int
    n_leaked: int
    def __init__(self, name: _Optional[str] = ..., collection: _Optional[str] = ..., spec: _Optional[_Union[BridgeSpec, _Mapping[str, _Any]]] = ..., version: _Optional[int] = ..., from_provenance: _Optional[_Union[_objects_pb2.Provenance, _Mapping[str, _Any]]] = ..., to_provenance: _Optional[_Union[_objects_pb2.Provenance, _Mapping[str, _Any]]] = ..., dimension: _Optional[int] = ..., leads_into_target: _Optional[bool] = ..., n_train: _Optional[int] = ..., n_test: _Optional[int] = ..., metrics: _Optional[_Iterable[_Union[BridgeMetric, _Mapping[str, _Any]]]] = ..., alpha: _Optional[float] = ..., alphas: _Optional[_Iterable[float]] = ..., alpha_scores: _Optional[_Iterable[float]] = ..., scale: _Optional[float] = ..., correlations: _Optional[_Iterable[float]] = ..., collection_version: _Optional[int] = ..., fitted_at: _Optional[int] = ..., elapsed_seconds: _Optional[float] = ..., stale: _Optional[str] = ..., n_changed: _Optional[int] = ..., n_leaked: _Optional[int] = ...) -> None: ...

class FitBridgeRequest(_message.Message):
    __slots__ = ("collection", "spec", "name", "overwrite")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    spec: BridgeSpec
    name: str
    overwrite: bool
    def __init__(self, collection: _Optional[str] = ..., spec: _Optional[_Union[BridgeSpec, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ..., overwrite: _Optional[bool] = ...) -> None: ...

class FitBridgeResponse(_message.Message):
    __slots__ = ("stage", "done", "total", "bridge")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    BRIDGE_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    bridge: Bridge
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., bridge: _Optional[_Union[Bridge, _Mapping[str, _Any]]] = ...) -> None: ...

class ListBridgesRequest(_message.Message):
    __slots__ = ("collection", "after", "release")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    after: str
    release: str
    def __init__(self, collection: _Optional[str] = ..., after: _Optional[str] = ..., release: _Optional[str] = ...) -> None: ...

class ListBridgesResponse(_message.Message):
    __slots__ = ("bridges", "next")
    BRIDGES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    bridges: _containers.RepeatedCompositeFieldContainer[Bridge]
    next: str
    def __init__(self, bridges: _Optional[_Iterable[_Union[Bridge, _Mapping[str, _Any]]]] = ..., next: _Optional[str] = ...) -> None: ...

class GetBridgeRequest(_message.Message):
    __slots__ = ("collection", "name", "release")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    release: str
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ..., release: _Optional[str] = ...) -> None: ...

class GetBridgeResponse(_message.Message):
    __slots__ = ("bridge",)
    BRIDGE_FIELD_NUMBER: _ClassVar[int]
    bridge: Bridge
    def __init__(self, bridge: _Optional[_Union[Bridge, _Mapping[str, _Any]]] = ...) -> None: ...

class DropBridgeRequest(_message.Message):
    __slots__ = ("collection", "name")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class DropBridgeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ApplyBridgeRequest(_message.Message):
    __slots__ = ("collection", "name", "space")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPACE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    space: str
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ..., space: _Optional[str] = ...) -> None: ...

class ApplyBridgeResponse(_message.Message):
    __slots__ = ("done", "total", "refused", "spaces", "skipped")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    SPACES_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    refused: int
    spaces: _containers.RepeatedScalarFieldContainer[str]
    skipped: int
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., refused: _Optional[int] = ..., spaces: _Optional[_Iterable[str]] = ..., skipped: _Optional[int] = ...) -> None: ...
