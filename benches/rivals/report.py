"""The tables and the picture of a result."""

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
    return shown if measured["recall"] >= TARGET_RECALL else f"{shown} @{measured['recall']:.2f}".replace("@0.", "@.")


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


def best_rival(engines: dict, shape: str, clients: str) -> tuple[str, dict] | None:
    """The fastest rival that reaches the recall on a shape."""
    reached = [
        (name, found[clients]["shapes"][shape])
        for name, found in engines.items()
        if name != OURS and clients in found and found[clients]["shapes"][shape]["recall"] >= TARGET_RECALL
    ]
    return max(reached, key=lambda each: each[1]["qps"]) if reached else None


def speed_rows(engines: dict, shapes: list[dict], clients: str) -> list[list[str]]:
    """One row for each shape, one column for each engine, and how we stand against the best of them."""
    rows = []
    for shape in (each["name"] for each in shapes):
        row = [shape]
        for found in engines.values():
            row.append(cell(found.get(clients, {}).get("shapes", {}).get(shape)))
        ours = engines.get(OURS, {}).get(clients, {}).get("shapes", {}).get(shape)
        best = best_rival(engines, shape, clients)
        if OURS in engines:
            has_both = ours is not None and best is not None and ours["recall"] >= TARGET_RECALL
            row.append(f"{ours['qps'] / best[1]['qps']:.2f}x" if has_both else "-")
        rows.append(row)
    return rows


def latency_rows(engines: dict, shapes: list[dict]) -> list[list[str]]:
    """Median and 99th percentile with one client, in milliseconds."""
    rows = []
    for shape in (each["name"] for each in shapes):
        row = [shape]
        for found in engines.values():
            one = found.get("clients_1", {}).get("shapes", {}).get(shape)
            row.append(f"{one['p50_ms']:.3g}/{one['p99_ms']:.3g}" if one else "-")
        rows.append(row)
    return rows


def cost_rows(engines: dict, count: int) -> list[list[str]]:
    """What it costs to have the data: rates in rows per second, seconds, bytes."""

    def of(found: dict, make):
        try:
            return make(found)
        except (KeyError, ZeroDivisionError, TypeError):
            return "-"

    def per_vector(found: dict, field: str) -> str:
        one = found["clients_1"]
        return number((one["memory"][field] - one["empty"][field]) / count)

    kinds = (
        ("rows/s to durable", lambda found: number(count / found["build"]["durable_s"])),
        ("rows/s to searchable", lambda found: number(count / found["build"]["searchable_s"])),
        ("rows/s to indexed", lambda found: number(count / found["build"]["indexed_s"])),
        ("index build s", lambda found: number(found["build"]["build_s"])),
        ("disk MiB", lambda found: number(found["build"]["disk_bytes"] / MIB)),
        ("resident B/vector", lambda found: per_vector(found, "rss")),
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
        two = engine.get("grpc_2", {}).get("shapes", {}).get(shape)
        rows.append(
            [
                shape,
                number(local["p50_ms"]),
                number(remote["p50_ms"]),
                f"{more:+.0f}",
                number(remote["p99_ms"]),
                number(remote["qps"]),
                number(two["qps"] if two else None),
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
            lines.append(f"{name}: tuning was cut short by its time limit for {', '.join(cut)}")
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
    count = found["size"]["rows"]
    names = [SHORT.get(name, name) for name in engines]
    against = ["vs best"] if OURS in engines else []
    goal = f"recall@{K} >= {TARGET_RECALL} (where not reached, @ and the recall)"
    tables = (
        (
            f"Queries per second, one client, {goal}",
            ["filter", *names, *against],
            speed_rows(engines, shapes, "clients_1"),
        ),
        (
            f"Queries per second, two clients, {goal}",
            ["filter", *names, *against],
            speed_rows(engines, shapes, "clients_2"),
        ),
        ("Latency with one client, p50/p99 in ms", ["filter", *names], latency_rows(engines, shapes)),
        ("Import, index, memory, start", ["", *names], cost_rows(engines, count)),
    )
    tables += our_tables(engines.get(OURS, {}), shapes)
    print(f"\n{title(found)}")
    text = [f"# Sidereus and its rivals: {found['size']['name']}", title(found), f"`{found['command']}`"]
    for name, head, rows in tables:
        print(f"\n{name}\n\n{grid(head, rows)}")
        text += [f"## {name}", markdown(head, rows)]
    remarks = notes(found)
    print("\n" + "\n".join(remarks))
    text += ["## Notes", "\n".join(f"- {line}" for line in remarks)]
    (folder / "results.md").write_text("\n\n".join(text) + "\n")
    draw(found, shapes, folder / "results.svg")
    print(f"\nwritten: {folder}/results.json, results.md, results.svg", flush=True)


def our_tables(engine: dict, shapes: list[dict]) -> tuple:
    """Tables about ourselves alone."""
    tables = ()
    if "grpc_1" in engine:
        head = ["filter", "p50 ms", "gRPC p50", "more us", "gRPC p99", "gRPC/s", "2 clients/s", "plan"]
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
