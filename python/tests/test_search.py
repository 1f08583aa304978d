"""Searches, counts and objects by id, against NumPy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import Angle, SkyCoord
from astropy.table import QTable
from mocpy import MOC
from regions import CircleSkyRegion, PolygonSkyRegion

import sidereus
from conftest import ROWS, Catalogue, Server


def cosine(vectors: Any, vector: Any) -> Any:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return 1 - unit @ (vector / np.linalg.norm(vector))


def test_the_collection_says_what_it_is(client: sidereus.Client, sky: sidereus.Collection) -> None:
    assert "sky" in client and "nothing" not in client
    assert [one.name for one in client.collections()] == ["sky"]
    assert len(sky) == ROWS and sky.description == "made up"
    columns = {column.name: column for column in sky.columns}
    assert columns["z"] == sidereus.Column("z", "float64", "", "src.redshift", "spectroscopic redshift")
    assert columns["velocity"].unit == "km.s**-1"
    assert columns["mag"].type == "float32" and columns["mag"].unit == "mag"
    assert sky.spaces["colours"].metric == "l2" and sky.spaces["image"].dimension == 16
    assert "2,000 objects" in repr(sky) and sky.footprint.sky_fraction > 0.002


def test_the_nearest_are_those_of_numpy(sky: sidereus.Collection, catalogue: Catalogue) -> None:
    found = sky.search(vector=catalogue.image[3], space="image", k=20, exact=True)
    distances = cosine(catalogue.image, catalogue.image[3])
    expected = catalogue.ids[np.argsort(distances, kind="stable")[:20]]
    assert found.ids == expected.tolist()
    np.testing.assert_allclose(found["distance"], np.sort(distances)[:20], atol=1e-5)
    # An object is not its own hit.
    like = sky.search(like=int(catalogue.ids[3]), space="image", k=19, exact=True)
    assert like.ids == expected[1:].tolist()
    assert like.stats.exact and like.stats.recall is None and like.stats.rows == ROWS


def test_conditions_and_regions_are_those_of_numpy(sky: sidereus.Collection, catalogue: Catalogue) -> None:
    inside = (catalogue.separations(150.0, 2.0) <= 40.0) & (catalogue.z < 0.5)
    centre = SkyCoord(150.0 * u.deg, 2.0 * u.deg)
    for cone in [
        (150.0, 2.0, 40.0),
        (150.0, 2.0, "40deg"),
        (150.0, 2.0, 2400 * u.arcmin),
        (centre, 40 * u.deg),
        (centre.galactic, Angle(40, "deg")),
        (centre.fk5, np.float64(40.0)),
    ]:
        # Another frame is the same place but for rounding.
        assert sky.count(cone=cone, where="z < 0.5") == inside.sum(), cone
    found = sky.search(vector=catalogue.image[0], space="image", cone=(centre, 40 * u.deg), where="z < 0.5", k=5)
    distances = np.where(inside, cosine(catalogue.image, catalogue.image[0]), np.inf)
    assert found.ids == catalogue.ids[np.argsort(distances)[:5]].tolist()
    assert sky.count(region=CircleSkyRegion(centre, 40 * u.deg), where="z < 0.5") == inside.sum()


def test_a_cone_tells_separations(sky: sidereus.Collection, catalogue: Catalogue) -> None:
    centre = SkyCoord(150.0 * u.deg, 2.0 * u.deg)
    found = sky.search(cone=(centre, 40 * u.deg), k=100)
    table = found.to_table()
    assert table["separation"].unit == u.arcsec
    np.testing.assert_allclose(table["separation"].to_value("deg"), table["coord"].separation(centre).deg, rtol=1e-9)
    assert "separation" not in sky.search(k=3).columns and table.meta["collection"] == "sky"


def test_other_regions(sky: sidereus.Collection, catalogue: Catalogue) -> None:
    places = SkyCoord(catalogue.ra, catalogue.dec, unit="deg")
    moc = MOC.from_cone(150 * u.deg, 20 * u.deg, radius=30 * u.deg, max_depth=6)
    assert sky.count(region=moc) == moc.contains_skycoords(places).sum()
    corners = SkyCoord([100, 140, 120], [-10, -10, 30], unit="deg")
    polygon = sky.count(region=PolygonSkyRegion(corners))
    assert 0 < polygon == sky.count(region=corners) == sky.count(region=corners.galactic)
    assert polygon == sky.count(region=[(100, -10), (140, -10), (120, 30)])
    zone = (350.0, -20.0, 10.0, 20.0)
    inside = ((catalogue.ra >= 350) | (catalogue.ra <= 10)) & (np.abs(catalogue.dec) <= 20)
    assert sky.count(zone=zone) == inside.sum()
    with pytest.raises(sidereus.InvalidRequest, match="one of cone, region and zone"):
        sky.count(zone=zone, cone=(1, 2, 3))
    with pytest.raises(sidereus.InvalidRequest, match="MOC"):
        sky.count(region=3.5)
    with pytest.raises(sidereus.InvalidRequest, match="no angle"):
        sky.count(cone=(1, 2, 3 * u.km))


def test_several_terms_and_orders(sky: sidereus.Collection, catalogue: Catalogue) -> None:
    terms = [
        sidereus.Term("image", vectors=catalogue.image[1]),
        sidereus.Term("colours", vectors=catalogue.colours[1], weight=2.0),
    ]
    both = sky.search(terms=terms, fusion="rrf", k=5, exact=True)
    assert both.ids[0] == catalogue.ids[1] and both.stats.fusion == "rrf"
    rocchio = sky.search(like=[1001, 1002], unlike=1003, space="image", k=3)
    assert len(rocchio) == 3 and rocchio.stats.method == "rocchio"
    brightest = sky.search(order_by="mag", k=5, columns=["mag"])
    there = np.where(catalogue.no_mag, np.inf, catalogue.mag)
    assert brightest.ids == catalogue.ids[np.argsort(there)[:5]].tolist()
    assert brightest.columns == ["object_id", "ra", "dec", "mag"]
    near = sky.search(vector=catalogue.image[0], space="image", within=0.5, exact=True)
    assert len(near) == (cosine(catalogue.image, catalogue.image[0]) <= 0.5).sum()
    grouped = sky.search(vector=catalogue.image[0], space="image", group_within=1 * u.deg, k=5)
    assert "beside" in grouped.columns
    diverse = sky.search(vector=catalogue.image[0], space="image", diversity=0.2, k=5)
    assert diverse.ids[0] == catalogue.ids[0] and len(diverse) == 5
    assert diverse.ids != sky.search(vector=catalogue.image[0], space="image", k=5).ids


def test_a_result_is_what_astronomers_use(sky: sidereus.Collection, catalogue: Catalogue) -> None:
    found = sky.search(vector=catalogue.image[0], space="image", k=200, with_vectors=True, explain=True)
    table = found.to_table()
    assert table["velocity"].unit == u.km / u.s and table["ra"].unit == u.deg
    assert table["mag"].unit == u.mag and table["mag"].mask.any()
    assert table["z"].info.description == "spectroscopic redshift"
    rows = np.array(found.ids) - 1000
    truth = SkyCoord(catalogue.ra[rows], catalogue.dec[rows], unit="deg")
    assert table["coord"].separation(truth).max() < 1e-6 * u.arcsec
    np.testing.assert_array_equal(table["mag"].mask, catalogue.no_mag[rows])
    frame = found.to_pandas()
    assert frame["z"].tolist() == catalogue.z[rows].tolist() and frame["mag"].isna().sum() == catalogue.no_mag[rows].sum()
    assert frame["vector.image"][0].shape == (16,)
    np.testing.assert_array_equal(found.vectors("image"), catalogue.image[rows])
    colours = found.vectors("colours")
    np.testing.assert_array_equal(colours, catalogue.colours[rows])
    assert found.to_arrow().schema.field("z").metadata[b"ucd"] == b"src.redshift"
    assert "plan" in found.explain.lower() or found.stats.plan in found.explain
    assert "200 hits in sky" in repr(found) and "<table>" in found._repr_html_() and "190 more" in found._repr_html_()
    assert next(iter(found))["object_id"] == 1000 and found["kind"][0] == catalogue.kind[0]
    with pytest.raises(KeyError, match="no column 'zz'"):
        found["zz"]


def test_a_result_of_a_release_says_how_to_cite_it(server: Server, client: sidereus.Client) -> None:
    one = client.create_collection("cited")
    one.ingest({"object_id": [1], "ra": [1.0], "dec": [2.0]})
    words = ["release", "create", "cited", "dr1", "--citation", "Us (2026)", "--server", server.url]
    subprocess.run([os.environ["SIDEREUS_BIN"], *words], check=True, capture_output=True)
    for found in (one.search(release="dr1"), one.get(1, release="dr1"), one.export(release="dr1")):
        meta = found.to_table().meta
        assert (meta["collection"], meta["release"], meta["citation"]) == ("cited", "dr1", "Us (2026)")
        assert found.to_arrow().schema.metadata[b"citation"] == b"Us (2026)"
    assert "release" not in one.search().to_table().meta


def test_a_result_is_written_as_fits(sky: sidereus.Collection, tmp_path: Path) -> None:
    table = sky.search(like=1000, space="image", k=50, columns=["z", "velocity", "mag"]).to_table()
    table.write(tmp_path / "found.fits")
    again = QTable.read(tmp_path / "found.fits")
    assert again["velocity"].unit == u.km / u.s and again["coord"].separation(table["coord"]).max() < 1 * u.uas
    np.testing.assert_array_equal(again["object_id"], table["object_id"])


def test_text_is_not_markup(sky: sidereus.Collection) -> None:
    found = sky.search(where="kind = '<b>'", k=1)
    assert len(found) == 0 and found.to_table()["z"].dtype == float
    assert "<b>" not in sidereus.Objects(found.to_arrow(), "<b>")._repr_html_()


def test_objects_by_id(sky: sidereus.Collection, catalogue: Catalogue) -> None:
    found = sky.get([1003, 1001], with_vectors=True)
    assert found.ids == [1003, 1001]
    np.testing.assert_array_equal(found.vectors("image"), catalogue.image[[3, 1]])
    assert sky.get(np.int64(1002)).ids == [1002]
    with pytest.raises(sidereus.NotFound, match="999"):
        sky.get([1001, 999])


def test_what_is_wrong_is_said_by_the_server(client: sidereus.Client, sky: sidereus.Collection) -> None:
    with pytest.raises(sidereus.InvalidRequest, match="zz"):
        sky.search(where="zz < 3")
    with pytest.raises(sidereus.NotFound, match="nothing"):
        client["nothing"]
    with pytest.raises(sidereus.InvalidRequest, match="3.*16|16.*3"):
        sky.search(vector=np.ones(3), space="image")
    with pytest.raises(sidereus.NotFound, match="no object"):
        sky.search(like=5, space="image")
    with pytest.raises(sidereus.InvalidRequest, match="whole numbers or text"):
        sky.search(like=1.5, space="image")
    with pytest.raises(sidereus.Conflict, match="exists"):
        client.create_collection("sky")
    with pytest.raises(sidereus.SidereusError):
        sky.search(example={"flux_g": 1.0}, space="colours")
    with pytest.raises(sidereus.InvalidRequest, match="fusion"):
        sky.search(fusion="magic")
    assert issubclass(sidereus.NotFound, LookupError) and issubclass(sidereus.InvalidRequest, ValueError)
