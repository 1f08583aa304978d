"""Probes, connections, types, the protocol modules, the notebook and the README."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

import sidereus
from conftest import Catalogue, Server
from sidereus._connection import find_token
from sidereus._errors import of_flight

HERE = Path(__file__).resolve().parent.parent


def test_an_error_of_flight_is_what_the_server_said() -> None:
    def told(code: str, kind: type[Exception] = pa.ArrowInvalid) -> type[Exception]:
        return type(of_flight(kind(f"Flight returned {code} error, with message: so it is. Detail: Failed")))

    assert told("resource exhausted") is sidereus.LimitReached
    assert told("invalid argument") is sidereus.InvalidRequest
    assert told("failed precondition") is sidereus.Conflict
    assert told("unknown") is sidereus.InvalidRequest
    assert told("not found", pa.ArrowKeyError) is sidereus.NotFound
    # Arrow's own complaint about what it was given names no code.
    assert type(of_flight(pa.ArrowInvalid("column not found, deadline"))) is sidereus.InvalidRequest


def test_a_probe_is_fitted_kept_and_a_column(sky: sidereus.Collection, catalogue: Catalogue) -> None:
    fitted = sky.probes.fit("z", space="image", head="ridge", name="photoz", alpha=[0.1, 1.0])
    assert fitted.metrics["r2"].value > 0.9 and fitted.metrics["r2"].low is not None
    assert fitted.n_train + fitted.n_test == len(catalogue.ids) and not fitted.stale
    assert [probe.name for probe in sky.probes] == ["photoz"] and sky.probes["photoz"].column == "probe.photoz"
    high = sky.search(where="probe.photoz > 0.5", columns=["probe.photoz", "z"], k=50)
    assert (high["probe.photoz"] > 0.5).all() and high["z"].mean() > 0.5
    export = sky.export(columns=["probe.photoz"], where="probe.photoz > 0.5")
    assert len(export) == sky.count(where="probe.photoz > 0.5") > 0
    assert (export["probe.photoz"] > 0.5).all()
    assert sky.probes.apply("photoz", "z_photo") == len(catalogue.ids)
    sky.refresh()
    assert "z_photo" in [column.name for column in sky.columns]
    sky.probes.drop("photoz")
    assert sky.probes.list() == []
    with pytest.raises(sidereus.InvalidRequest, match="no setting epochs"):
        sky.probes.fit("z", space="image", epochs=3)
    with pytest.raises(sidereus.InvalidRequest, match="not one of"):
        sky.probes.fit("z", space="image", head="magic")


def test_a_token_goes_nowhere_unencrypted() -> None:
    with pytest.raises(sidereus.InvalidRequest, match="https"):
        sidereus.connect("http://sky.example.org:50051", token="secret")
    with pytest.raises(sidereus.InvalidRequest, match="https"):
        sidereus.connect("10.0.0.7:50051", token="secret")
    sidereus.connect("http://127.0.0.1:1", token="secret").close()
    sidereus.connect("http://[::1]:1", token="secret").close()
    sidereus.connect("https://sky.example.org", token="secret").close()
    for bad in ("ftp://x", "https://", "http://x?", "x y://"):
        with pytest.raises((sidereus.InvalidRequest, ValueError)):
            sidereus.connect(bad, token="t")
    with pytest.raises(sidereus.InvalidRequest, match="belong together"):
        sidereus.connect("https://x", certificate=__file__)
    with pytest.raises(sidereus.InvalidRequest, match="cannot be read"):
        sidereus.connect("https://x", ca="/nowhere.pem")
    with pytest.raises(sidereus.InvalidRequest, match="not encrypted"):
        sidereus.connect("http://127.0.0.1", ca=__file__)


def test_tokens_come_from_argument_file_or_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SIDEREUS_TOKEN", "SIDEREUS_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert find_token(None, None) is None
    assert find_token(None, file) == "from-file"
    monkeypatch.setenv("SIDEREUS_TOKEN_FILE", str(file))
    assert find_token(None, None) == "from-file"
    monkeypatch.setenv("SIDEREUS_TOKEN", "from-environment")
    assert find_token(None, None) == "from-environment"
    assert find_token("given", None) == "given" and find_token(None, file) == "from-file"
    with pytest.raises(sidereus.InvalidRequest, match="cannot be read"):
        find_token(None, tmp_path / "none")
    file.write_text("two words")
    with pytest.raises(sidereus.InvalidRequest, match="letters"):
        find_token(None, file)


def test_nobody_at_home(own_server: Server) -> None:
    own_server.stop()
    with sidereus.connect(own_server.url, patience=0.2) as client, pytest.raises(sidereus.Unavailable):
        client["sky"]
    own_server.start()


def certificates(folder: Path, name: str) -> Path:
    """Make a certificate for this machine that is its own authority: ``NAME.pem`` and ``NAME.key``."""
    path = folder / name
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    words += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    words += ["-keyout", f"{path}.key", "-out", f"{path}.pem"]
    subprocess.run(words, check=True, capture_output=True)
    return path


def test_encryption_that_fails_is_told_at_once(tmp_path: Path) -> None:
    ours, theirs = certificates(tmp_path, "ours"), certificates(tmp_path, "theirs")
    config = tmp_path / "sidereus.toml"
    config.write_text(f'version = 1\n[tls]\ncertificate = "{ours}.pem"\nkey = "{ours}.key"\n')
    server = Server(tmp_path / "data", "--config", str(config)).start()
    try:
        address = f"127.0.0.1:{server.port}"
        with sidereus.connect(f"https://{address}", ca=f"{ours}.pem") as client:
            assert client.collections() == []
        for url, ca, words in [
            (f"https://{address}", f"{theirs}.pem", "not signed by .*theirs.pem"),
            (f"https://{address}", None, "not signed by an authority that this machine knows"),
            (f"http://{address}", None, "speaks TLS: use https://"),
        ]:
            began = time.monotonic()
            with sidereus.connect(url, ca=ca) as client, pytest.raises(sidereus.Untrusted, match=words) as failed:
                client.collections()
            assert time.monotonic() - began < 10 and "\n" not in str(failed.value)
    finally:
        server.close()


def test_encryption_where_there_is_none(server: Server, tmp_path: Path) -> None:
    ours = certificates(tmp_path, "ours")
    with sidereus.connect(f"https://127.0.0.1:{server.port}", ca=f"{ours}.pem") as client:
        with pytest.raises(sidereus.Untrusted, match="does not speak TLS: use http://"):
            client.collections()


def test_the_types_are_strict(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path), "--config-file", "pyproject.toml"]
    done = subprocess.run(words, cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_protocol_modules_are_those_of_the_protocol(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "generate.py", str(tmp_path)], cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made, kept = (
        {str(path.relative_to(folder)): path.read_text() for path in folder.glob("sidereus/**/*_pb2.py*")}
        for folder in (tmp_path, HERE / "src")
    )
    assert made == kept, "run python/generate.py"


def test_the_notebook_runs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("SIDEREUS_SERVER", server.url)
    monkeypatch.delenv("MPLBACKEND", raising=False)
    notebook = nbformat.read(HERE / "examples/quickstart.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in outputs), "a plot"
    assert any("text/html" in output.get("data", {}) for output in outputs), "a table"


def test_the_lines_of_the_readme_run(server: Server, sky: sidereus.Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (HERE.parent / "README.md").read_text(encoding="utf-8")
    section = readme.split("## From Python", 1)[1].split("\n## ", 1)[0]
    lines = re.findall(r"```python\n(.*?)```", section, re.DOTALL)[0]
    monkeypatch.setenv("SIDEREUS_SERVER", server.url)
    lines = re.sub(r'connect\("https://[^"]*", ', "connect(", lines).replace('"galaxies"', '"sky"')
    lines = lines.replace("4974", "1000").replace('"photometry"', '"image"')
    names: dict[str, object] = {}
    exec(compile(lines, "README.md", "exec"), names)
    assert os.environ["SIDEREUS_SERVER"] == server.url
