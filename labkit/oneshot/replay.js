// A search told again: the probabilities of each slot's candidates and the loss, at a step that is dragged.
//
// anywidget calls `render`. Every step is in `data` (for_browser in replays.py): a drag asks no kernel.

const WIDTH = 640, TOP = 20, LOSS = 90, LABEL = 92, GAP = 34;

const CSS = `
[data-jp-theme-light=true] .lk-replay { color-scheme: light }
[data-jp-theme-light=false] .lk-replay { color-scheme: dark }
.lk-replay { color-scheme: light dark; --ink: var(--jp-ui-font-color1, light-dark(#1b1b1b, #e8e8e8));
  --soft: light-dark(#767676, #8d8d8d); --paper: var(--jp-layout-color0, light-dark(#fff, #111));
  --bar: light-dark(#0072B2, #4FA8E0); --now: light-dark(#D55E00, #FF8A3D); padding: 6px 4px;
  font: 13px/1.4 system-ui, sans-serif; font-variant-numeric: tabular-nums; color: var(--ink); background: var(--paper);
  label { display: flex; align-items: center; gap: 8px; max-width: ${WIDTH}px }
  button, input { font: inherit; outline-color: var(--bar) }
  [type=range] { flex: 1; min-width: 90px; accent-color: var(--now) }
  .says { margin: 6px 0; font-weight: 600 }
  svg { display: block; width: 100%; max-width: ${WIDTH}px; fill: var(--ink) }
  .room { fill: none; stroke: var(--soft); stroke-opacity: .4 }
  .share { fill: var(--bar) }
  .drawn { fill: none; stroke: var(--now); stroke-width: 2 }
  .loss { fill: none; stroke: var(--soft); stroke-width: 1.2 }
  .now { stroke: var(--now); stroke-width: 2 }
  .note { color: var(--soft) } }`;

const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

function render({ model, el }) {
  const { slots, names, steps } = model.get("data"), last = steps.length - 1;
  const ops = [...new Set(slots.flat())], row = 18, bars = TOP + row * ops.length;
  const height = bars + GAP + LOSS + 22, column = (WIDTH - LABEL) / slots.length, room = column - 6;
  const losses = steps.map((step) => step.loss), most = Math.max(...losses), least = Math.min(...losses);
  const x = (step) => LABEL + ((WIDTH - LABEL - 8) * step) / Math.max(1, last);
  const y = (loss) => bars + GAP + LOSS * (most > least ? (most - loss) / (most - least) : 0.5);
  const cells = slots.flatMap((slot, s) => slot.map((name, k) => [s, k, LABEL + column * s, TOP + row * ops.indexOf(name)]));
  const phases = steps.flatMap((step, i) => (i && steps[i - 1].phase === step.phase ? [] : [[i, step.phase]]));
  el.innerHTML = `<style>${CSS}</style><div class="lk-replay">
    <label><button type="button" class="play" aria-label="play">&#9654;</button>
      step <input type="range" min="0" max="${last}" step="1" aria-label="step"></label>
    <div class="says" role="status"></div>
    <svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="probabilities of each slot's candidates, and the loss">
      ${slots.map((_, s) => `<text x="${LABEL + column * s}" y="13" font-size="11">${slots.length < 8 ? escape(names[s]) : s + 1}</text>`).join("")}
      ${ops.map((name, i) => `<text x="0" y="${TOP + row * i + 10}" font-size="11">${escape(name)}</text>`).join("")}
      ${cells.map(([, , left, top]) => `<rect class="room" x="${left}" y="${top}" width="${room}" height="${row - 5}"/><rect class="share" x="${left}" y="${top}" height="${row - 5}"/><rect class="drawn" x="${left}" y="${top}" width="${room}" height="${row - 5}"/>`).join("")}
      ${phases.map(([i, phase]) => `<text x="${x(i)}" y="${bars + GAP - 8}" font-size="11">${escape(phase)}</text>`).join("")}
      <text x="0" y="${bars + GAP + 10}" font-size="11">loss, nats</text>
      <text x="${LABEL - 6}" y="${bars + GAP + 24}" font-size="10" text-anchor="end">${most.toFixed(2)}</text>
      <text x="${LABEL - 6}" y="${bars + GAP + LOSS}" font-size="10" text-anchor="end">${least.toFixed(2)}</text>
      <path class="loss" d="M${losses.map((loss, i) => `${x(i)} ${y(loss)}`).join("L")}"/>
      <path class="now"/></svg>
    <div class="note">Full bar: probability 1. Ringed: what the step drew, where it drew one architecture.</div></div>`;
  const root = el.querySelector(".lk-replay"), find = (selector) => root.querySelector(selector);
  root.onkeydown = (event) => { // else JupyterLab's shortcuts take the arrows
    const { key, ctrlKey, metaKey, altKey, shiftKey } = event;
    if (!ctrlKey && !metaKey && !altKey && !shiftKey && key !== "Escape") event.stopPropagation();
  };
  const shares = [...root.querySelectorAll(".share")], rings = [...root.querySelectorAll(".drawn")];
  let timer = null;

  function draw() {
    const t = model.get("step"), step = steps[t];
    cells.forEach(([s, k], i) => {
      shares[i].setAttribute("width", room * step.probs[s][k]);
      rings[i].style.visibility = step.sampled && step.sampled[s] === k ? "visible" : "hidden";
    });
    find(".now").setAttribute("d", `M${x(t)} ${bars + GAP - 4}V${bars + GAP + LOSS + 4}`);
    find("input").value = t;
    find("input").setAttribute("aria-valuetext", step.words);
    find(".says").textContent = step.words;
    root.dataset.step = t;
  }
  const go = (step) => {
    model.set("step", Math.max(0, Math.min(last, step)));
    model.save_changes();
  };
  const stop = () => {
    clearInterval(timer);
    timer = null;
    find(".play").innerHTML = "&#9654;";
    find(".play").setAttribute("aria-label", "play");
  };
  find("input").addEventListener("input", (event) => (stop(), go(+event.target.value)));
  find(".play").addEventListener("click", () => {
    if (timer) return stop();
    if (model.get("step") === last) go(0);
    find(".play").innerHTML = "&#9208;";
    find(".play").setAttribute("aria-label", "pause");
    timer = setInterval(() => (model.get("step") === last ? stop() : go(model.get("step") + 1)), 40);
  });
  model.on("change:step", draw);
  draw();
  return () => {
    stop();
    model.off("change:step", draw);
  };
}

export default { render };
