from sidereus.options.v1 import access_pb2 as _access_pb2
from sidereus.v1 import objects_pb2 as _objects_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import Any as _Any, ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TargetKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TARGET_KIND_UNSPECIFIED: _ClassVar[TargetKind]
    TARGET_KIND_NUMBER: _ClassVar[TargetKind]
    TARGET_KIND_CLASS: _ClassVar[TargetKind]
    TARGET_KIND_FRACTIONS: _ClassVar[TargetKind]

class Activation(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACTIVATION_UNSPECIFIED: _ClassVar[Activation]
    ACTIVATION_GELU: _ClassVar[Activation]
TARGET_KIND_UNSPECIFIED: TargetKind
TARGET_KIND_NUMBER: TargetKind
TARGET_KIND_CLASS: TargetKind
TARGET_KIND_FRACTIONS: TargetKind
ACTIVATION_UNSPECIFIED: Activation
ACTIVATION_GELU: Activation

class ProbeSpec(_message.Message):
    __slots__ = ("spaces", "columns", "target", "head", "split", "predicate", "weight", "standardize", "resamples", "seed", "train_limit", "preset")
    SPACES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    STANDARDIZE_FIELD_NUMBER: _ClassVar[int]
    RESAMPLES_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TRAIN_LIMIT_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    spaces: _containers.RepeatedScalarFieldContainer[str]
    columns: _containers.RepeatedScalarFieldContainer[str]
    target: Target
    head: Head
    split: str
    predicate: str
    weight: str
    standardize: bool
    resamples: int
    seed: int
    train_limit: int
    preset: str
    def __init__(self, spaces: _Optional[_Iterable[str]] = ..., columns: _Optional[_Iterable[str]] = ..., target: _Optional[_Union[Target, _Mapping[str, _Any]]] = ..., head: _Optional[_Union[Head, _Mapping[str, _Any]]] = ..., split: _Optional[str] = ..., predicate: _Optional[str] = ..., weight: _Optional[str] = ..., standardize: _Optional[bool] = ..., resamples: _Optional[int] = ..., seed: _Optional[int] = ..., train_limit: _Optional[int] = ..., preset: _Optional[str] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("column", "fractions", "votes", "kind")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    FRACTIONS_FIELD_NUMBER: _ClassVar[int]
    VOTES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    column: str
    fractions: _containers.RepeatedScalarFieldContainer[str]
    votes: str
    kind: TargetKind
    def __init__(self, column: _Optional[str] = ..., fractions: _Optional[_Iterable[str]] = ..., votes: _Optional[str] = ..., kind: _Optional[_Union[TargetKind, str]] = ...) -> None: ...

class Head(_message.Message):
    __slots__ = ("knn", "ridge", "logistic", "mlp", "attention", "density", "token")
    KNN_FIELD_NUMBER: _ClassVar[int]
    RIDGE_FIELD_NUMBER: _ClassVar[int]
    LOGISTIC_FIELD_NUMBER: _ClassVar[int]
    MLP_FIELD_NUMBER: _ClassVar[int]
    ATTENTION_FIELD_NUMBER: _ClassVar[int]
    DENSITY_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    knn: KnnHead
    ridge: RidgeHead
    logistic: LogisticHead
    mlp: MlpHead
    attention: AttentionHead
    density: DensityHead
    token: TokenHead
    def __init__(self, knn: _Optional[_Union[KnnHead, _Mapping[str, _Any]]] = ..., ridge: _Optional[_Union[RidgeHead, _Mapping[str, _Any]]] = ..., logistic: _Optional[_Union[LogisticHead, _Mapping[str, _Any]]] = ..., mlp: _Optional[_Union[MlpHead, _Mapping[str, _Any]]] = ..., attention: _Optional[_Union[AttentionHead, _Mapping[str, _Any]]] = ..., density: _Optional[_Union[DensityHead, _Mapping[str, _Any]]] = ..., token: _Optional[_Union[TokenHead, _Mapping[str, _Any]]] = ...) -> None: ...

class KnnHead(_message.Message):
    __slots__ = ("k", "by_distance", "metric")
    K_FIELD_NUMBER: _ClassVar[int]
    BY_DISTANCE_FIELD_NUMBER: _ClassVar[int]
    METRIC_FIELD_NUMBER: _ClassVar[int]
    k: int
    by_distance: bool
    metric: _objects_pb2.Metric
    def __init__(self, k: _Optional[int] = ..., by_distance: _Optional[bool] = ..., metric: _Optional[_Union[_objects_pb2.Metric, str]] = ...) -> None: ...

class RidgeHead(_message.Message):
    __slots__ = ("alphas", "folds")
    ALPHAS_FIELD_NUMBER: _ClassVar[int]
    FOLDS_FIELD_NUMBER: _ClassVar[int]
    alphas: _containers.RepeatedScalarFieldContainer[float]
    folds: int
    def __init__(self, alphas: _Optional[_Iterable[float]] = ..., folds: _Optional[int] = ...) -> None: ...

class LogisticHead(_message.Message):
    __slots__ = ("alphas", "folds")
    ALPHAS_FIELD_NUMBER: _ClassVar[int]
    FOLDS_FIELD_NUMBER: _ClassVar[int]
    alphas: _containers.RepeatedScalarFieldContainer[float]
    folds: int
    def __init__(self, alphas: _Optional[_Iterable[float]] = ..., folds: _Optional[int] = ...) -> None: ...

class MlpHead(_message.Message):
    __slots__ = ("hidden", "dropout", "learning_rate", "epochs", "batch", "weight_decay", "activation")
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    ACTIVATION_FIELD_NUMBER: _ClassVar[int]
    hidden: _containers.RepeatedScalarFieldContainer[int]
    dropout: float
    learning_rate: float
    epochs: int
    batch: int
    weight_decay: float
    activation: Activation
    def __init__(self, hidden: _Optional[_Iterable[int]] = ..., dropout: _Optional[float] = ..., learning_rate: _Optional[float] = ..., epochs: _Optional[int] = ..., batch: _Optional[int] = ..., weight_decay: _Optional[float] = ..., activation: _Optional[_Union[Activation, str]] = ...) -> None: ...

class AttentionHead(_message.Message):
    __slots__ = ("heads", "mlp")
    HEADS_FIELD_NUMBER: _ClassVar[int]
    MLP_FIELD_NUMBER: _ClassVar[int]
    heads: int
    mlp: MlpHead
    def __init__(self, heads: _Optional[int] = ..., mlp: _Optional[_Union[MlpHead, _Mapping[str, _Any]]] = ...) -> None: ...

class DensityHead(_message.Message):
    __slots__ = ("components", "mlp")
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    MLP_FIELD_NUMBER: _ClassVar[int]
    components: int
    mlp: MlpHead
    def __init__(self, components: _Optional[int] = ..., mlp: _Optional[_Union[MlpHead, _Mapping[str, _Any]]] = ...) -> None: ...

class TokenHead(_message.Message):
    __slots__ = ("alpha",)
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    alpha: float
    def __init__(self, alpha: _Optional[float] = ...) -> None: ...

class MetricValue(_message.Message):
    __slots__ = ("name", "value", "low", "high")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    low: float
    high: float
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class Confusion(_message.Message):
    __slots__ = ("classes", "counts")
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    classes: _containers.RepeatedScalarFieldContainer[str]
    counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, classes: _Optional[_Iterable[str]] = ..., counts: _Optional[_Iterable[int]] = ...) -> None: ...

class Probe(_message.Message):
    __slots__ = ("name", "collection", "spec", "provenances", "classes", "n_train", "n_test", "n_missing", "n_leaked", "metrics", "confusion", "alpha", "alphas", "alpha_scores", "version", "fitted_at", "elapsed_seconds", "stale", "warnings", "calibration", "n_changed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    PROVENANCES_FIELD_NUMBER: _ClassVar[int]
    CLASSES_FIELD_NUMBER: _ClassVar[int]
    N_TRAIN_FIELD_NUMBER: _ClassVar[int]
    N_TEST_FIELD_NUMBER: _ClassVar[int]
    N_MISSING_FIELD_NUMBER: _ClassVar[int]
    N_LEAKED_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    CONFUSION_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    ALPHAS_FIELD_NUMBER: _ClassVar[int]
    ALPHA_SCORES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FITTED_AT_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_SECONDS_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_FIELD_NUMBER: _ClassVar[int]
    N_CHANGED_FIELD_NUMBER: _ClassVar[int]
    name: str
    collection: str
    spec: ProbeSpec
    provenances: _containers.RepeatedCompositeFieldContainer[_objects_pb2.Provenance]
    classes: _containers.RepeatedScalarFieldContainer[str]
    n_train: int
    n_test: int
    n_missing: int
    n_leaked: int
    metrics: _containers.RepeatedCompositeFieldContainer[MetricValue]
    confusion: Confusion
    alpha: float
    alphas: _containers.RepeatedScalarFieldContainer[float]
    alpha_scores: _containers.RepeatedScalarFieldContainer[float]
    version: int
    fitted_at: int
    elapsed_seconds: float
    stale: str
    warnings: _containers.RepeatedScalarFieldContainer[str]
    calibration: _containers.RepeatedCompositeFieldContainer[CalibrationBin]
    n_changed: int
    def __init__(self, name: _Optional[str] = ..., collection: _Optional[str] = ..., spec: _Optional[_Union[ProbeSpec, _Mapping[str, _Any]]] = ..., provenances: _Optional[_Iterable[_Union[_objects_pb2.Provenance, _Mapping[str, _Any]]]] = ..., classes: _Optional[_Iterable[str]] = ..., n_train: _Optional[int] = ..., n_test: _Optional[int] = ..., n_missing: _Optional[int] = ..., n_leaked: _Optional[int] = ..., metrics: _Optional[_Iterable[_Union[MetricValue, _Mapping[str, _Any]]]] = ..., confusion: _Optional[_Union[Confusion, _Mapping[str, _Any]]] = ..., alpha: _Optional[float] = ..., alphas: _Optional[_Iterable[float]] = ..., alpha_scores: _Optional[_Iterable[float]] = ..., version: _Optional[int] = ..., fitted_at: _Optional[int] = ..., elapsed_seconds: _Optional[float] = ..., stale: _Optional[str] = ..., warnings: _Optional[_Iterable[str]] = ..., calibration: _Optional[_Iterable[_Union[CalibrationBin, _Mapping[str, _Any]]]] = ..., n_changed: _Optional[int] = ...) -> None: ...

class CalibrationBin(_message.Message):
    __slots__ = ("predicted", "observed", "count")
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    OBSERVED_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    predicted: float
    observed: float
    count: int
    def __init__(self, predicted: _Optional[float] = ..., observed: _Optional[float] = ..., count: _Optional[int] = ...) -> None: ...

class FitProbeRequest(_message.Message):
    __slots__ = ("collection", "spec", "name", "overwrite", "with_predictions")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OVERWRITE_FIELD_NUMBER: _ClassVar[int]
    WITH_PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    spec: ProbeSpec
    name: str
    overwrite: bool
    with_predictions: bool
    def __init__(self, collection: _Optional[str] = ..., spec: _Optional[_Union[ProbeSpec, _Mapping[str, _Any]]] = ..., name: _Optional[str] = ..., overwrite: _Optional[bool] = ..., with_predictions: _Optional[bool] = ...) -> None: ...

class FitProbeResponse(_message.Message):
    __slots__ = ("stage", "done", "total", "predictions", "probe")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    predictions: _containers.RepeatedCompositeFieldContainer[Prediction]
    probe: Probe
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., predictions: _Optional[_Iterable[_Union[Prediction, _Mapping[str, _Any]]]] = ..., probe: _Optional[_Union[Probe, _Mapping[str, _Any]]] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("id", "position", "truth", "predicted", "sigma", "log_density")
    ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_FIELD_NUMBER: _ClassVar[int]
    SIGMA_FIELD_NUMBER: _ClassVar[int]
    LOG_DENSITY_FIELD_NUMBER: _ClassVar[int]
    id: _objects_pb2.ObjectId
    position: _objects_pb2.Position
    truth: _containers.RepeatedScalarFieldContainer[float]
    predicted: _containers.RepeatedScalarFieldContainer[float]
    sigma: float
    log_density: float
    def __init__(self, id: _Optional[_Union[_objects_pb2.ObjectId, _Mapping[str, _Any]]] = ..., position: _Optional[_Union[_objects_pb2.Position, _Mapping[str, _Any]]] = ..., truth: _Optional[_Iterable[float]] = ..., predicted: _Optional[_Iterable[float]] = ..., sigma: _Optional[float] = ..., log_density: _Optional[float] = ...) -> None: ...

class ListProbesRequest(_message.Message):
    __slots__ = ("collection", "after", "release")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    after: str
    release: str
    def __init__(self, collection: _Optional[str] = ..., after: _Optional[str] = ..., release: _Optional[str] = ...) -> None: ...

class ListProbesResponse(_message.Message):
    __slots__ = ("probes", "next")
    PROBES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    probes: _containers.RepeatedCompositeFieldContainer[Probe]
    next: str
    def __init__(self, probes: _Optional[_Iterable[_Union[Probe, _Mapping[str, _Any]]]] = ..., next: _Optional[str] = ...) -> None: ...

class GetProbeRequest(_message.Message):
    __slots__ = ("collection", "name", "release")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    release: str
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ..., release: _Optional[str] = ...) -> None: ...

class GetProbeResponse(_message.Message):
    __slots__ = ("probe",)
    PROBE_FIELD_NUMBER: _ClassVar[int]
    probe: Probe
    def __init__(self, probe: _Optional[_Union[Probe, _Mapping[str, _Any]]] = ...) -> None: ...

class DropProbeRequest(_message.Message):
    __slots__ = ("collection", "name")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class DropProbeResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ApplyProbeRequest(_message.Message):
    __slots__ = ("collection", "name", "predicate", "column")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PREDICATE_FIELD_NUMBER: _ClassVar[int]
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    CLASS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    name: str
    predicate: str
    column: str
    def __init__(self, collection: _Optional[str] = ..., name: _Optional[str] = ..., predicate: _Optional[str] = ..., column: _Optional[str] = ..., **kwargs: _Any) -> None: ...

class ApplyProbeResponse(_message.Message):
    __slots__ = ("done", "total", "predictions", "skipped")
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    done: int
    total: int
    predictions: _containers.RepeatedCompositeFieldContainer[Prediction]
    skipped: int
    def __init__(self, done: _Optional[int] = ..., total: _Optional[int] = ..., predictions: _Optional[_Iterable[_Union[Prediction, _Mapping[str, _Any]]]] = ..., skipped: _Optional[int] = ...) -> None: ...
