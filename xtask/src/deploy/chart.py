"""The Helm chart, tried with Helm itself (version 4, as a library) and held against the
schemas of Kubernetes. Prints one line per check: `ok    WHAT` or `FAIL  WHAT: why`.

    chart.py check CHART CASES      lint, and every case of the directory CASES
    chart.py render CHART NAME      the objects with default values, in namespace NAME
"""

import pathlib
import sys

import kubernetes_validate
import yaml
from helm_python import chart as helm
from helm_python.errors import HelmError


def rendered(loaded, values, name):
    """The objects as text, in a steady order, without NOTES.txt."""
    files = loaded.render(values, name=name, namespace=name)
    parts = (files[path].strip() for path in sorted(files) if path.endswith(".yaml"))
    return [part for part in parts if part]


def check_schemas(objects, versions):
    """Complaints of the strict schemas of each version."""
    complaints = []
    for version in versions:
        for item in objects:
            try:
                used = kubernetes_validate.validate(item, version + ".0", strict=True)
                if used != version:
                    complaints.append(f"no schemas of {version}: {used} was used")
            except kubernetes_validate.ValidationError as error:
                complaints.append(f"{version}: {item['kind']}: {error.message}")
    return complaints


def check_good(loaded, values, wanted):
    text = "\n---\n".join(rendered(loaded, values, "dnsprobe"))
    objects = list(yaml.safe_load_all(text))
    if "DaemonSet" not in [item["kind"] for item in objects]:
        return ["no DaemonSet was rendered"]
    return check_schemas(objects, wanted.split())


def check_bad(loaded, values, wanted):
    try:
        loaded.render(values, name="dnsprobe", namespace="dnsprobe")
    except HelmError as error:
        return [] if wanted in str(error) else [f"another error: {error}"]
    return ["was rendered all the same"]


def check_lint(chart):
    report = helm.lint(chart, strict=True)
    # 1 is information, such as the icon that a chart might have.
    bad = [m["error"] for m in report["messages"] if m["severity"] != 1]
    return bad + report["errors"]


def main(verb, chart, argument):
    if verb == "render":
        with helm.Chart.load(chart) as loaded:
            print("\n---\n".join(rendered(loaded, {}, argument)))
        return
    results = [("helm lint", check_lint(chart))]
    with helm.Chart.load(chart) as loaded:
        for file in sorted(pathlib.Path(argument).glob("*.yaml")):
            first, text = file.read_text().split("\n", 1)
            check = check_good if file.name.startswith("good-") else check_bad
            values = yaml.safe_load(text)
            results.append((file.stem, check(loaded, values, first.removeprefix("# "))))
    for what, complaints in results:
        print(f"FAIL  {what}: {'; '.join(complaints)}" if complaints else f"ok    {what}")


main(*sys.argv[1:])
