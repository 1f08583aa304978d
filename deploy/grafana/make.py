"""Makes the dashboard sidereus.json beside this file: `python3 deploy/grafana/make.py` after a change here."""

import json
import pathlib

INSTANCE = 'instance=~"$instance"'


def target(expression, legend):
    return {"expr": expression, "legendFormat": legend, "datasource": {"type": "prometheus", "uid": "${datasource}"}}


def panel(title, unit, targets, kind="timeseries", description=""):
    return {
        "title": title,
        "type": kind,
        "description": description,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"]}}
        if kind == "timeseries"
        else {"reduceOptions": {"calcs": ["lastNotNull"]}},
        "targets": targets,
    }


def quantiles(metric, by=""):
    of = f"{metric}_bucket{{{INSTANCE}}}"
    legend = "{{" + by + "}} " if by else ""
    groups = f"le, {by}" if by else "le"
    return [
        target(f"histogram_quantile({q}, sum by ({groups}) (rate({of}[$__rate_interval])))", f"{legend}p{int(q * 100)}")
        for q in (0.5, 0.99)
    ]


def rate(metric, by, labels=""):
    inner = f"{INSTANCE}{labels}"
    return target(f"sum by ({by}) (rate({metric}{{{inner}}}[$__rate_interval]))", "{{" + by.split(", ")[0] + "}}")


def level(metric, legend):
    return target(f"{metric}{{{INSTANCE}}}", legend)


ROWS = [
    ("Now", [
        panel("Ready", "none", [level("sidereus_ready", "{{instance}}")], "stat"),
        panel("Calls under way", "none", [level("sidereus_calls_in_flight", "{{instance}}")], "stat"),
        panel("Up for", "s", [level("sidereus_uptime_seconds", "{{instance}}")], "stat"),
        panel("Free on the disk", "bytes", [level("sidereus_disk_free_bytes", "{{instance}}")], "stat"),
    ]),
    ("Calls", [
        panel("Calls by method", "reqps", [rate("sidereus_calls_total", "method")]),
        panel("Calls that fail", "reqps", [rate("sidereus_calls_total", "code", ', code!="Ok"')]),
        panel("Time of calls", "s", quantiles("sidereus_call_seconds", "method")),
        panel("Refused because of limits", "reqps", [rate("sidereus_rejections_total", "limit")]),
        panel("Waiting for a turn", "s", quantiles("sidereus_queue_wait_seconds", "queue")),
        panel("Work that waits", "none", [level("sidereus_queue_waiting", "{{queue}}")]),
    ]),
    ("Searches", [
        panel("Searches by plan", "reqps", [rate("sidereus_searches_total", "plan")]),
        panel("Time of searches", "s", quantiles("sidereus_search_seconds")),
        panel("Rows scanned for each search", "none", [
            target(
                f"sum(rate(sidereus_search_rows_scanned_total{{{INSTANCE}}}[$__rate_interval])) "
                f"/ sum(rate(sidereus_searches_total{{{INSTANCE}}}[$__rate_interval]))",
                "rows",
            ),
        ]),
        panel("Recall of approximate searches", "percentunit", [
            target(
                f"sum(rate(sidereus_search_estimated_recall_sum{{{INSTANCE}}}[$__rate_interval])) "
                f"/ sum(rate(sidereus_search_estimated_recall_count{{{INSTANCE}}}[$__rate_interval]))",
                "mean estimate",
            ),
        ]),
        panel("Slow queries", "reqps", [rate("sidereus_slow_queries_total", "instance")]),
        panel("Read by searches", "Bps", [rate("sidereus_search_read_bytes_total", "instance")]),
    ]),
    ("Collections", [
        panel("Objects", "none", [level("sidereus_collection_objects", "{{collection}}")]),
        panel("Rows of the tail", "none", [level("sidereus_collection_tail_rows", "{{collection}}")]),
        panel("Rows ingested", "none", [rate("sidereus_ingest_rows_total", "outcome")]),
        panel("Bytes ingested", "Bps", [rate("sidereus_ingest_bytes_total", "instance")]),
        panel("Builds", "none", [level("sidereus_collection_build_running", "{{collection}}")]),
        panel("Dead rows of segments", "none", [level("sidereus_collection_dead_rows", "{{collection}}")]),
    ]),
    ("Store", [
        panel("Memory of the store", "bytes", [
            level("sidereus_store_memtable_bytes", "not in files yet"),
            level("sidereus_store_cache_bytes", "cache"),
        ]),
        panel("Compaction", "bytes", [level("sidereus_store_pending_compaction_bytes", "to rewrite")]),
        panel("Disk", "bytes", [
            level("sidereus_data_bytes", "data directory"),
            level("sidereus_store_file_bytes", "rows"),
            level("sidereus_store_wal_bytes", "logs"),
        ]),
    ]),
    ("Encoder", [
        panel("Inputs encoded", "none", [rate("sidereus_encoder_rows_total", "host")]),
        panel("Inputs that wait", "none", [level("sidereus_encoder_queued_rows", "{{host}}")]),
        panel("Inputs that failed", "none", [rate("sidereus_encoder_failed_rows_total", "host")]),
    ]),
    ("Process", [
        panel("Memory", "bytes", [level("process_resident_memory_bytes", "{{instance}}")]),
        panel("Processors", "none", [rate("process_cpu_seconds_total", "instance")]),
        panel("Files and threads", "none", [
            level("process_open_fds", "files"),
            level("process_threads", "threads"),
        ]),
    ]),
]


def dashboard():
    panels, y, number = [], 0, 1
    for title, members in ROWS:
        panels.append({"id": number, "type": "row", "title": title, "collapsed": False, "panels": [],
                       "gridPos": {"h": 1, "w": 24, "x": 0, "y": y}})
        number, y = number + 1, y + 1
        small = all(each["type"] == "stat" for each in members)
        width, height = (6, 4) if small else (8, 8)
        for place, each in enumerate(members):
            columns = 24 // width
            x, line = place % columns * width, place // columns
            panels.append({**each, "id": number, "gridPos": {"h": height, "w": width, "x": x, "y": y + line * height}})
            number += 1
        y += -(-len(members) // (24 // width)) * height
    return {
        "uid": "sidereus",
        "title": "Sidereus",
        "tags": ["sidereus"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [
            {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"},
            {"name": "instance", "type": "query", "label": "Server", "multi": True, "includeAll": True,
             "datasource": {"type": "prometheus", "uid": "${datasource}"},
             "query": "label_values(sidereus_ready, instance)", "refresh": 2},
        ]},
        "annotations": {"list": []},
        "panels": panels,
    }


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("sidereus.json")
    path.write_text(json.dumps(dashboard(), indent=2) + "\n")
