"""Filter shapes: what is asked of every engine, with parameters of its own for each query."""

import numpy as np
import pyarrow as pa

CONE_SHARES = ((0.0001, "cone 0.01%"), (0.001, "cone 0.1%"), (0.01, "cone 1%"), (0.1, "cone 10%"))
RANGE_SHARES = ((0.01, "z range 1%"), (0.1, "z range 10%"), (0.5, "z range 50%"))
COMMON_CLASSES = ("AGN", "LRG", "ELG", "QSO")


def unit(ra, dec) -> np.ndarray:
    """Unit vectors (n x 3) of positions in degrees."""
    ra, dec = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def separations(units: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Degrees between unit vectors and a centre, exact also where they are tiny."""
    chord = np.sqrt(((units - centre) ** 2).sum(axis=-1))
    return np.degrees(2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0)))


def middle_gap(values: np.ndarray, rank: int) -> float:
    """A number between the rank-th smallest value and the next, so that no object lies on the edge."""
    low, high = np.partition(values, [rank - 1, rank])[[rank - 1, rank]]
    return float((low + high) / 2.0)


class Maker:
    """Draws the parameters of every shape."""

    def __init__(self, table: pa.Table, query_places: np.ndarray, random: np.random.Generator):
        self.ra, self.dec = table["ra"].to_numpy(), table["dec"].to_numpy()
        self.units = unit(self.ra, self.dec)
        self.sorted_z = np.sort(table["z"].to_numpy())
        self.sorted_axis = np.sort(table["axis0"].to_numpy())
        self.count = table.num_rows
        self.query_places = query_places
        self.random = random

    def cone(self, share: float) -> dict:
        """A cone around an object that holds a share of all objects."""
        centre = int(self.random.integers(self.count))
        apart = separations(self.units, self.units[centre])
        radius = middle_gap(apart, max(1, round(share * self.count)))
        return {"cone": [float(self.ra[centre]), float(self.dec[centre]), radius]}

    def window(self, column: str, ordered: np.ndarray, share: float, start_share: float) -> dict:
        """A range of a column that holds a share of all objects and begins at a share from its low end."""
        width = max(1, round(share * self.count))
        start = min(max(round(start_share * self.count), 1), self.count - width - 1)
        low = float((ordered[start - 1] + ordered[start]) / 2.0)
        high = float((ordered[start + width - 1] + ordered[start + width]) / 2.0)
        return {"range": [column, low, high], "where": f"{column} BETWEEN {low!r} AND {high!r}"}

    def z_range(self, share: float) -> dict:
        """A redshift range at a place drawn at random."""
        return self.window("z", self.sorted_z, share, self.random.random() * (1.0 - share))

    def category(self) -> dict:
        """One of the classes that hold about 14 % each."""
        name = COMMON_CLASSES[int(self.random.integers(len(COMMON_CLASSES)))]
        return {"equals": ["class", name], "where": f"class = '{name}'"}

    def opposite(self, query: int) -> dict:
        """One per cent of the objects, at the other end of the strongest axis."""
        offset = self.random.random() * 0.02
        is_high = self.query_places[query, 0] > self.sorted_axis[self.count // 2]
        return self.window("axis0", self.sorted_axis, 0.01, offset if is_high else 0.99 - offset)


def make_shapes(table: pa.Table, query_places: np.ndarray, random: np.random.Generator) -> list[dict]:
    """All shapes, each with one filter per query."""
    maker = Maker(table, query_places, random)
    count = len(query_places)
    own = "queries.npy"

    def shape(name: str, queries: str, make) -> dict:
        return {"name": name, "queries": queries, "filters": [make(query) for query in range(count)]}

    found = [shape("none", own, lambda _: {})]
    found += [shape(name, own, lambda _, share=share: maker.cone(share)) for share, name in CONE_SHARES]
    found += [shape(name, own, lambda _, share=share: maker.z_range(share)) for share, name in RANGE_SHARES]
    found.append(shape("class 14%", own, lambda _: maker.category()))
    found.append(shape("cone 10% AND z 10%", own, lambda _: maker.cone(0.1) | maker.z_range(0.1)))
    found.append(shape("opposite 1%", own, maker.opposite))
    found.append(shape("cross-modal", "queries_cross.npy", lambda _: {}))
    for each in found:
        each["slug"] = each["name"].lower().replace("%", "").replace(" ", "-").replace(".", "_")
    return found


class Rows:
    """Says which rows of a catalogue pass a filter, exactly and without an index: the oracle."""

    def __init__(self, table: pa.Table):
        self.units = unit(table["ra"].to_numpy(), table["dec"].to_numpy())
        self.columns = {name: table[name].to_numpy(zero_copy_only=False) for name in ("z", "axis0", "class")}

    def passing(self, wanted: dict, rows=slice(None)) -> np.ndarray:
        """A boolean for each of the given rows."""
        units = self.units[rows]
        passes = np.ones(len(units), bool)
        if "cone" in wanted:
            ra, dec, radius = wanted["cone"]
            chord = 2.0 * np.sin(np.radians(radius) / 2.0)
            passes &= ((units - unit(ra, dec)) ** 2).sum(axis=-1) <= chord * chord
        if "range" in wanted:
            column, low, high = wanted["range"]
            values = self.columns[column][rows]
            passes &= (values >= low) & (values <= high)
        if "equals" in wanted:
            column, value = wanted["equals"]
            passes &= self.columns[column][rows] == value
        return passes
