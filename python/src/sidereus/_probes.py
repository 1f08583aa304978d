"""Probes: heads on embeddings, fitted where the embeddings are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ._errors import InvalidRequest, ServerFault
from ._progress import Progress
from .v1 import objects_pb2 as objects
from .v1 import probe_service_pb2 as wire

if TYPE_CHECKING:
    from ._connection import Connection

_METRICS = {"l2": objects.METRIC_L2, "cosine": objects.METRIC_COSINE}


@dataclass(frozen=True)
class Measure:
    """A number that tells how good a probe is, with its 95 % bootstrap interval where there is one."""

    value: float
    low: float | None = None
    high: float | None = None

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        interval = "" if self.low is None or self.high is None else f" ({self.low:.4g} to {self.high:.4g})"
        return f"{self.value:.4g}{interval}"


@dataclass(frozen=True)
class Probe:
    """A fitted probe.

    Attributes
    ----------
    name
        Its name; empty for one that was only measured.
    metrics
        Measures on objects that the fit has not seen, by name.
    n_train, n_test, n_missing
        Objects that it was fitted on, measured on, and that were left out.
    classes
        Classes in the order of the outputs; empty for numbers.
    stale
        Why it must not be applied any more; empty while it may.
    """

    name: str
    metrics: dict[str, Measure]
    n_train: int
    n_test: int
    n_missing: int
    classes: list[str]
    stale: str
    warnings: list[str]
    message: wire.Probe = field(repr=False, compare=False)

    @classmethod
    def of(cls, probe: wire.Probe) -> Probe:
        """Read the message."""
        metrics = {
            metric.name: Measure(
                metric.value,
                metric.low if metric.HasField("low") else None,
                metric.high if metric.HasField("high") else None,
            )
            for metric in probe.metrics
        }
        return cls(
            name=probe.name,
            metrics=metrics,
            n_train=probe.n_train,
            n_test=probe.n_test,
            n_missing=probe.n_missing,
            classes=list(probe.classes),
            stale=probe.stale,
            warnings=list(probe.warnings),
            message=probe,
        )

    @property
    def column(self) -> str:
        """Name of the column that the probe is in conditions: ``probe.NAME``."""
        return f"probe.{self.name}"


def _head(name: str, options: dict[str, Any]) -> wire.Head:
    """Make the message of a head; takes its options out of ``options``."""

    def several(value: Any) -> list[Any]:
        return list(value) if isinstance(value, Sequence) else [value]

    def taken(*names: str) -> dict[str, Any]:
        return {key: options.pop(key) for key in names if key in options}

    if name == "knn":
        known = taken("k", "by_distance")
        metric = options.pop("metric", "l2")
        if metric not in _METRICS:
            raise InvalidRequest("metric of a knn head is 'l2' or 'cosine'")
        return wire.Head(knn=wire.KnnHead(metric=_METRICS[metric], **known))
    if name in ("ridge", "logistic"):
        alphas = several(options.pop("alpha", []))
        known = taken("folds")
        if name == "ridge":
            return wire.Head(ridge=wire.RidgeHead(alphas=alphas, **known))
        return wire.Head(logistic=wire.LogisticHead(alphas=alphas, **known))
    if name in ("mlp", "density", "attention"):
        hidden = several(options.pop("hidden", []))
        own = taken("components") if name == "density" else taken("heads") if name == "attention" else {}
        known = taken("dropout", "learning_rate", "epochs", "batch", "weight_decay")
        mlp = wire.MlpHead(hidden=hidden, **known)
        if name == "density":
            return wire.Head(density=wire.DensityHead(mlp=mlp, **own))
        if name == "attention":
            return wire.Head(attention=wire.AttentionHead(mlp=mlp, **own))
        return wire.Head(mlp=mlp)
    if name == "token":
        return wire.Head(token=wire.TokenHead(**taken("alpha")))
    raise InvalidRequest(f"head {name!r} is not one of knn, ridge, logistic, mlp, density, attention, token")


class Probes:
    """The probes of a collection, by name."""

    def __init__(self, connection: Connection, collection: str) -> None:
        self._connection, self._collection = connection, collection

    def fit(
        self,
        target: str | Sequence[str],
        *,
        space: str | Sequence[str] = (),
        head: str = "ridge",
        name: str = "",
        columns: Sequence[str] = (),
        split: str = "random:0.2:0",
        where: str = "",
        weight: str = "",
        standardize: bool = False,
        seed: int = 0,
        preset: str = "",
        overwrite: bool = False,
        progress: bool = False,
        **options: Any,
    ) -> Probe:
        """Fit a probe, and measure it on objects that it has not seen.

        Parameters
        ----------
        target
            Column to predict: numbers, or classes; several columns are vote fractions.
        space
            Space, or spaces, whose vectors are the features.
        head
            ``knn``, ``ridge``, ``logistic``, ``mlp``, ``density``, ``attention`` or ``token``.
        name
            Name to keep it under; it is then a column ``probe.NAME``. Empty: it is measured only.
        columns
            Columns of numbers that are features, too.
        split
            ``random:FRACTION:SEED``, ``healpix:ORDER:FRACTION:SEED``, ``kfold:K:SEED``, ``column:NAME`` or
            ``survey:COLUMN=A>B``.
        where
            Only objects for which this SQL expression is true.
        weight
            Column of sample weights.
        standardize
            Give every feature mean 0 and standard deviation 1 of the training set.
        **options
            Settings of the head: ``k``, ``by_distance``, ``metric``, ``alpha``, ``folds``, ``hidden``, ``dropout``,
            ``epochs``, ``batch``, ``learning_rate``, ``weight_decay``, ``components``, ``heads``.
        """
        made = _head(head, options)
        if options:
            raise InvalidRequest(f"a {head} head has no setting {', '.join(sorted(options))}")
        wanted = wire.Target(column=target) if isinstance(target, str) else wire.Target(fractions=target)
        spec = wire.ProbeSpec(
            spaces=[space] if isinstance(space, str) else space,
            columns=columns,
            target=wanted,
            head=made,
            split=split,
            predicate=where,
            weight=weight,
            standardize=standardize,
            seed=seed,
            preset=preset,
        )
        request = wire.FitProbeRequest(collection=self._collection, spec=spec, name=name, overwrite=overwrite)
        answers = self._connection.stream("ProbeService/FitProbe", request, wire.FitProbeResponse.FromString)
        with Progress(progress, None, "fitting", "steps") as bar:
            for answer in answers:
                bar.stage(answer.stage, answer.done, answer.total)
                if answer.HasField("probe"):
                    return Probe.of(answer.probe)
        raise ServerFault("the server ended the fit without a probe")

    def list(self) -> list[Probe]:
        """Give all probes; the messages of those that are named one by one have confusion matrices and the like, too."""
        probes: list[Probe] = []
        after = ""
        while True:
            request = wire.ListProbesRequest(collection=self._collection, after=after)
            reply = self._connection.unary(
                "ProbeService/ListProbes", request, wire.ListProbesResponse.FromString, again=True
            )
            probes += [Probe.of(probe) for probe in reply.probes]
            after = reply.next
            if not after:
                return probes

    def __getitem__(self, name: str) -> Probe:
        request = wire.GetProbeRequest(collection=self._collection, name=name)
        reply = self._connection.unary("ProbeService/GetProbe", request, wire.GetProbeResponse.FromString, again=True)
        return Probe.of(reply.probe)

    def __iter__(self) -> Iterator[Probe]:
        return iter(self.list())

    def apply(self, name: str, column: str, *, where: str = "", class_name: str = "", progress: bool = False) -> int:
        """Write what a probe predicts into a column, which is made where it does not exist.

        Returns
        -------
        int
            Objects that got a value.
        """
        request = wire.ApplyProbeRequest(
            collection=self._collection, name=name, predicate=where, column=column, **{"class": class_name}
        )
        answers = self._connection.stream("ProbeService/ApplyProbe", request, wire.ApplyProbeResponse.FromString)
        done = 0
        with Progress(progress, None, "applying", "rows") as bar:
            for answer in answers:
                done = answer.done
                bar.stage("applying", answer.done, answer.total)
        return done

    def drop(self, name: str) -> None:
        """Forget a probe."""
        request = wire.DropProbeRequest(collection=self._collection, name=name)
        self._connection.unary("ProbeService/DropProbe", request, wire.DropProbeResponse.FromString, again=False)

    def __repr__(self) -> str:
        return f"<Probes of {self._collection}: {', '.join(probe.name for probe in self.list()) or 'none'}>"
