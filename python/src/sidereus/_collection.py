"""One collection: searches, single objects, and what is kept beside them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from . import _search, _sky
from ._bulk import Bulk
from ._errors import InvalidRequest
from ._probes import Probes
from ._progress import Progress
from ._schema import Space
from ._search import SearchResult, Stats, Term
from ._table import Objects
from ._told import released
from .v1 import collection_service_pb2 as collections
from .v1 import maintenance_service_pb2 as maintenance
from .v1 import object_service_pb2 as wire
from .v1 import objects_pb2 as objects
from .v1 import search_service_pb2 as searching

#: Ids that one call names at most; more are asked for in turn.
IDS_AT_ONCE = 5_000


class Collection(Bulk):
    """A collection of a server: ``client["galaxies"]``.

    Parameters
    ----------
    connection
        The way to the server.
    name
        Name of the collection.
    message
        What the server told about it; asked for when it is needed.
    """

    @property
    def probes(self) -> Probes:
        """The probes of the collection."""
        return Probes(self._connection, self.name)

    def __len__(self) -> int:
        return self.count()

    def count(
        self, *, where: str = "", cone: Any = None, region: Any = None, zone: Any = None, release: str | None = None
    ) -> int:
        """Count the objects of a region that satisfy a condition.

        Parameters are those of :meth:`search`.
        """
        request = wire.CountObjectsRequest(
            collection=self.name, region=_sky.part(cone, region, zone), predicate=where
        )
        reply = self._connection.unary(
            "ObjectService/CountObjects", released(request, release), wire.CountObjectsResponse.FromString, again=True
        )
        return reply.count

    def search(
        self,
        *,
        like: Any = None,
        unlike: Any = None,
        vector: Any = None,
        example: Any = None,
        space: str = "",
        terms: Sequence[Term] = (),
        cone: Any = None,
        region: Any = None,
        zone: Any = None,
        where: str = "",
        k: int | None = None,
        within: float | None = None,
        exact: bool = False,
        recall: float | None = None,
        columns: Sequence[str] | None = None,
        with_vectors: bool = False,
        explain: bool = False,
        order_by: str = "",
        descending: bool = False,
        modality: str = "",
        method: str | None = None,
        from_space: str = "",
        bridge: str = "",
        fusion: str = "distances",
        missing: str = "require",
        diversity: float | None = None,
        group_within: Any = None,
        exclude_within: Any = None,
        release: str | None = None,
        timeout: float | None = None,
    ) -> SearchResult:
        """Find the objects most like something, in a part of the sky, with given properties.

        Parameters
        ----------
        like, unlike
            Id of an object, or several.
        vector
            A vector, or several as the rows of an array.
        example
            What the space's own model encodes: an image file or its bytes, a dict of numbers (fluxes), or a dict of
            arrays (a cutout, a spectrum); a list of these for several.
        space
            Space to search; may be left out where only one fits.
        terms
            Several things to be near to at once, instead of the parameters above.
        cone
            ``(SkyCoord, radius)`` or ``(ra, dec, radius)``. Frames other than ICRS are converted; numbers are degrees,
            and a radius may be a quantity or text such as ``"30arcmin"``.
        region
            A ``mocpy.MOC``, a ``regions.CircleSkyRegion`` or ``PolygonSkyRegion``, the corners of a polygon as
            ``SkyCoord`` or ``(ra, dec)`` pairs, or the text of a MOC.
        zone
            ``(ra_min, dec_min, ra_max, dec_max)``.
        where
            SQL condition on the columns, in their units: ``"z < 0.3 AND probe.lens > 0.9"``.
        k
            Hits; 10 unless said, or unless ``within`` is.
        within
            Largest distance of a hit.
        exact
            Let no plan estimate.
        recall
            Recall that plans aim at; 0.99 unless said.
        columns
            Columns to return; all but binary ones unless said.
        with_vectors
            Return the vectors, too.
        explain
            Return the plan as text: :attr:`SearchResult.explain`.
        order_by, descending
            Without anything to be near to: order by a column.
        modality
            Modality of the example, where it is not that of the space.
        method
            How several examples become a distance: ``centroid``, ``rocchio``, ``max-sim`` or ``probe``.
        from_space, bridge
            Space that the examples are of, and the bridge from it.
        fusion, missing
            How several terms become one order (``distances``, ``weighted``, ``rrf``, ``max``, ``min``), and what becomes
            of objects that lack one of the vectors (``require``, ``neutral``).
        diversity
            Hits that differ from each other, too: what nearness to the query counts, from 0 to 1; the rest is distance from
            other hits.
        group_within
            Objects at most this far apart on the sky are one hit.
        exclude_within
            Leave out objects at most this far from the examples.
        release
            A release of the collection, by name.
        timeout
            Seconds; that of the client unless said.

        Returns
        -------
        SearchResult
            The hits, nearest first. Those of a cone have a column ``separation`` from its centre. The metadata of the table name
            the collection, and of a release its name and citation.
        """
        given = any(one is not None for one in (like, unlike, vector, example))
        if given and terms:
            raise InvalidRequest("give like, vector and example, or terms, not both")
        if given:
            examples = example if isinstance(example, list) else [] if example is None else [example]
            terms = [
                Term(
                    space=space,
                    like=_several(like),
                    unlike=_several(unlike),
                    vectors=() if vector is None else vector,
                    examples=examples,
                    method=method,
                    from_space=from_space,
                    bridge=bridge,
                    modality=modality,
                )
            ]
        if k is None:
            k = 0 if within is not None else 10
        request = searching.SearchRequest(
            collection=self.name,
            terms=[term.to_message(self._schema) for term in terms],
            region=_sky.part(cone, region, zone),
            predicate=where,
            k=k,
            within=within,
            exact=exact,
            recall=recall,
            columns=[] if columns is None else list(columns),
            with_vectors=with_vectors,
            explain=explain,
            order_by=order_by,
            descending=descending,
            fusion=_search._one_of("fusion", fusion, _search.FUSIONS),
            missing={"require": searching.MISSING_REQUIRE, "neutral": searching.MISSING_NEUTRAL}[
                _search._one_of("missing", missing, {"require": "require", "neutral": "neutral"})
            ],
            group_within=None if group_within is None else _sky.degrees(group_within, "group_within"),
            exclude_within=None if exclude_within is None else _sky.degrees(exclude_within, "exclude_within"),
        )
        if diversity is not None:
            request.diversity.CopyFrom(searching.Diversity(share=diversity))
        return self._answer(released(request, release), columns, bool(terms), with_vectors, timeout)

    def _answer(
        self,
        request: searching.SearchRequest,
        names: Sequence[str] | None,
        is_near: bool,
        with_vectors: bool,
        timeout: float | None,
    ) -> SearchResult:
        def ask() -> tuple[list[searching.Hit], searching.QueryStats]:
            hits: list[searching.Hit] = []
            stats = searching.QueryStats()
            answers = self._connection.stream(
                "SearchService/Search",
                request,
                searching.SearchResponse.FromString,
                timeout=timeout or self._connection.timeout,
            )
            for answer in answers:
                hits.extend(answer.hits)
                if answer.HasField("stats"):
                    stats = answer.stats
            return hits, stats

        hits, stats = self._connection.trying(ask)
        if names is not None and request.order_by and request.order_by not in names:
            names = [*names, request.order_by]
        table = _search.table_of(
            hits,
            self._schema,
            names=names,
            with_distances=is_near,
            with_vectors=with_vectors,
            with_beside=request.HasField("group_within"),
            centre=request.region.cone.centre if request.region.HasField("cone") else None,
        )
        return SearchResult(self._labelled(table, request.release), self.name, Stats.of(stats))

    def get(self, ids: Any, *, with_vectors: bool = False, release: str | None = None) -> Objects:
        """Read objects by id, in the order asked.

        Raises
        ------
        NotFound
            For ids that there are none of.
        """
        from ._errors import NotFound

        wanted = _search.object_ids(ids)
        found: list[objects.Object] = []
        missing: list[int | str] = []
        for start in range(0, len(wanted), IDS_AT_ONCE):
            request = wire.GetObjectsRequest(
                collection=self.name, ids=wanted[start : start + IDS_AT_ONCE], with_vectors=with_vectors
            )
            reply = self._connection.unary(
                "ObjectService/GetObjects", released(request, release), wire.GetObjectsResponse.FromString, again=True
            )
            found.extend(reply.objects)
            missing.extend(_search.id_of(one) for one in reply.missing)
        if missing:
            named = ", ".join(str(one) for one in missing[:5])
            raise NotFound(f"no object {named}{' ...' if len(missing) > 5 else ''} in {self.name}")
        table = _search.table_of(found, self._schema, with_vectors=with_vectors)
        return Objects(self._labelled(table, release), self.name)

    def delete(self, ids: Any) -> int:
        """Delete objects by id, and tell how many there were."""
        wanted, deleted = _search.object_ids(ids), 0
        for start in range(0, len(wanted), IDS_AT_ONCE):
            request = wire.DeleteObjectsRequest(collection=self.name, ids=wanted[start : start + IDS_AT_ONCE])
            reply = self._connection.unary(
                "ObjectService/DeleteObjects", request, wire.DeleteObjectsResponse.FromString, again=False
            )
            deleted += reply.deleted
        return deleted

    def add_space(self, space: Space) -> Collection:
        """Add an embedding space."""
        request = collections.AddSpaceRequest(collection=self.name, space=space.to_message())
        reply = self._connection.unary(
            "CollectionService/AddSpace", request, collections.AddSpaceResponse.FromString, again=False
        )
        self._message = reply.collection
        return self

    def build_index(self, *, progress: bool = False) -> None:
        """Build the indices of all spaces; the server also does this by itself once enough is new."""
        request = maintenance.BuildIndexRequest(collection=self.name)
        answers = self._connection.stream(
            "MaintenanceService/BuildIndex", request, maintenance.BuildIndexResponse.FromString
        )
        with Progress(progress, None, "building", "rows") as bar:
            for answer in answers:
                bar.stage(answer.stage, answer.done, answer.total)

    def drop(self) -> None:
        """Delete the collection and everything in it."""
        request = collections.DropCollectionRequest(name=self.name)
        self._connection.unary(
            "CollectionService/DropCollection", request, collections.DropCollectionResponse.FromString, again=False
        )

    def __repr__(self) -> str:
        told = self._told
        spaces = ", ".join(f"{space.name} ({space.dimension})" for space in told.schema.spaces)
        return f"<Collection {self.name!r}: {told.object_count:,} objects; spaces: {spaces or 'none'}>"


def _several(given: Any) -> list[Any]:
    if given is None:
        return []
    return list(given) if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) else [given]
