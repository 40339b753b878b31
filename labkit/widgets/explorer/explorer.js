// Every architecture as a point, the one that is chosen, and what it is made of. All is in `data` (for_browser
// in choosing.py), so a key press asks no kernel. A point is [error, ms, [index into ops], [index into parts_ms]].

// Okabe and Ito's colours that carry black text
const COLOURS = ["#56B4E9", "#E69F00", "#009E73", "#CC79A7", "#F0E442", "#D55E00", "#BBBBBB"];
const SYNCED = ["weight", "target_ms", "mode", "selection"];

const CSS = `
[data-jp-theme-light=true] .lk { color-scheme: light }
[data-jp-theme-light=false] .lk { color-scheme: dark }
.lk { color-scheme: light dark; --ink: var(--jp-ui-font-color1, light-dark(#1b1b1b, #e8e8e8));
  --soft: var(--jp-ui-font-color2, light-dark(#5c5c5c, #a8a8a8)); --line: light-dark(#ddd, #444);
  --paper: var(--jp-layout-color0, light-dark(#fff, #111)); --hit: light-dark(#0072B2, #4FA8E0);
  --miss: light-dark(#D55E00, #FF8A3D); padding: 6px 4px; font: 13px/1.4 system-ui, sans-serif;
  font-variant-numeric: tabular-nums; color: var(--ink); background: var(--paper);
  h3 { margin: 0 0 4px; font-size: 16px }
  fieldset { border: 0; margin: 0; padding: 0 }
  legend { float: left; padding: 0; margin-right: 16px }
  .wrap { display: flex; flex-wrap: wrap; gap: 2px 16px }
  .row, label { display: flex; align-items: center; gap: 8px }
  .row { flex: 1 1 320px }
  .row label { flex: 1; white-space: nowrap }
  [hidden] { display: none }
  input { margin: 0; accent-color: var(--hit); font: inherit; outline-color: var(--hit) }
  [type=range] { flex: 1; min-width: 90px }
  .typed { width: 64px }
  .says { margin: 6px 0; font-size: 17px; font-weight: 600 }
  svg { display: block; fill: var(--ink) }
  .note { color: var(--soft) }
  .soft { fill: var(--soft) }
  .cloud { cursor: pointer }
  path, .ring, .was { fill: none; stroke: var(--ink) }
  .line { stroke: var(--line) }
  .dominated { stroke: var(--soft); stroke-opacity: .5; stroke-width: 6; stroke-linecap: round }
  .hit { stroke: var(--hit); stroke-width: 10; stroke-linecap: round }
  .miss { fill: var(--paper); stroke: var(--miss); stroke-width: 2 }
  .ring, .changed { stroke: var(--ink); stroke-width: 3 }
  .equal { stroke-width: 1.5; stroke-dasharray: 7 4 }
  .was { stroke: var(--soft); stroke-width: 1.5; stroke-dasharray: 3 2 }
  details { overflow: auto }
  td, th { padding-right: 12px; text-align: left; white-space: nowrap }
  [aria-current] { font-weight: 700; background: var(--line) }
  .heard { position: absolute; clip-path: inset(50%) } }`;

/** Index of the least error + weight * (ms, or ms above the target; an infinite weight makes that a deadline). */
export function choose(scene, weight, target = null) {
  let best = 0, least = Infinity;
  scene.points.forEach(([error, ms], i) => {
    const late = target === null ? ms : Math.max(0, ms - target), cost = error + (late && weight * late);
    if (cost < least || (cost === least && ms < scene.points[best][1])) [best, least] = [i, cost];
  });
  return best;
}

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const clamp = (low, value, high) => Math.max(low, Math.min(high, value));
const nearest = (list, value) => {
  const away = list.map((v) => Math.abs(v - value));
  return away.indexOf(Math.min(...away));
};
const percent = (error) => `${(100 * error).toFixed(1)} %`;
const dot = ([x, y]) => `M${x} ${y}h0`;
const diamond = ([x, y]) => `M${x} ${y - 6}l6 6-6 6-6-6z`;

/** Two digits, up to four: 0.0, 0.10, 0.032, 12. */
function weightText(weight) {
  const digits = [2, 3].find((d) => +weight.toPrecision(d) === weight) ?? 4;
  return weight.toFixed(clamp(0, digits - 1 - Math.floor(Math.log10(weight || 1)), 99));
}

function shell(data, name) {
  const { points, frontier, reachable, stops, decimals } = data, [low, high] = data.axes.ms.span;
  const mode = (value, text) => `<label><input type="radio" name="${name}" value="${value}">${text}</label>`;
  const row = (key, text, min, max, step, more = "") => `<div class="row"><label>${text}
<input type="range" class="${key}" min="${min}" max="${max}" step="${step}"></label>${more}</div>`;
  const key = (colour, sign, text) => `<span><b style="color:var(--${colour})">${sign}</b> ${text}</span>`;
  return `<style>${CSS}</style><h3>${escape(data.title)}</h3>
<fieldset class="wrap"><legend>choose by</legend>${mode("weight", "weight")}
${mode("target", "weight and target")}${mode("deadline", "deadline")}${mode("hand", "hand: click a point")}</fieldset>
<div class="wrap">${row("weight", "weight (error per ms)", 0, stops.length - 1, 1,
    `<input class="typed" inputmode="decimal" aria-label="weight (error per ms)">`)}
${row("target", "target or deadline (ms)", low, high, 10 ** -decimals)}
${row("hand", "along the frontier", 0, frontier.length - 1, 1)}</div>
<div class="says"></div>
<div class="wrap"><div class="cloud"></div><div class="parts"></div></div>
<div class="wrap note">${key("hit", "●", `chosen by some weight (${reachable.length})`)}
${key("miss", "◇", `on the frontier, chosen by no weight (${frontier.length - reachable.length})`)}
${key("soft", "•", `dominated (${points.length - frontier.length})`)}
${key("ink", "◯", "chosen")}${key("ink", "╌╌", "equal cost")}${key("soft", "┄┄", "choice before")}</div>
<div class="note">Error: ${escape(data.error_from)}. Latency: ${escape(data.latency_from)}; ${escape(data.card)}.</div>
<details><summary>Frontier as a table</summary><table></table></details>
<div class="heard" role="status"></div>`;
}

export function render({ model, el }) {
  const data = model.get("data"), { points, layers, ops, parts_ms, overhead_ms, stops, frontier, axes } = data;
  const ms = (value) => value.toFixed(data.decimals), hull = new Set(data.reachable);
  const root = document.createElement("div"), find = (selector) => root.querySelector(selector);
  root.className = "lk";
  root.innerHTML = shell(data, `lk${Math.random()}`);
  el.append(root);
  const typed = find(".typed"), state = {};
  let chosen = null, before = null; // drawn now, and before that
  let saving = null, speaking = null; // timers
  let plot = null; // sizes and scales

  // drawn now, told to Python and spoken when the reader pauses
  function update(changes) {
    Object.assign(state, changes);
    draw();
    clearTimeout(saving);
    saving = setTimeout(save, 150);
  }

  function save() {
    for (const name of SYNCED) model.set(name, state[name]);
    model.save_changes();
    saving = null; // not before: each `set` calls `hear`
  }

  function hear() {
    if (saving !== null) return; // the reader's state is newer than what comes in
    for (const name of SYNCED) state[name] = model.get(name);
    draw();
  }

  find(".weight").oninput = (event) => update({ weight: stops[event.target.value] });
  find(".target").oninput = (event) => update({ target_ms: +event.target.value });
  find(".hand").oninput = (event) => update({ selection: frontier[event.target.value] });
  typed.oninput = () => {
    const weight = parseFloat(typed.value);
    if (weight >= 0 && weight < Infinity) update({ weight });
  };
  find("fieldset").onchange = (event) => update({ mode: event.target.value });
  find("details").ontoggle = table;
  find(".cloud").onclick = (event) => {
    const box = find(".cloud svg").getBoundingClientRect();
    const away = plot.places.map(([x, y]) => Math.hypot(x - event.clientX + box.left, y - event.clientY + box.top));
    const selection = nearest(away, 0);
    if (away[selection] < 24) update({ mode: "hand", selection });
  };
  root.onkeydown = (event) => { // else JupyterLab's shortcuts take arrows and digits
    const { ctrlKey, metaKey, altKey, shiftKey, key } = event;
    if (!ctrlKey && !metaKey && !altKey && !shiftKey && key !== "Escape") event.stopPropagation();
  };

  function draw() {
    const { mode, weight, target_ms } = state, hand = mode === "hand", due = mode === "deadline";
    const late = due || mode === "target", limit = `${due ? "deadline" : ", target"} ${ms(target_ms)} ms`;
    if (!hand) state.selection = choose(data, due ? Infinity : weight, late ? target_ms : null);
    if (state.selection !== chosen) [before, chosen] = [chosen, state.selection];
    Object.assign(root.dataset, { mode, weight, target: target_ms, choice: chosen });
    const missed = due && points[chosen][1] > target_ms ? ", which none meets" : "";
    const asked = hand ? "by hand" : (due ? "" : `weight ${weightText(weight)}`) + (late ? limit : "") + missed;
    const words = `${asked}: ${ms(points[chosen][1])} ms, error ${percent(points[chosen][0])}`;
    find(".says").textContent = words;
    for (const [name, shown] of [["weight", !hand && !due], ["target", late], ["hand", hand]]) {
      find(`.${name}`).closest(".row").hidden = !shown;
      find(`.${name}`).setAttribute("aria-valuetext", words);
    }
    find(`[value=${mode}]`).checked = true;
    find(".weight").value = nearest(stops, weight);
    find(".target").value = target_ms;
    find(".hand").value = nearest(frontier.map((i) => points[i][1]), points[chosen][1]);
    if (parseFloat(typed.value) !== weight) typed.value = weight;
    marks();
    parts();
    table();
    clearTimeout(speaking);
    speaking = setTimeout(() => { find(".heard").textContent = words + changes(); }, 300);
  }

  function changes() {
    const is = points[chosen][2], was = (points[before] ?? points[chosen])[2];
    return layers.map((name, l) => (is[l] === was[l] ? "" : `. ${name}: ${ops[is[l]]}, was ${ops[was[l]]}`)).join("");
  }

  function layout() {
    const room = find(".says").clientWidth || 900, stacked = room < 740;
    const width = stacked ? room : Math.min(room * 0.54, room - 400), height = clamp(280, width * 0.68, 400);
    const left = 40, right = width - 12, top = 22, base = height - 40;
    const scale = ({ span: [low, high] }, from, to) => (v) => +(from + ((v - low) / (high - low)) * (to - from)).toFixed(1);
    const x = scale(axes.ms, left, right), y = scale(axes.error, base, top);
    const places = points.map(([error, time]) => [x(time), y(100 * error)]);
    const tick = (path, x, y, anchor, text) => `<path class="line" d="${path}"/><text x="${x}" y="${y}" text-anchor="${anchor}">${text}</text>`;
    const kinds = points.map((_, i) => (hull.has(i) ? "hit" : frontier.includes(i) ? "miss" : "dominated"));
    const all = (kind, shape) => `<path class="${kind}" d="${places.filter((_, i) => kinds[i] === kind).map(shape).join("")}"/>`;
    const stairs = frontier.map((i, k) => `V${places[i][1]}H${places[frontier[k + 1]]?.[0] ?? right}`);
    plot = { x, y, top, base, places, height, panel: stacked ? Math.min(room, 600) : room - width - 16 };
    find(".cloud").innerHTML = `<svg width="${width}" height="${height}" role="img" aria-label="latency against error">
<text class="soft" y="12">error (%)</text>${tick("", right, height - 6, "end", "latency (ms)")}
${axes.error.ticks.map(([text, v]) => tick(`M${left} ${y(v)}H${right}`, left - 8, y(v) + 4, "end", text)).join("")}
${axes.ms.ticks.map(([text, v]) => tick(`M${x(v)} ${top}V${base}`, x(v), base + 18, "middle", text)).join("")}
${all("dominated", dot)}<path d="M${places[frontier[0]][0]} ${top}${stairs.join("")}"/><path class="was"/>
<svg x="${left}" y="${top}" width="${right - left}" height="${base - top}"><path class="equal" transform="translate(-${left} -${top})"/></svg>
${all("miss", diamond)}${all("hit", dot)}<circle class="ring" r="11"/></svg>`;
  }

  function marks() {
    const { places } = plot, set = (mark, name, value) => find(`.cloud ${mark}`).setAttribute(name, value);
    set(".ring", "cx", places[chosen][0]);
    set(".ring", "cy", places[chosen][1]);
    set(".was", "d", before === null ? "" : `M${places[before]}L${places[chosen]}`);
    set(".equal", "d", state.mode === "hand" ? "" : equalCost());
  }

  /** All (ms, error) that cost what the chosen point costs: no point lies below. */
  function equalCost() {
    const { x, y, top, base } = plot, [error, time] = points[chosen], [low, high] = axes.ms.span, { mode, weight } = state;
    const target = mode === "weight" ? low : clamp(low, state.target_ms, high), due = mode === "deadline";
    const late = (t) => Math.max(0, t - target);
    const at = (t) => `${x(t)} ${y(100 * (error + (due ? 0 : weight) * (late(time) - late(t))))}`;
    return `M${at(low)}L${at(target)}` + (due ? "" : `L${at(high)}`) + (target > low ? `M${x(target)} ${top}V${base}` : "");
  }

  /** A strip of boxes, first layer on top; beside each its latency and the change. */
  function parts() {
    const { panel, height } = plot, is = points[chosen], was = points[before] ?? is, rows = layers.length + 2;
    const step = clamp(18, (height - 30) / rows, 44), tall = Math.min(step - 3, 26), middle = (l) => 26 + step * (l + 0.5);
    const widest = (words) => 8 * Math.max(...words.map((word) => word.length));
    const box = widest([...layers, "overhead"]) + 8, wide = widest(ops) + 12, bars = box + wide + 12;
    const scale = Math.max(20, panel - bars - 112) / Math.max(overhead_ms, ...parts_ms);
    const rect = (x, width, height, more) => `<rect x="${x}" y="${-height / 2}" width="${width}" height="${height}" ${more}/>`;
    const row = (l, name, now, then, scale, more = "") => {
      const change = ms(Math.abs(now - then)), ghost = now === then ? 0 : then * scale;
      return `<g transform="translate(0 ${middle(l)})"><text y="4">${escape(name)}</text>
${more}${rect(bars, ghost, tall, 'class="was"')}<text x="${bars + 6 + Math.max(now * scale, ghost)}" y="4">${ms(now)}
<tspan font-weight="700">${change === ms(0) ? "" : (now < then ? "−" : "+") + change}</tspan></text></g>`;
    };
    const layer = (name, l) => {
      const op = is[2][l], now = parts_ms[is[3][l]], fill = `fill="${COLOURS[op % COLOURS.length]}"`;
      return row(l, name, now, parts_ms[was[3][l]], scale, rect(box, wide, tall, `rx="4" ${fill} ${op === was[2][l] ? "" : 'class="changed"'}`)
        + `<text x="${box + wide / 2}" y="4" text-anchor="middle" fill="#000">${escape(ops[op])}</text>` + rect(bars, now * scale, tall * 0.7, fill));
    };
    find(".parts").innerHTML = `<svg width="${panel}" height="${30 + step * rows}">
<text class="soft" x="${box}" y="12">operation</text><text class="soft" x="${bars}" y="12">latency (ms), change</text>
<path d="M${box + wide / 2} ${middle(0)}V${middle(rows - 3)}"/>${layers.map(layer).join("")}
${row(rows - 2, "overhead", overhead_ms, overhead_ms, scale, rect(bars, overhead_ms * scale, tall * 0.7, 'fill="#999"'))}
${row(rows - 1, "all", is[1], was[1], 0)}</svg>`;
  }

  function table() {
    if (!find("details").open) return;
    const row = (i) => `<tr ${i === chosen ? 'aria-current="true"' : ""}><td>${ms(points[i][1])}<td>${percent(points[i][0])}
<td>${hull.has(i) ? "yes" : "no"}<td>${points[i][2].map((op) => escape(ops[op])).join(", ")}`;
    find("table").innerHTML = `<tr><th>ms<th>error<th>by weight<th>${layers.map(escape).join(", ")}` + frontier.map(row).join("");
  }

  layout();
  hear();
  for (const name of SYNCED) model.on(`change:${name}`, hear);
  const resized = new ResizeObserver(() => { layout(); marks(); parts(); });
  resized.observe(find(".says"));
  return () => {
    resized.disconnect();
    clearTimeout(saving);
    if (saving !== null) save();
    for (const name of SYNCED) model.off(`change:${name}`, hear);
  };
}

export default { render };
