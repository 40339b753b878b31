// The same architectures in the order of two tables, a line each, and two of them that are dragged along the left side.
//
// anywidget calls `render`. All places are in `data` (for_browser in reversals.py): a drag asks no kernel.

const SYNCED = ["left", "right", "a", "b"];
const TOP = 46, BOTTOM = 420, LEFT = 190, RIGHT = 450, WIDTH = 640, HEIGHT = 432;

const CSS = `
[data-jp-theme-light=true] .lk-reversals { color-scheme: light }
[data-jp-theme-light=false] .lk-reversals { color-scheme: dark }
.lk-reversals { color-scheme: light dark; --ink: var(--jp-ui-font-color1, light-dark(#1b1b1b, #e8e8e8));
  --soft: light-dark(#767676, #8d8d8d); --paper: var(--jp-layout-color0, light-dark(#fff, #111));
  --a: light-dark(#0072B2, #4FA8E0); --b: light-dark(#D55E00, #FF8A3D); padding: 6px 4px;
  font: 13px/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; color: var(--ink); background: var(--paper);
  .wrap { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 240px), 1fr)); gap: 4px 16px;
    max-width: ${WIDTH}px }
  label { display: flex; align-items: center; gap: 8px; white-space: nowrap }
  select, input { font: inherit; outline-color: var(--a) }
  [type=range] { flex: 1; min-width: 90px }
  .of-a { accent-color: var(--a) } .of-b { accent-color: var(--b) }
  .says { margin: 6px 0; font-size: 17px; font-weight: 600 }
  svg { display: block; width: 100%; max-width: ${WIDTH}px; fill: var(--ink); touch-action: none }
  path { fill: none }
  .all { stroke: var(--soft); stroke-opacity: .28 }
  .axis { stroke: var(--ink) }
  .line-a { stroke: var(--a); stroke-width: 3 }
  .line-b { stroke: var(--b); stroke-width: 3; stroke-dasharray: 8 4 }
  .dot-a { fill: var(--a) } .dot-b { fill: var(--b) }
  .dot-a, .dot-b { cursor: ns-resize; stroke: var(--paper); stroke-width: 2 }
  .note { color: var(--soft) } }`;

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

/** One sentence on architectures a and b; the same as RankReversals.words. */
export function words(data, left, right, a, b) {
  const lead = (side) => Math.sign(data.sides[side].ms[a] - data.sides[side].ms[b]);
  const [one, other] = [lead(left), lead(right)];
  if (one * other < 0) {
    const [first, second] = one < 0 ? "AB" : "BA";
    return `They swap: ${first} is faster under ${data.sides[left].name}, ${second} under ${data.sides[right].name}.`;
  }
  const faster = one || other;
  return "No swap: " + (faster ? `${faster < 0 ? "A" : "B"} is faster on both.` : "they are equally fast.");
}

function render({ model, el }) {
  const data = model.get("data"), count = data.labels.length;
  const y = (place) => TOP + ((BOTTOM - TOP) * place) / (count - 1);
  const options = data.sides.map((side, i) => `<option value="${i}">${escape(side.name)}</option>`).join("");
  el.innerHTML = `<style>${CSS}</style><div class="lk-reversals">
    <div class="wrap">
      <label>left <select class="left">${options}</select></label>
      <label>right <select class="right">${options}</select></label>
      <label>A <input type="range" class="of-a" min="0" max="${count - 1}" step="1"></label>
      <label>B <input type="range" class="of-b" min="0" max="${count - 1}" step="1"></label>
    </div>
    <div class="says" role="status"></div>
    <svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="places of all architectures on both sides">
      <path class="all"/><path class="axis" d="M${LEFT} ${TOP}V${BOTTOM}M${RIGHT} ${TOP}V${BOTTOM}"/>
      <path class="line-a"/><path class="line-b"/>
      <circle class="dot-a" r="8" cx="${LEFT}"/><circle class="dot-a" r="8" cx="${RIGHT}"/>
      <rect class="dot-b" width="15" height="15" x="${LEFT - 7.5}"/>
      <rect class="dot-b" width="15" height="15" x="${RIGHT - 7.5}"/>
      <text class="head" x="${LEFT}" y="14" text-anchor="middle" font-weight="600"></text>
      <text class="head" x="${RIGHT}" y="14" text-anchor="middle" font-weight="600"></text>
      <text x="${LEFT}" y="27" text-anchor="middle" font-size="11">fastest at the top</text>
      <text x="${RIGHT}" y="27" text-anchor="middle" font-size="11">fastest at the top</text>
      ${"<text class='tag' font-size='12'></text>".repeat(4)}
    </svg><div class="note"></div></div>`;
  const root = el.querySelector(".lk-reversals"), find = (selector) => root.querySelector(selector);
  root.onkeydown = (event) => { // else JupyterLab's shortcuts take the arrows
    const { key, ctrlKey, metaKey, altKey, shiftKey } = event;
    if (!ctrlKey && !metaKey && !altKey && !shiftKey && key !== "Escape") event.stopPropagation();
  };
  const every = (selector) => [...root.querySelectorAll(selector)];
  const state = () => SYNCED.map((name) => model.get(name));
  const set = (changes) => {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
  };

  function sides() {
    const [left, right] = state(), [one, other] = [data.sides[left], data.sides[right]];
    const lines = data.labels.map((_, i) => `M${LEFT} ${y(one.places[i])}L${RIGHT} ${y(other.places[i])}`);
    find(".all").setAttribute("d", lines.join(""));
    every(".head").forEach((head, i) => (head.textContent = [one, other][i].name));
    let swapped = 0;
    for (let i = 0; i < count; i++)
      for (let j = 0; j < i; j++) swapped += (one.ms[i] - one.ms[j]) * (other.ms[i] - other.ms[j]) < 0;
    const share = ((200 * swapped) / count / (count - 1)).toFixed(0);
    find(".note").textContent =
      `${share} % of all pairs of the ${count} swap. Left: ${one.card}. Right: ${other.card}.`;
    chosen();
  }

  function chosen() {
    const [left, right, a, b] = state(), tags = every(".tag");
    for (const [at, [name, i, rival]] of [["a", a, b], ["b", b, a]].entries()) {
      const ends = [left, right].map((side) => y(data.sides[side].places[i]));
      find(`.line-${name}`).setAttribute("d", `M${LEFT} ${ends[0]}L${RIGHT} ${ends[1]}`);
      every(`.dot-${name}`).forEach((dot, k) => dot.setAttribute(name === "a" ? "cy" : "y", ends[k] - (name === "a" ? 0 : 7.5)));
      [left, right].forEach((side, k) => {
        const { ms, places } = data.sides[side], tag = tags[2 * at + k];
        const away = Math.abs(places[i] - places[rival]) * (BOTTOM - TOP) / (count - 1);
        const above = places[i] < places[rival] || (places[i] === places[rival] && name === "a");
        const nudge = away < 14 ? (above ? -1 : 1) * (14 - away) / 2 : 0;  // two tags never lie on each other
        tag.setAttribute("x", k ? RIGHT + 14 : LEFT - 14);
        tag.setAttribute("text-anchor", k ? "start" : "end");
        tag.setAttribute("y", ends[k] + 4 + nudge);
        tag.textContent = `${name.toUpperCase()} ${data.labels[i]}  ${ms[i].toFixed(3)} ms`;
      });
      const slider = find(`.of-${name}`), place = data.sides[left].places[i];
      slider.value = place;
      slider.setAttribute("aria-valuetext", `${data.labels[i]}, place ${place + 1} of ${count} on the left`);
    }
    find(".left").value = left;
    find(".right").value = right;
    const said = words(data, left, right, a, b);
    if (find(".says").textContent !== said) find(".says").textContent = said;
    root.dataset.choice = `${data.labels[a]} ${data.labels[b]}`;
  }

  const at = (side, place) => data.sides[side].places.indexOf(place);
  for (const name of ["left", "right"])
    find(`.${name}`).addEventListener("change", (event) => set({ [name]: +event.target.value }));
  for (const name of ["a", "b"]) {
    find(`.of-${name}`).addEventListener("input", (event) => set({ [name]: at(state()[0], +event.target.value) }));
    every(`.dot-${name}`).forEach((dot, k) => {
      const move = (event) => {
        const box = find("svg").getBoundingClientRect();
        const up = ((event.clientY - box.top) * HEIGHT) / box.height;
        const place = Math.round(((up - TOP) / (BOTTOM - TOP)) * (count - 1));
        set({ [name]: at(state()[k], Math.max(0, Math.min(count - 1, place))) });
      };
      dot.addEventListener("pointerdown", (event) => {
        dot.setPointerCapture(event.pointerId);
        event.preventDefault();
      });
      dot.addEventListener("pointermove", (event) => dot.hasPointerCapture(event.pointerId) && move(event));
    });
  }
  const onSides = () => sides(), onChosen = () => chosen();
  model.on("change:left change:right", onSides);
  model.on("change:a change:b", onChosen);
  sides();
  return () => {
    model.off("change:left change:right", onSides);
    model.off("change:a change:b", onChosen);
  };
}

export default { render };
