"""Checks what is under deploy/ with the tools that deploy/setup/lint.sh installs; `make lint-deploy` runs both.

Each check says what it looked at. A tool that is missing is named, and is a failure: nothing is passed over in silence.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import tomllib

import helm_python
import kubernetes_validate
import promql_parser
import yaml

DEPLOY = pathlib.Path(__file__).parent
TOOLS = pathlib.Path(sys.executable).parent
CHART = DEPLOY / "helm" / "sidereus"
KUBERNETES = "1.31"

failures = []


def report(name, problems):
    print(f"{'FAIL' if problems else 'ok  '} {name}")
    for problem in problems:
        print(f"     {problem}")
    failures.extend(problems)


def tool(name, *words, system=False):
    """Runs a tool; what it says is the problem when it fails."""
    program = shutil.which(name) if system else str(TOOLS / name)
    if not program or not pathlib.Path(program).exists():
        return [f"{name} is not installed"]
    done = subprocess.run([program, *map(str, words)], capture_output=True, text=True)
    said = (done.stdout + done.stderr).strip().splitlines()
    return said or [f"exit status {done.returncode}"] if done.returncode else []


def rendered(values):
    with helm_python.Chart.load(CHART) as chart:
        return chart.render(values=values, name="it", namespace="sky")


def documents(manifests):
    for name, text in manifests.items():
        if not name.endswith((".yaml", ".yml")):
            continue  # notes for people
        yield from (each for each in yaml.safe_load_all(text) if isinstance(each, dict))


def check_chart():
    values = yaml.safe_load((CHART / "ci" / "values.yaml").read_text())
    told = helm_python.lint(CHART, values=values)
    report("helm lint", [json.dumps(each) for each in told.get("messages", []) if each.get("severity", 0) > 1])
    problems, kinds = [], []
    for each in documents(rendered(values)):
        kinds.append(each["kind"])
        if each["apiVersion"].startswith("monitoring.coreos.com"):
            continue  # of the Prometheus operator, which is no part of Kubernetes
        try:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)
        except kubernetes_validate.ValidationError as error:
            problems.append(f"{each['kind']}: {error.message}")
    for wanted in ("StatefulSet", "Service", "ConfigMap", "NetworkPolicy", "ServiceAccount", "ServiceMonitor"):
        if wanted not in kinds:
            problems.append(f"the chart makes no {wanted}")
    report(f"rendered chart against Kubernetes {KUBERNETES}: {', '.join(kinds)}", problems)
    problems = []
    for wrong in ({}, {"image": {"repository": "a"}}, {**values, "replicas": 3}, {**values, "drainSeconds": -1}):
        try:
            rendered(wrong)
            problems.append(f"{wrong} is accepted")
        except helm_python.HelmError:
            pass
    report("values that must be refused", problems)
    check_settings(values)


def check_settings(values):
    """Has the program itself read the settings file that the chart makes."""
    maps = [each for each in documents(rendered(values)) if each["kind"] == "ConfigMap"]
    text = maps[0]["data"]["sidereus.toml"]
    tomllib.loads(text)
    folder = os.environ.get("CARGO_TARGET_DIR", "target")
    program = pathlib.Path(folder) / "release" / "sidereus"
    if not program.exists():
        print(f"--   the program is not built: {program} did not read the chart's settings")
        return
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([program, "serve", "--config", file.name, "--print-config"], capture_output=True, text=True)
    report("the program reads the chart's settings", done.stderr.splitlines() if done.returncode else [])


def check_dashboard():
    problems = []
    made = subprocess.run([sys.executable, "-c", MAKE], capture_output=True, text=True, cwd=DEPLOY / "grafana")
    path = DEPLOY / "grafana" / "sidereus.json"
    if made.returncode or json.loads(made.stdout) != json.loads(path.read_text()):
        problems.append("sidereus.json is not what make.py makes: run it")
    for panel in json.loads(path.read_text())["panels"]:
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", "5m").replace("$instance", ".*")
            try:
                promql_parser.parse(expression)
            except ValueError as error:
                problems.append(f"{panel['title']}: {error}")
    report("grafana/sidereus.json: every expression is PromQL", problems)


MAKE = "import json, make; print(json.dumps(make.dashboard()))"


def main():
    report("hadolint docker/Dockerfile", tool("hadolint", DEPLOY / "docker" / "Dockerfile"))
    plain = [path for path in DEPLOY.rglob("*.y*ml") if "templates" not in path.parts]
    report("yamllint", tool("yamllint", "--strict", "-c", DEPLOY / ".yamllint.yaml", *plain))
    compose = DEPLOY / "compose" / "compose.yaml"
    report("compose.yaml against the Compose specification",
           tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", compose))
    report("values.schema.json is a schema",
           tool("check-jsonschema", "--check-metaschema", CHART / "values.schema.json"))
    report("promtool: configuration and rules",
           tool("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yml"))
    report("promtool: what the rules do", tool("promtool", "test", "rules", DEPLOY / "prometheus" / "alerts_test.yml"))
    check_chart()
    check_dashboard()
    if failures:
        sys.exit(f"{len(failures)} problems")


if __name__ == "__main__":
    main()
