"""Draw docs/map.svg: the packages of labkit on their floors, and which imports which, read from the imports."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE, OUT = ROOT / "labkit", Path(__file__).with_name("map.svg")
WIDE, HIGH, GAP_X, GAP_Y = 118, 34, 26, 40


def imports(paths: list[Path]) -> set[str]:
    """Packages that the files import from."""
    found = set()
    for node in (node for path in paths for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))):
        if isinstance(node, ast.ImportFrom) and node.module == "labkit":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("labkit."):
            found.add((node.module or "").split(".")[1])
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("labkit.")}
    return found


def packages() -> dict[str, set[str]]:
    """Every package or module directly under labkit, and those that it imports from."""
    files = {path.stem: [path] for path in PACKAGE.glob("[!_]*.py")}
    files |= {init.parent.name: [*init.parent.rglob("*.py")] for init in PACKAGE.glob("*/__init__.py")}
    return {name: (imports(paths) & files.keys()) - {name} for name, paths in files.items()}


def floors(uses: dict[str, set[str]]) -> list[list[str]]:
    """Packages by the longest way down from each, lowest floor first."""
    height: dict[str, int] = {}

    def of(name: str) -> int:
        if name not in height:
            height[name] = 1 + max((of(used) for used in uses[name]), default=-1)
        return height[name]

    for name in uses:
        of(name)
    return [sorted(name for name in uses if height[name] == floor) for floor in range(max(height.values()) + 1)]


def svg() -> str:
    """The picture. A line goes up from a package to each one that imports it from the next floors."""
    uses = packages()
    rows = floors(uses)
    most = max(map(len, rows))
    width, height = most * (WIDE + GAP_X) + GAP_X, len(rows) * (HIGH + GAP_Y) + GAP_Y
    place = {}
    for floor, row in enumerate(rows):
        left = (width - len(row) * (WIDE + GAP_X) + GAP_X) / 2
        for i, name in enumerate(row):
            place[name] = left + i * (WIDE + GAP_X), height - (floor + 1) * (HIGH + GAP_Y)
    lines = []
    for name in sorted(uses):
        x, y = place[name]
        for used in sorted(uses[name]):
            a, b = place[used]
            curve = f"M{x + WIDE / 2:.0f} {y + HIGH:.0f} L{a + WIDE / 2:.0f} {b:.0f}"
            lines.append(f'<path d="{curve}" stroke="#8a94a3" stroke-opacity=".35" fill="none"/>')
    for name, (x, y) in sorted(place.items()):
        lines.append(
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDE}" height="{HIGH}" rx="6" fill="#eaf1fb" stroke="#1f6fb4"/>'
            f'<text x="{x + WIDE / 2:.0f}" y="{y + HIGH / 2 + 5:.0f}" text-anchor="middle" '
            f'font-family="sans-serif" font-size="14" fill="#14202e">{name}</text>'
        )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
    title = "<title>The packages of labkit: each imports only from lower floors</title>"
    return "\n".join([head, title, f'<rect width="{width}" height="{height}" fill="#fff"/>', *lines, "</svg>\n"])


if __name__ == "__main__":
    OUT.write_text(svg(), encoding="utf-8")
    print(f"wrote {OUT}")
