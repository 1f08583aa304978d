"""The tables and the picture of a result."""

import math
from pathlib import Path

from engines import COLOURS, OURS
from sizes import TARGET_RECALL, K

MIB = 2**20
SHORT = {"faiss-rabitq": "f-rabitq", "faiss-flat": "f-flat", "faiss-ivf": "f-ivf", "faiss-hnsw": "f-hnsw"}


def number(value) -> str:
    """A figure with three significant digits or all of its integer ones."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def cell(measured: dict | None) -> str:
    """Queries per second; with the recall behind it where that is below the target."""
    if measured is None:
        return "-"
    shown = number(measured["qps"])
    return shown if measured["recall"] >= TARGET_RECALL else f"{shown} @{measured['recall']:.3f}".replace("@0.", "@.")


def grid(head: list[str], rows: list[list[str]]) -> str:
    """A table for a terminal: the first column left, the others right."""
    widths = [max(len(row[place]) for row in [head, *rows]) for place in range(len(head))]
    lines = []
    for row in [head, ["-" * width for width in widths], *rows]:
        first, *others = (
            text.ljust(width) if place == 0 else text.rjust(width)
            for place, (text, width) in enumerate(zip(row, widths))
        )
        lines.append("  ".join([first, *others]).rstrip())
    return "\n".join(lines)


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """The same as a Markdown table."""
    align = [":--", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, align, *rows])


def measured_of(engines: dict, name: str, clients: str, shape: str) -> dict | None:
    """What was measured, if it was."""
    return engines.get(name, {}).get(clients, {}).get("shapes", {}).get(shape)


def best_of(engines: dict, names: list[str], clients: str, shape: str) -> tuple[str, dict] | None:
    """The fastest of some engines that reaches the recall; the one with the best recall where none does."""
    there = [(name, measured_of(engines, name, clients, shape)) for name in names]
    there = [(name, measured) for name, measured in there if measured is not None]
    reached = [each for each in there if each[1]["recall"] >= TARGET_RECALL]
    if reached:
        return max(reached, key=lambda each: each[1]["qps"])
    return max(there, key=lambda each: each[1]["recall"]) if there else None


def ratio(engines: dict, clients: str, shape: str) -> float | None:
    """Our speed over that of the fastest rival at the same recall; None where either does not reach it."""
    ours = measured_of(engines, OURS, clients, shape)
    best = best_of(engines, [name for name in engines if name != OURS], clients, shape)
    pair = [each for each in (ours, best and best[1]) if each and each["recall"] >= TARGET_RECALL]
    return pair[0]["qps"] / pair[1]["qps"] if len(pair) == 2 else None


def against(engines: dict, clients: str, shape: str) -> list[str]:
    """A cell with the ratio, when we take part."""
    if OURS not in engines:
        return []
    times = ratio(engines, clients, shape)
    return [f"{times:.2f}x" if times else "-"]


def speed_rows(engines: dict, shapes: list[dict], clients: str) -> list[list[str]]:
    """One row for each shape, one column for each engine, and how we stand against the best of them."""
    rows = []
    for shape in (each["name"] for each in shapes):
        cells = [cell(measured_of(engines, name, clients, shape)) for name in engines]
        rows.append([shape, *cells, *against(engines, clients, shape)])
    return rows


def families(engines: dict) -> dict[str, list[str]]:
    """The engines by the library that they are variants of."""
    found = {}
    for name in engines:
        found.setdefault(name.split("-")[0], []).append(name)
    return found


def family_rows(engines: dict, shapes: list[dict], clients: str, show) -> list[list[str]]:
    """One row for each shape, one column for each library: its best variant there, named where it has several."""
    rows = []
    for shape in (each["name"] for each in shapes):
        row = [shape]
        for family, names in families(engines).items():
            best = best_of(engines, names, clients, shape)
            variant = best[0].removeprefix(family).lstrip("-") if best else ""
            row.append(f"{show(best[1])} {variant}".rstrip() if best else "-")
        rows.append(row)
    return rows


def latency(measured: dict | None) -> str:
    """Median and 99th percentile in milliseconds."""
    return f"{measured['p50_ms']:.3g}/{measured['p99_ms']:.3g}" if measured else "-"


def latency_rows(engines: dict, shapes: list[dict]) -> list[list[str]]:
    """Median and 99th percentile with one client, in milliseconds."""
    names = [shape["name"] for shape in shapes]
    return [[shape, *(latency(measured_of(engines, name, "clients_1", shape)) for name in engines)] for shape in names]


def standing(engines: dict, shapes: list[dict], clients: str) -> str:
    """How often we are the fastest, and by how much on average."""
    ratios = [ratio(engines, clients, shape["name"]) for shape in shapes]
    known = [each for each in ratios if each]
    if not known:
        return ""
    mean = math.exp(sum(map(math.log, known)) / len(known))
    wins = sum(each > 1.0 for each in known)
    return f"Sidereus is the fastest in {wins} of {len(shapes)}; geometric mean against the best rival {mean:.2f}x"


def cost_rows(engines: dict, count: int) -> list[list[str]]:
    """What it costs to have the data: rates in rows per second, seconds, bytes."""

    def of(found: dict, make):
        try:
            return make(found)
        except (KeyError, ZeroDivisionError, TypeError):
            return "-"

    def per_vector(found: dict, field: str, run: str = "clients_1") -> str:
        one = found[run]
        return number((one["memory"][field] - one["empty"][field]) / count)

    kinds = (
        ("rows/s to durable", lambda found: number(count / found["build"]["durable_s"])),
        ("the same through gRPC", lambda found: number(count / found["build"]["durable_grpc_s"])),
        ("rows/s to searchable", lambda found: number(count / found["build"]["searchable_s"])),
        ("rows/s to indexed", lambda found: number(count / found["build"]["indexed_s"])),
        ("index build s", lambda found: number(found["build"]["build_s"])),
        ("disk MiB", lambda found: number(found["build"]["disk_bytes"] / MIB)),
        ("resident B/vector", lambda found: per_vector(found, "rss")),
        ("the same, vectors on disk", lambda found: per_vector(found, "rss", "on_disk_1")),
        ("of these anonymous", lambda found: per_vector(found, "rss_anon")),
        ("start to answer s", lambda found: f"{found['clients_1']['first_answer_s']:.3f}"),
    )
    return [[name, *(of(found, make) for found in engines.values())] for name, make in kinds]


def remote_rows(engine: dict, shapes: list[dict]) -> list[list[str]]:
    """Our own server beside the same searches in process."""
    rows = []
    for shape in (each["name"] for each in shapes):
        local, remote = (engine[where]["shapes"][shape] for where in ("clients_1", "grpc_1"))
        more = (remote["p50_ms"] - local["p50_ms"]) * 1e3
        # Around the search, and what the search itself takes longer where it is not asked without a pause.
        around = (remote["p50_ms"] - remote.get("search_p50_ms", float("nan"))) * 1e3
        # Results of earlier versions have the sum alone.
        split = "" if math.isnan(around) else f" ({around:.0f} {more - around:+.0f})"
        two = engine.get("grpc_2", {}).get("shapes", {}).get(shape)
        rows.append(
            [
                shape,
                number(local["p50_ms"]),
                number(remote["p50_ms"]),
                f"{more:+.0f}{split}",
                number(remote["p99_ms"]),
                number(remote["qps"]),
                number(two["qps"] if two else None),
                number(engine.get("on_disk_1", {}).get("shapes", {}).get(shape, {}).get("qps")),
                ", ".join(local.get("plans", {})),
            ]
        )
    return rows


def notes(found: dict) -> list[str]:
    """What a reader must know beside the figures."""
    lines = []
    for name, engine in found["engines"].items():
        if "failed" in engine:
            lines.append(f"{name}: {engine['failed']}")
        build = engine.get("build", {})
        if build.get("note"):
            lines.append(
                f"{name}: {build['note']}; {build.get('indexed_vectors', 0):,} vectors indexed; "
                f"durable: {build.get('durable_note', '')}"
            )
        cut = [shape for shape, tuned in engine.get("tuned", {}).items() if tuned.get("is_cut")]
        if cut:
            which = "every filter" if len(cut) == len(engine["tuned"]) else ", ".join(cut)
            lines.append(f"{name}: the search for better settings ended at its time limit for {which}")
        if "nothing_p50_ms" in engine.get("grpc_1", {}):
            took = engine["grpc_1"]["nothing_p50_ms"] * 1e3
            lines.append(f"{name}: a call of gRPC that does nothing (whether the server is healthy) takes {took:.0f} us")
        outside = sum(each["outside_filter"] for each in engine.get("clients_1", {}).get("shapes", {}).values())
        if outside:
            lines.append(f"{name}: {outside} hits lay outside their filters (counted as misses)")
    return lines


def title(found: dict) -> str:
    """One line: what was measured where."""
    size, machine = found["size"], found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    return (
        f"{size['rows']:,} x {size['dimension']}, cosine, {machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory_gib']} GiB, {found['date']}, {found['revision']}; {versions}"
    )


def write(found: dict, shapes: list[dict], folder: Path) -> None:
    """Prints the tables, and writes them and the picture into a folder."""
    engines = found["engines"] = {name: found["engines"][name] for name in COLOURS if name in found["engines"]}
    text = [f"# Sidereus and its rivals: {found['size']['name']}", title(found), f"`{found['command']}`"]
    print(f"\n{title(found)}")
    if engines:
        text += engine_tables(found, engines, shapes)
        draw(found, shapes, folder / "results.svg")
    if "imports" in found:
        text += import_table(found)
    remarks = notes(found)
    if remarks:
        print("\n" + "\n".join(remarks))
    text += ["## Notes", "\n".join(f"- {line}" for line in remarks)] if remarks else []
    (folder / "results.md").write_text("\n\n".join(part for part in text if part) + "\n")
    print(f"\nwritten to {folder}: results.json, results.md{', results.svg' if engines else ''}", flush=True)


def engine_tables(found: dict, engines: dict, shapes: list[dict]) -> list[str]:
    """Prints what engines were measured at; returns the same as Markdown."""
    text, names = [], [SHORT.get(name, name) for name in engines]
    last = ["vs best"] if OURS in engines else []
    goal = f"recall@{K} >= {TARGET_RECALL} (where not reached, @ and the recall)"
    for clients, said in (("clients_1", "one client"), ("clients_2", "two clients")):
        name = f"Queries per second, {said}, {goal}"
        head, rows = ["filter", *families(engines), *last], family_rows(engines, shapes, clients, cell)
        rows = [[*row, *against(engines, clients, row[0])] for row in rows]
        print(f"\n{name}\n\n{grid(head, rows)}\n{standing(engines, shapes, clients)}")
        full = markdown(["filter", *names, *last], speed_rows(engines, shapes, clients))
        text += [f"## {name}", full, standing(engines, shapes, clients)]
    head, rows = ["filter", *families(engines)], family_rows(engines, shapes, "clients_1", latency)
    print(f"\nLatency of the same with one client, p50/p99 in ms\n\n{grid(head, rows)}")
    text += ["## Latency with one client, p50/p99 in ms", markdown(["filter", *names], latency_rows(engines, shapes))]
    costs = ("Import, index, memory, start", ["", *names], cost_rows(engines, found["size"]["rows"]))
    for name, head, rows in (costs, *our_tables(engines.get(OURS, {}), shapes)):
        print(f"\n{name}\n\n{grid(head, rows)}")
        text += [f"## {name}", markdown(head, rows)]
    return text


def import_table(found: dict) -> list[str]:
    """Prints the imports in turns; returns the same as Markdown."""
    import imports

    each = found["imports"]
    name = f"Imports in turns, rows/s to durable, {len(each['seconds'][imports.LANCE])} rounds"
    head = ["", "median", "slowest", "fastest", "against LanceDB"]
    rows = imports.rows(each["seconds"], found["size"]["rows"])
    said = f"{each['date']}, {each['revision']}; `{each['command']}`"
    print(f"\n{name}\n\n{grid(head, rows)}\n{said}")
    return [f"## {name}", markdown(head, rows), said]


def our_tables(engine: dict, shapes: list[dict]) -> tuple:
    """Tables about ourselves alone."""
    tables = ()
    if "grpc_1" in engine:
        head = ["filter", "p50 ms", "gRPC p50", "more us (call, search)", "gRPC p99"]
        head += ["gRPC/s", "2 clients/s", "on disk/s", "plan"]
        tables += (("Sidereus over gRPC, one client, beside the same in process", head, remote_rows(engine, shapes)),)
    if "scenarios" in engine:
        import scenarios

        tables += (
            ("Sidereus under change and growth", ["what", "filter", "figures"], scenarios.rows(engine["scenarios"])),
        )
    return tables


def draw(found: dict, shapes: list[dict], path: Path) -> None:
    """Dots of queries per second on a logarithmic scale; hollow where the recall was not reached."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    from matplotlib.lines import Line2D

    engines = {name: each for name, each in found["engines"].items() if "clients_1" in each}
    names = [shape["name"] for shape in shapes]
    figure, axes = plt.subplots(figsize=(10, 1.6 + 0.42 * len(names)), layout="constrained")
    for place, name in enumerate(names):
        axes.axhspan(place - 0.5, place + 0.5, color="#f4f4f4" if place % 2 else "white", zorder=0)
        for step, (engine, result) in enumerate(engines.items()):
            measured = result["clients_1"]["shapes"].get(name)
            if measured is None:
                continue
            colour, is_ours = COLOURS[engine], engine == OURS
            offset = (step - (len(engines) - 1) / 2) * 0.8 / max(len(engines), 1)
            reached = measured["recall"] >= TARGET_RECALL
            axes.plot(
                measured["qps"],
                place + offset,
                marker="D" if is_ours else "o",
                markersize=7 if is_ours else 5,
                color=colour,
                markerfacecolor=colour if reached else "white",
                zorder=4 if is_ours else 3,
            )
    axes.set_xscale("log")
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(axis="x", which="both", color="#dddddd", linewidth=0.6)
    axes.set_xlabel(f"queries per second, one client, at recall@{K} ≥ {TARGET_RECALL}; hollow: recall not reached")
    size = found["size"]
    axes.set_title(f"{size['rows']:,} vectors of {size['dimension']} dimensions, by filter", loc="left")
    handles = [
        Line2D([], [], marker="D" if name == OURS else "o", linestyle="", color=COLOURS[name], label=name)
        for name in engines
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
    figure.savefig(path)
    plt.close(figure)
