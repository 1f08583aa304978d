"""Exports and ingests in bulk, over Arrow Flight."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.table import QTable

import sidereus
from conftest import Catalogue, Server, wait_for


def in_order(found: sidereus.Objects, catalogue: Catalogue) -> Any:
    return np.array(found.ids) - 1000


def test_an_export_is_what_was_written_in_sky_order(sky: sidereus.Collection, catalogue: Catalogue) -> None:
    found = sky.export(vectors=True)
    rows = in_order(found, catalogue)
    assert sorted(rows.tolist()) == list(range(len(catalogue.ids)))
    # As they were given: a cosine space compares directions and keeps lengths.
    np.testing.assert_array_equal(found.vectors("image"), catalogue.image[rows])
    np.testing.assert_array_equal(found.vectors("colours"), catalogue.colours[rows])
    np.testing.assert_array_equal(found["z"], catalogue.z[rows])
    np.testing.assert_array_equal(np.isnan(found["mag"]), catalogue.no_mag[rows])
    assert found["kind"].tolist() == catalogue.kind[rows].tolist()
    # Neighbours in the order are neighbours on the sky.
    steps = found.coordinates()
    assert np.median(steps[1:].separation(steps[:-1]).deg) < 8
    assert found.to_table()["velocity"].unit == u.km / u.s
    streams = sky.export(vectors=True, streams=4)
    assert streams.to_arrow().equals(found.to_arrow())
    # More than are read at once.
    assert sky.export(vectors=True, streams=7).to_arrow().equals(found.to_arrow())


def test_a_release_that_comes_short_is_an_error(sky: sidereus.Collection) -> None:
    from sidereus._export import Export
    from sidereus.v1 import flight_pb2

    made = Export(sky._connection, flight_pb2.FlightExport(collection=sky.name))
    # As if more had been told of something that nobody can change.
    made._is_fixed, made.rows = True, made.rows + 1
    with pytest.raises(sidereus.Unavailable, match="2000 of 2001"):
        list(made.batches())


def test_an_export_of_a_part(sky: sidereus.Collection, catalogue: Catalogue) -> None:
    inside = (catalogue.separations(10.0, 80.0) <= 30.0) & (catalogue.z < 0.5)
    some = sky.export(cone=(10, 80, 30), where="z < 0.5", columns=["z"])
    assert sorted(in_order(some, catalogue)) == np.flatnonzero(inside).tolist()
    assert some.columns == ["object_id", "ra", "dec", "z"]
    bare = sky.export(columns=[])
    assert bare.columns == ["object_id", "ra", "dec"]
    ids, vectors = sky.vectors("colours", where="z < 0.5")
    there = ~np.isnan(catalogue.colours[:, 0]) & (catalogue.z < 0.5)
    assert sorted(ids) == catalogue.ids[there].tolist()
    np.testing.assert_array_equal(vectors, catalogue.colours[ids - 1000])
    reader = sky.export_batches(where="z < 0")
    assert isinstance(reader, pa.RecordBatchReader) and reader.read_all().num_rows == 0
    with pytest.raises(sidereus.InvalidRequest, match="zz"):
        sky.export(where="zz < 3")
    with pytest.raises(sidereus.NotFound, match="zz"):
        sky.export(vectors="zz")


def test_a_reader_may_go_early(sky: sidereus.Collection) -> None:
    for _ in range(20):
        reader = sky.export_batches(vectors=True, streams=2)
        assert reader.read_next_batch().num_rows > 0
        del reader
    assert len(sky.export()) == 2_000


def test_tables_of_every_kind_go_in(client: sidereus.Client) -> None:
    one = client.create_collection("kinds", {"flux": sidereus.Column("flux", "float64", "Jy"), "name": "text"}, ids="text")
    try:
        astropy = QTable({"object_id": ["a", "b"], "ra": [1.0, 2.0] * u.rad, "dec": [600.0, 0.0] * u.arcmin})
        astropy["flux"] = [5.0, 7.0] * u.mJy
        assert one.ingest(astropy).inserted == 2
        frame = pd.DataFrame({"object_id": ["c"], "ra": [3.0], "dec": [4.0], "name": ["x"]})
        assert one.ingest(frame).inserted == 1
        assert one.ingest({"object_id": np.array(["d"]), "ra": [5.0], "dec": [6.0]}).inserted == 1
        arrow = pa.table({"object_id": pa.array(["e", "a"]).dictionary_encode(), "ra": [7.0, 8.0], "dec": [8.0, 9.0]})
        report = one.ingest(arrow.to_reader())
        assert (report.inserted, report.replaced) == (1, 1)
        assert one.ingest(batch for batch in arrow.to_batches()).replaced == 2
        found = one.get(["b", "c"]).to_table()
        assert found["flux"][0] == 7.0 * u.mJy and found["flux"].unit == u.Jy and found["name"][1] == "x"
        assert found["ra"][0].to_value("deg") == pytest.approx(np.degrees(2.0))
        part = {"object_id": ["b"], "ra": [1.0], "dec": [1.0], "name": ["y"]}
        with pytest.warns(UserWarning, match="not given: 1 replaced object has none now; merge=True"):
            one.ingest(part)
        one.ingest(astropy)
        merged = one.ingest(part, merge=True)
        assert merged.replaced == 1
        assert one.get("b").to_table()["flux"][0] == 7.0 * u.mJy
        with pytest.raises(sidereus.InvalidRequest, match="not converted"):
            one.ingest(QTable({"object_id": ["f"], "ra": [1.0], "dec": [1.0], "flux": [1.0] * u.m}))
        assert one.delete(["d", "nobody"]) == 1 and len(one) == 4
    finally:
        one.drop()


def test_an_export_comes_back_as_what_it_was(client: sidereus.Client) -> None:
    first = client.create_collection(
        "first", spaces=[sidereus.Space("v", 2, "l2", "photometry", encoder="m", weights_hash="ab" * 32)]
    )
    second = None
    try:
        table = {"object_id": np.arange(3), "ra": np.arange(3.0), "dec": np.zeros(3)}
        vectors = np.arange(6, dtype=np.float32).reshape(3, 2) + 1
        first.ingest(table, {"v": vectors}, provenance={"v": first.spaces["v"]})
        exported = first.export(vectors=True)
        second = client.create_collection("second", exported.to_arrow())
        assert second.spaces == first.spaces
        assert second.ingest(exported.to_arrow()).inserted == 3
        np.testing.assert_array_equal(second.get([0, 1, 2], with_vectors=True).vectors("v"), vectors)
    finally:
        first.drop()
        if second is not None:
            second.drop()


def test_the_dimension_of_a_space_is_that_of_its_vectors(client: sidereus.Client) -> None:
    one = client.create_collection("dimensions", spaces={"v": np.zeros((5, 7)), "w": 3})
    try:
        assert (one.spaces["v"].dimension, one.spaces["w"].dimension) == (7, 3)
    finally:
        one.drop()
    with pytest.raises(sidereus.InvalidRequest, match="give its dimension"):
        client.create_collection("dimensions", spaces={"v": np.zeros(7)})


def test_bad_rows_are_named_and_the_others_written(client: sidereus.Client) -> None:
    one = client.create_collection("bad", spaces={"v": 2})
    try:
        ids, dec = np.arange(120_000), np.zeros(120_000)
        dec[[5, 100_000]] = 95.0
        table = {"object_id": ids, "ra": np.linspace(0, 359, 120_000), "dec": dec}
        with pytest.raises(sidereus.RowsRefused, match=r"2 rows.*row 5 \(5\).*95") as caught:
            one.ingest(table, vectors={"v": np.ones((120_000, 2))})
        report = caught.value.report
        assert isinstance(report, sidereus.IngestReport) and report.inserted == 119_998 == len(one)
        assert [row.row for row in report.refused] == [5, 100_000]
        assert len(one.ingest(table, on_refused="return").refused) == 2
        with pytest.raises(sidereus.InvalidRequest, match="do not go with"):
            one.ingest(table, vectors={"v": np.ones((3, 2))})
        with pytest.raises(sidereus.InvalidRequest, match=r"\(120000, 2\)"):
            one.ingest(table, vectors={"v": np.ones((120_000, 3))})
        with pytest.raises(sidereus.InvalidRequest, match="zz"):
            one.ingest({**table, "zz": ids})

        def broken() -> Any:
            yield pa.table({"object_id": [1_000_000], "ra": [1.0], "dec": [1.0]})
            raise RuntimeError("no more")

        with pytest.raises(RuntimeError, match="no more"):
            one.ingest(broken())
    finally:
        one.drop()


def test_an_ingest_survives_the_death_of_the_server(own_server: Server) -> None:
    rows, width = 200_000, 32
    random = np.random.default_rng(3)
    ids = np.arange(rows)
    vectors = random.normal(size=(rows, width)).astype(np.float32)
    with sidereus.connect(own_server.url, patience=60) as client:
        sky = client.create_collection("sky", spaces={"v": width})
        reports: list[sidereus.IngestReport] = []
        table = {"object_id": ids, "ra": random.uniform(0, 360, rows), "dec": random.uniform(-80, 80, rows)}

        def batches() -> Any:
            whole = pa.table({name: pa.array(column) for name, column in table.items()})
            flat = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), width)
            whole = whole.append_column("vector.v", flat)
            for start in range(0, rows, 2_000):
                # Twice on the way the server is lost; it is there again a moment later.
                if start in (60_000, 130_000):
                    own_server.kill()
                    threading.Timer(0.5, own_server.start).start()
                yield whole.slice(start, 2_000)

        reports.append(sky.ingest(batches()))
        report = reports[0]
        assert report.retries >= 2 and report.batches == 100
        assert report.written == rows and not report.refused
        assert sky.count() == rows
        found_ids, found = sky.vectors("v")
        np.testing.assert_array_equal(found, vectors[found_ids])
    with sidereus.connect(own_server.url, patience=0.3) as client:
        own_server.stop()
        with pytest.raises(sidereus.Unavailable):
            client.collections()
        with pytest.raises(sidereus.Unavailable):
            sidereus.Collection(client._connection, "sky").export()
    own_server.start()
    with sidereus.connect(own_server.url, patience=20) as client:
        assert client["sky"].count() == rows


def test_an_export_goes_at_the_readers_pace(own_server: Server) -> None:
    rows, width = 100_000, 256
    with sidereus.connect(own_server.url) as client:
        sky = client.create_collection("sky", spaces=[sidereus.Space("v", width, metric="l2")])
        table = {"object_id": np.arange(rows), "ra": np.linspace(0, 359, rows), "dec": np.linspace(-80, 80, rows)}
        sky.ingest(table, vectors={"v": np.random.default_rng(1).normal(size=(rows, width))})
        assert own_server.process is not None

        def resident() -> int:
            status = Path(f"/proc/{own_server.process.pid}/status").read_text()  # type: ignore[union-attr]
            return int(next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))) * 1024

        before = resident()
        readers = [sky.export_batches(vectors=True) for _ in range(4)]
        for reader in readers:
            reader.read_next_batch()
        # Four readers who do not read on: a hundred megabytes each would be four hundred.
        assert resident() - before < 200 << 20
        assert readers[0].read_all().num_rows > 0
        del readers
        wait_for(lambda: sky.export(columns=[]).to_arrow().num_rows == rows)


def test_the_command_line_writes_files(server: Server, sky: sidereus.Collection, tmp_path: Path) -> None:
    import subprocess

    import pyarrow.csv
    import pyarrow.feather
    import pyarrow.parquet

    def export(name: str, *words: str) -> Any:
        program = os.environ["SIDEREUS_BIN"]
        path = tmp_path / name
        whole = [program, "export", "sky", "-o", str(path), "--server", server.url, *words]
        return subprocess.run(whole, capture_output=True, text=True), path

    done, path = export("all.parquet", "--with-vectors", "--where", "z < 0.5")
    assert done.returncode == 0, done.stderr
    expected = sky.export(vectors=True, where="z < 0.5").to_arrow()
    written = pyarrow.parquet.read_table(path)
    assert written.select(expected.column_names).to_pylist()[:50] == expected.to_pylist()[:50]
    assert written.num_rows == expected.num_rows and f"{expected.num_rows:,}" in done.stdout
    assert written.schema.field("z").metadata[b"ucd"] == b"src.redshift"
    done, path = export("some.arrow", "--columns", "z,kind", "--cone", "150,2,20deg")
    assert done.returncode == 0, done.stderr
    assert pyarrow.feather.read_table(path).num_rows == sky.count(cone=(150, 2, 20))
    done, path = export("some.csv", "--columns", "z")
    assert done.returncode == 0, done.stderr
    assert pyarrow.csv.read_csv(path).column_names == ["object_id", "ra", "dec", "z"]
    for name, words, told in [
        ("x.csv", ["--with-vectors"], "cannot hold"),
        ("x.fits", [], "no format"),
        ("x.parquet", ["--where", "zz"], "zz"),
    ]:
        refused, path = export(name, *words)
        assert refused.returncode != 0 and told in refused.stderr and not path.exists()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["all.parquet", "some.arrow", "some.csv"]
