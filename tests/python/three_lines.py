"""Makes what the lines of the README ask for, runs them against a server with TLS and tokens, and tries tokens that are none."""

import re, sys
import numpy as np
import sidereus

url, ca, token, readme = sys.argv[1:]
with sidereus.connect(url, token=token, ca=ca) as client:
    random = np.random.default_rng(5)
    rows = 400
    table = {"object_id": np.arange(rows) + 4900, "ra": random.uniform(148, 152, rows),
             "dec": random.uniform(0, 4, rows), "z": random.uniform(0, 0.6, rows)}
    sky = client.create_collection("galaxies", table, spaces=[sidereus.Space("photometry", 8)])
    vectors = random.normal(size=(rows, 8)).astype(np.float32)
    assert sky.ingest(table, vectors={"photometry": vectors}).inserted == rows
text = open(readme, encoding="utf-8").read().split("## From Python", 1)[1].split("\n## ", 1)[0]
lines = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0].strip().splitlines()
assert len(lines) == 3, lines
lines = "\n".join(lines).replace("https://host:50051", url).replace('token="..."', f"token={token!r}").splitlines()
names = {}
exec("\n".join(lines[:-1]), names)
found = eval(lines[-1], names)
near = np.hypot((table["ra"] - 150.1) * np.cos(np.radians(table["dec"])), table["dec"] - 2.2) < 2.9
assert 0 < len(found) <= 10 and (found["z"] < 0.3).all() and near.sum() > 50, found
assert found["coord"].separation(found["coord"][0]).deg.max() < 6
for wrong in (token[:-1] + ("a" if token[-1] != "a" else "b"), None):
    try:
        sidereus.connect(url, token=wrong)["galaxies"]
    except sidereus.SidereusError as error:
        print(type(error).__name__, error)
    else:
        raise SystemExit(f"{wrong!r} was let in")
print(f"{len(found)} rows")
