"""Positions and parts of the sky, from what astronomers have in their hands."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ._errors import InvalidRequest
from .v1 import objects_pb2, region_pb2


def degrees(angle: Any, what: str = "an angle") -> float:
    """Read an angle: an astropy ``Angle`` or ``Quantity``, text such as ``"30arcmin"``, or a number of degrees.

    Examples
    --------
    >>> degrees(1.5)
    1.5
    >>> degrees("30arcmin")
    0.5
    """
    if isinstance(angle, (int, float, np.integer, np.floating)) and not isinstance(angle, bool):
        return float(angle)
    if isinstance(angle, str):
        from astropy.coordinates import Angle

        try:
            return float(Angle(angle if not _is_number(angle) else f"{angle}deg").degree)
        except Exception as error:
            raise InvalidRequest(f"{what} cannot be read from {angle!r}: write 1.5, '30arcmin' or '12arcsec'") from error
    if hasattr(angle, "to_value"):
        try:
            return float(angle.to_value("deg"))
        except Exception as error:
            raise InvalidRequest(f"{what} is {angle!r}, which is no angle") from error
    raise InvalidRequest(f"{what} is {angle!r}: give an astropy quantity, text such as '30arcmin', or degrees")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def icrs(coordinates: Any) -> tuple[Any, Any]:
    """Give ICRS degrees of an astropy ``SkyCoord`` of any frame, as a pair of numbers or arrays."""
    if not hasattr(coordinates, "icrs"):
        raise InvalidRequest(f"{coordinates!r} is no position: give a SkyCoord, or ra and dec in degrees (ICRS)")
    moved = coordinates.icrs
    return moved.ra.degree, moved.dec.degree


def position(ra: Any, dec: Any) -> objects_pb2.Position:
    """Make the message of a position."""
    return objects_pb2.Position(ra=float(ra), dec=float(dec))


def cone(given: Any) -> region_pb2.Region:
    """Read ``(SkyCoord, radius)`` or ``(ra, dec, radius)``.

    Examples
    --------
    >>> cone((150.1, 2.2, "30arcmin")).cone.radius
    0.5
    """
    if not isinstance(given, Sequence) or len(given) not in (2, 3):
        raise InvalidRequest("cone is (SkyCoord, radius) or (ra, dec, radius)")
    if len(given) == 2:
        ra, dec = icrs(given[0])
        if np.ndim(ra) != 0:
            raise InvalidRequest("a cone has one centre; several cones are a MOC")
    else:
        ra, dec = degrees(given[0], "ra"), degrees(given[1], "dec")
    return region_pb2.Region(cone=region_pb2.Cone(centre=position(ra, dec), radius=degrees(given[-1], "the radius")))


def separations(centre: objects_pb2.Position, ra: Any, dec: Any) -> Any:
    """Give the separations from a position in arcseconds; the formula (Vincenty's, on a sphere) is good at every angle."""
    a1, d1, a2, d2 = (np.radians(angle) for angle in (centre.ra, centre.dec, np.asarray(ra), np.asarray(dec)))
    east = np.cos(d2) * np.sin(a2 - a1)
    north = np.cos(d1) * np.sin(d2) - np.sin(d1) * np.cos(d2) * np.cos(a2 - a1)
    along = np.sin(d1) * np.sin(d2) + np.cos(d1) * np.cos(d2) * np.cos(a2 - a1)
    return 3600 * np.degrees(np.arctan2(np.hypot(east, north), along))


def polygon(ra: Sequence[float], dec: Sequence[float]) -> region_pb2.Region:
    """Make a polygon of great-circle arcs."""
    vertices = [position(one, other) for one, other in zip(ra, dec, strict=True)]
    return region_pb2.Region(polygon=region_pb2.Polygon(vertices=vertices))


def region(given: Any) -> region_pb2.Region:
    """Read a part of the sky.

    Parameters
    ----------
    given
        ``mocpy.MOC``; ``regions.CircleSkyRegion`` or ``PolygonSkyRegion``; a ``SkyCoord`` of several positions, or a
        sequence of ``(ra, dec)`` pairs, for a polygon; text of a MOC such as ``"5/10-12 6/99"``; or a
        ``sidereus.v1.region_pb2.Region``.

    Examples
    --------
    >>> len(region([(10, 0), (11, 0), (10.5, 1)]).polygon.vertices)
    3
    >>> region("5/10-12").moc.ascii
    '5/10-12'
    """
    if isinstance(given, region_pb2.Region):
        return given
    if isinstance(given, str):
        return region_pb2.Region(moc=region_pb2.Moc(ascii=given))
    name = type(given).__name__
    if name == "MOC":
        text = given.to_string(format="ascii")
        return region_pb2.Region(moc=region_pb2.Moc(ascii=" ".join(text.split())))
    if name == "CircleSkyRegion":
        return cone((given.center, given.radius))
    if name == "PolygonSkyRegion":
        return polygon(*icrs(given.vertices))
    if hasattr(given, "icrs"):
        return polygon(*icrs(given))
    if isinstance(given, (Sequence, np.ndarray)) and not isinstance(given, bytes):
        pairs = np.asarray(given, dtype=float)
        if pairs.ndim == 2 and pairs.shape[1] == 2:
            return polygon(pairs[:, 0].tolist(), pairs[:, 1].tolist())
    raise InvalidRequest(
        f"a region cannot be read from {name}: give a mocpy.MOC, a CircleSkyRegion or PolygonSkyRegion, or a list of "
        "(ra, dec); other shapes become a MOC with mocpy"
    )


def part(
    cone_given: Any = None, region_given: Any = None, zone_given: Any = None
) -> region_pb2.Region | None:
    """Read whichever of the three is given; ``None`` for all of the sky."""
    if sum(given is not None for given in (cone_given, region_given, zone_given)) > 1:
        raise InvalidRequest("give one of cone, region and zone")
    if cone_given is not None:
        return cone(cone_given)
    if region_given is not None:
        return region(region_given)
    if zone_given is not None:
        bounds = [degrees(bound, "a bound of the zone") for bound in zone_given]
        if len(bounds) != 4:
            raise InvalidRequest("zone is (ra_min, dec_min, ra_max, dec_max)")
        zone = region_pb2.Zone(ra_min=bounds[0], dec_min=bounds[1], ra_max=bounds[2], dec_max=bounds[3])
        return region_pb2.Region(zone=zone)
    return None
