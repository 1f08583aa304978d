"""Objects as a table: of Arrow underneath, of astropy, pandas or NumPy when asked for."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from ._errors import InvalidRequest
from ._schema import VECTOR_PREFIX, numpy_vectors

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Rows that a table shows of itself.
ROWS_SHOWN = 10


class Objects:
    """Some objects of a collection, in order.

    Columns are ``object_id``, ``ra`` and ``dec`` (ICRS, degrees), the collection's own, and ``vector.<space>``.

    Parameters
    ----------
    table
        The objects; units, UCDs and descriptions are in the metadata of its fields.
    collection
        Name of the collection.
    """

    def __init__(self, table: pa.Table, collection: str) -> None:
        self._table, self.collection = table, collection

    def __len__(self) -> int:
        return int(self._table.num_rows)

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return list(self._table.column_names)

    @property
    def ids(self) -> list[int | str]:
        """Ids of the objects."""
        found: list[int | str] = self._table["object_id"].to_pylist()
        return found

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        """Give a column as NumPy array; vectors by ``vector.<space>``, one row each."""
        if name not in self._table.column_names:
            raise KeyError(f"no column {name!r}; there are {', '.join(self._table.column_names)}")
        column = self._table[name]
        if pa.types.is_fixed_size_list(column.type):
            return numpy_vectors(column)
        return np.asarray(column.to_numpy())

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Go through the objects, each a dictionary."""
        for batch in self._table.to_batches(max_chunksize=1024):
            yield from batch.to_pylist()

    def vectors(self, space: str | None = None) -> np.ndarray[Any, Any]:
        """Give the vectors of a space, one row each, NaN where an object has none.

        Parameters
        ----------
        space
            Name of the space; may be left out where there is only one.

        Returns
        -------
        numpy.ndarray
            Of shape ``(objects, dimension)`` and type ``float32``.
        """
        there = [name.removeprefix(VECTOR_PREFIX) for name in self.columns if name.startswith(VECTOR_PREFIX)]
        if space is None and len(there) == 1:
            space = there[0]
        if space not in there:
            raise InvalidRequest(
                f"no vectors of {space!r} here; there are {', '.join(there) or 'none: ask for them (with_vectors=True)'}"
            )
        return self[VECTOR_PREFIX + space]

    def to_arrow(self) -> pa.Table:
        """Give the Arrow table itself."""
        return self._table

    def to_pandas(self) -> Any:
        """Give a ``pandas.DataFrame``; columns of vectors hold arrays."""
        flat = [name for name in self.columns if not pa.types.is_fixed_size_list(self._table[name].type)]
        frame = self._table.select(flat).to_pandas()
        for name in self.columns:
            if name not in flat:
                frame[name] = list(self[name])
        return frame[self.columns]

    def to_table(self) -> Any:
        """Give an ``astropy.table.QTable``: quantities with their units, masked where values are missing.

        Positions are a ``SkyCoord`` column ``coord`` (ICRS) beside ``ra`` and ``dec``. A unit that astropy does not know
        is kept as text in the column's ``info.meta``.
        """
        return _astropy(self._table)

    def coordinates(self) -> Any:
        """Give the positions as ``astropy.coordinates.SkyCoord`` (ICRS)."""
        from astropy.coordinates import SkyCoord

        return SkyCoord(self["ra"], self["dec"], unit="deg", frame="icrs")

    def _title(self) -> str:
        count = len(self)
        return f"{count:,} object{'' if count == 1 else 's'} of {self.collection}"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self._title()}; {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        shown = self._table.slice(0, ROWS_SHOWN)
        head = "".join(f"<th>{html.escape(name)}</th>" for name in shown.column_names)
        rows = []
        for row in shown.to_pylist():
            cells = "".join(f"<td>{html.escape(_cell(value))}</td>" for value in row.values())
            rows.append(f"<tr>{cells}</tr>")
        more = "" if len(self) <= ROWS_SHOWN else f"<p>... and {len(self) - ROWS_SHOWN:,} more</p>"
        title = html.escape(self._title())
        body = "".join(rows)
        return f"<p>{title}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return f"[{len(value)} values]"
    if isinstance(value, bytes):
        return f"[{len(value)} bytes]"
    return str(value)


def _unit(text: str) -> Any:
    """Read a VOUnit string, with the names of surveys beside the standard ones; ``None`` for others."""
    from astropy import units
    from astropy.units import photometric

    with units.add_enabled_units([photometric]):
        for form in ("vounit", None):
            try:
                return units.Unit(text, format=form)
            except (ValueError, TypeError):
                continue
    return None


def _astropy(table: pa.Table) -> Any:
    from astropy.coordinates import SkyCoord
    from astropy.table import Column, MaskedColumn, QTable
    from astropy.utils.masked import Masked

    made = QTable()
    for field in table.schema:
        column = table[field.name]
        about = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        unit = _unit(about["unit"]) if "unit" in about else None
        if pa.types.is_fixed_size_list(field.type):
            values: Any = numpy_vectors(column)
            mask = None
        elif column.null_count and not pa.types.is_nested(field.type):
            mask = np.asarray(column.is_null())
            values = _filled(column)
        else:
            mask = None
            values = np.asarray(column.to_numpy())
        if unit is not None:
            values = (Masked(values, mask=mask) if mask is not None else values) * unit
            made[field.name] = values
        else:
            made[field.name] = MaskedColumn(values, mask=mask) if mask is not None else Column(values)
        own = made[field.name].info
        if "description" in about:
            own.description = about["description"]
        own.meta = {key: text for key, text in about.items() if key != "description"} or None
    if {"ra", "dec"} <= set(table.column_names):
        place = table.column_names.index("dec") + 1
        ra, dec = (np.asarray(table[name].to_numpy()) for name in ("ra", "dec"))
        made.add_column(SkyCoord(ra, dec, unit="deg", frame="icrs"), index=place, name="coord")
    metadata = table.schema.metadata or {}
    made.meta.update({key.decode(): text.decode() for key, text in metadata.items() if not key.startswith(b"ARROW")})
    return made


def _filled(column: Any) -> np.ndarray[Any, Any]:
    """Give the values, with something harmless of the same type where they are missing."""
    kind = column.type
    if pa.types.is_floating(kind):
        return np.asarray(column.to_numpy())
    if pa.types.is_boolean(kind):
        return np.asarray(column.fill_null(False).to_numpy())
    if pa.types.is_integer(kind):
        return np.asarray(column.fill_null(0).to_numpy())
    if pa.types.is_string(kind):
        return np.asarray(column.fill_null("").to_numpy()).astype(str)
    return np.asarray(column.fill_null(b"").to_numpy())


def to_arrow(given: Any, units: Mapping[str, str] | None = None) -> pa.Table:
    """Make an Arrow table of an astropy, pandas or Arrow table, or a mapping of arrays.

    Parameters
    ----------
    given
        The table. A ``SkyCoord`` column becomes ``ra`` and ``dec`` in ICRS degrees.
    units
        Units by column name that quantities are converted to; others keep their own.
    """
    if isinstance(given, pa.Table):
        return given
    if isinstance(given, pa.RecordBatch):
        return pa.Table.from_batches([given])
    if hasattr(given, "colnames"):
        return _of_astropy(given, units or {})
    if hasattr(given, "iloc"):
        return pa.Table.from_pandas(given, preserve_index=False).replace_schema_metadata(None)
    if isinstance(given, Mapping):
        if any(hasattr(column, "icrs") or hasattr(column, "unit") for column in given.values()):
            from astropy.table import QTable

            return _of_astropy(QTable(dict(given)), units or {})
        return pa.table({name: _array(np.asarray(column)) for name, column in given.items()})
    raise InvalidRequest(
        f"{type(given).__name__} is no table: give an astropy, pandas or pyarrow table, or a dict of arrays"
    )


def _of_astropy(table: Any, units: Mapping[str, str]) -> pa.Table:
    fields: list[pa.Field] = []
    arrays: list[Any] = []

    def add(name: str, array: Any, about: Mapping[str, str]) -> None:
        fields.append(pa.field(name, array.type, metadata={k: v for k, v in about.items() if v} or None))
        arrays.append(array)

    has_coordinates = [name for name in table.colnames if hasattr(table[name], "icrs")]
    if len(has_coordinates) > 1:
        raise InvalidRequest(f"several columns are positions ({', '.join(has_coordinates)}): keep one")
    for name in table.colnames:
        column = table[name]
        if name in has_coordinates:
            moved = column.icrs
            add("ra", pa.array(moved.ra.degree), {"unit": "deg"})
            add("dec", pa.array(moved.dec.degree), {"unit": "deg"})
            continue
        if name in ("ra", "dec") and has_coordinates:
            continue
        values, unit = _values(name, column, units)
        mask = getattr(column, "mask", None)
        array = _array(np.asarray(values), None if mask is None else np.broadcast_to(mask, np.shape(values)))
        meta = column.info.meta or {}
        add(name, array, {"unit": unit, "ucd": str(meta.get("ucd", "")), "description": column.info.description or ""})
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _values(name: str, column: Any, units: Mapping[str, str]) -> tuple[Any, str]:
    own = getattr(column, "unit", None)
    plain = getattr(column, "unmasked", column)
    if hasattr(column, "filled") and not hasattr(column, "unmasked"):
        plain = column.data.data
    if own is None:
        return plain, ""
    wanted = "deg" if name in ("ra", "dec") else units.get(name)
    target = _unit(wanted) if wanted else None
    if target is not None and target != own:
        try:
            return (np.asarray(getattr(plain, "value", plain)) * own).to_value(target), str(wanted)
        except Exception as error:
            raise InvalidRequest(f"column {name!r} is in {own}, which is not converted to {wanted}") from error
    return getattr(plain, "value", plain), wanted or _written(own)


def _written(unit: Any) -> str:
    """Write a unit as VOUnit string, or as astropy does where that has no word for it."""
    try:
        return str(unit.to_string("vounit"))
    except ValueError:
        return str(unit.to_string())


def _array(values: np.ndarray[Any, Any], mask: Any = None) -> Any:
    if values.dtype.byteorder not in ("=", "|") and values.dtype.kind in "iufbc":
        values = values.astype(values.dtype.newbyteorder("="))
    if values.ndim == 2:
        flat = pa.array(np.ascontiguousarray(values).reshape(-1))
        return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    if values.ndim != 1:
        raise InvalidRequest(f"a column has {values.ndim} axes: a table has one, or two for vectors")
    if values.dtype.kind == "S":
        values = np.char.decode(values, "utf-8")
    if values.dtype.kind == "U":
        values = values.astype(object)
    return pa.array(values, mask=None if mask is None else np.asarray(mask))


def vector_column(space: str, vectors: Any, dimension: int, rows: int) -> tuple[pa.Field, Any]:
    """Make the column of some vectors; a row that is all NaN is an object without a vector."""
    array = np.asarray(vectors)
    if array.ndim != 2 or array.shape[1] != dimension:
        raise InvalidRequest(f"vectors of {space!r} have the shape {array.shape}; ({rows}, {dimension}) is wanted")
    if array.shape[0] != rows:
        raise InvalidRequest(f"{array.shape[0]} vectors of {space!r} do not go with {rows} rows")
    single = np.ascontiguousarray(array, dtype=np.float32)
    missing = np.asarray(np.isnan(single).all(axis=1))
    mask = pa.array(missing) if missing.any() else None
    if mask is not None:
        single = np.where(missing[:, None], np.float32(0), single)
    made = pa.FixedSizeListArray.from_arrays(pa.array(single.reshape(-1)), dimension, mask=mask)
    return pa.field(VECTOR_PREFIX + space, made.type), made


def concatenated(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Join tables of one schema; none are an empty one."""
    return pa.concat_tables(tables) if tables else schema.empty_table()
