"""What mkdocs does not know about this repository: pages outside docs/, links to source files, and generated tables."""

import posixpath
import re
import subprocess
from pathlib import Path

import yaml
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
MERMAID = ROOT / "tests/browser/node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js"
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
LISTING = "/files.md"
LINK = re.compile(r"(\]\()([^)\s]+)(\))")


def on_files(files, config):
    """Adds the pages and source files outside docs/ that a page links to, and what those pages link to."""
    found = {path_of(file.src_uri) for file in files}
    queue = [path for path in found if path.endswith(".md")]
    while queue:
        for path in targets(queue.pop()) - found:
            found.add(path)
            if (ROOT / path).is_dir():
                files.append(File.generated(config, site_path(path), content=listing(path)))
                queue.append(path)
            elif (ROOT / path).is_file():
                files.append(File.generated(config, site_path(path), abs_src_path=str(ROOT / path)))
                if path.endswith(".md"):
                    queue.append(path)
    files.append(File.generated(config, "assets/mermaid.js", abs_src_path=str(MERMAID)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Leads links to where on_files has put their targets, and fills in what is generated."""
    here = page.file.src_uri
    path = path_of(here)

    def moved(match):
        to, fragment = target(path, match[2])
        if to is None:
            return match[0]
        return match[1] + posixpath.relpath(site_path(to), posixpath.dirname(here) or ".") + fragment + match[3]

    prose, fences = re.split(FENCE, markdown), FENCE.findall(markdown)
    # The words after the language are for rustdoc.
    fences = [re.sub(r"^```(\w+),.*", r"```\1", fence) for fence in fences] + [""]
    text = "".join(LINK.sub(moved, part) + fence for part, fence in zip(prose, fences))
    for marker, made in (("parameters", parameters), ("metrics", metrics), ("apis", apis)):
        if f"<!-- {marker} -->" in text:
            text = text.replace(f"<!-- {marker} -->", made())
    return text


def targets(path):
    """The files and folders that a page, or the listing of a folder, links to."""
    page = ROOT / path
    if page.is_dir():
        return set(tracked(path))
    links = (match[2] for match in LINK.finditer(re.sub(FENCE, "", page.read_text())))
    return {to for to, _ in (target(path, link) for link in links) if to and (ROOT / to).exists()}


def listing(folder):
    names = (posixpath.relpath(path, folder) for path in tracked(folder))
    return f"# {folder}\n\n" + "".join(f"- [{name}]({name})\n" for name in names)


def tracked(folder):
    listed = subprocess.run(["git", "ls-files", "--", folder], cwd=ROOT, check=True, capture_output=True, text=True)
    return listed.stdout.split()


def target(page, link):
    """The path in the repository and the fragment of a relative link; None if it is of another kind."""
    if re.match(r"[a-z]+:|#|/", link):
        return None, ""
    path, mark, fragment = link.partition("#")
    base = page if (ROOT / page).is_dir() else posixpath.dirname(page)
    return posixpath.normpath(posixpath.join(base, path)), mark + fragment


def path_of(uri):
    """The path in the repository of a page of the site."""
    path = uri.removeprefix("repository/") if uri.startswith("repository/") else f"docs/{uri}"
    return path.removesuffix(LISTING)


def site_path(path):
    """Where the site has a file of the repository. Source files end in .txt, so that browsers show them."""
    site = path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"
    if (ROOT / path).is_dir():
        return site + LISTING
    if path.startswith("docs/") or path.endswith(".md"):
        return site
    return site.replace("/.", "/") + ".txt"


class Template(yaml.SafeLoader):
    """Reads CloudFormation's short forms as text."""


Template.add_multi_constructor("!", lambda loader, suffix, node: f"!{suffix}")


def parameters():
    document = yaml.load((ROOT / "template.yaml").read_text(), Template)
    interface = document["Metadata"]["AWS::CloudFormation::Interface"]
    labels = {name: group["Label"]["default"] for group in interface["ParameterGroups"] for name in group["Parameters"]}
    groups = {}
    for name, parameter in document["Parameters"].items():
        groups.setdefault(labels.get(name, "Others"), []).append((name, parameter))
    return "\n".join(f"### {group}\n\n" + table(("parameter", "default", "meaning"), map(parameter_row, rows))
                     for group, rows in groups.items())


def parameter_row(row):
    name, parameter = row
    default = parameter.get("Default")
    allowed = parameter.get("AllowedValues")
    meaning = " ".join(parameter.get("Description", "").split())
    if allowed:
        meaning += " One of " + ", ".join(f"`{value}`" for value in allowed) + "."
    return f"`{name}`", "required" if default is None else f"`{default}`" if default != "" else "empty", meaning


def metrics():
    source = (ROOT / "shared/src/telemetry/metrics.rs").read_text()
    lines = source[source.index("\nmetrics! {"):]
    found = re.findall(r"((?:    /// .*\n)+)    (\w+): (\w+) in (\w+),", lines)
    assert found, "the table of metrics is found"
    rows = ((f"`{name}`", kind.lower(), unit.lower(), " ".join(what.replace("///", " ").split())) for what, name, kind, unit in found)
    return table(("metric", "kind", "unit", "meaning"), rows)


def apis():
    return ('## The payments API\n\n<swagger-ui src="../openapi.yaml"/>\n\n'
            '## The console\'s API\n\n<swagger-ui src="../openapi-console.yaml"/>')


def table(head, rows):
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) + "\n"
