// The header, the legend, and what mouse, keys and the address do.

const element = (id) => document.getElementById(id);

function fillHeader() {
  element("title").textContent = page.title;
  document.title = `${page.title}: Selvedge`;
  const verdict = element("verdict");
  verdict.textContent = page.broken ? `${page.broken.invariant} broken` : "every invariant held";
  verdict.classList.toggle("bad", Boolean(page.broken));
  if (page.broken) {
    element("broken").hidden = false;
    element("broken").textContent = `${page.broken.invariant} broken at ${seconds(page.broken.at)}: ${page.broken.text}`;
    element("story").hidden = false;
    element("story").querySelector("pre").textContent = page.story;
    element("failure").hidden = false;
  }
  for (const [name, value] of page.facts) {
    const pair = document.createElement("div");
    const [term, text] = [document.createElement("dt"), document.createElement("dd")];
    term.textContent = name;
    text.textContent = value;
    pair.append(term, text);
    element("facts").append(pair);
  }
  element("again").querySelector("code").textContent = page.again;
  element("scenario").querySelector("pre").textContent = page.scenario;
  const thinned = page.thinned.map(([what, listed, all]) => `${listed} of ${all} ${what}`);
  if (run.foreign_tenures > 0) thinned.push(`no lane for the ${run.foreign_tenures} leases of other holders`);
  if (thinned.length > 0) {
    element("limits").hidden = false;
    element("limits").textContent = `Thinned out evenly to keep the page small (counts per time slice are whole): ${thinned.join(", ")}.`;
  }
}

function fillLegend() {
  const groups = [
    ["lease", [["accepted", "held in the store (a color for each subnet)"], ["hatch", "carried without a lease"], ["paler", "lower half pale: held, not carried yet"]]],
    ["daemon", [["running", "ready"], ["starting", "starting"], ["down", "down"], ["paused", "stands still"]]],
    ["faults", [["underlay", "underlay"], ["path", "way to the store"], ["store", "store"], ["node", "node"]]],
    ["messages", [["message", "request"], ["failed", "request failed"], ["watch", "watch"], ["datagram", "datagrams"]]],
    ["probes", [["delivered", "delivered"], ["lost", "lost"], ["unheard", "daemon down"], ["excused", "excused"], ["open", "open at the end"]]],
    ["", [["ink", "◆ change of state"], ["bad", "an invariant broke"]]],
  ];
  const paints = {
    accepted: "hsl(205 60% 70%)",
    paler: "linear-gradient(hsl(205 60% 70%) 50%, hsl(205 60% 88%) 50%)",
    hatch: "repeating-linear-gradient(135deg, var(--bad) 0 1px, transparent 1px 4px)",
  };
  for (const [name, entries] of groups) {
    if (name) {
      const title = document.createElement("b");
      title.textContent = name;
      element("legend").append(title);
    }
    for (const [paint, text] of entries) {
      const entry = document.createElement("span");
      const swatch = document.createElement("i");
      swatch.style.background = paints[paint] ?? `var(--${paint})`;
      entry.append(swatch, text);
      element("legend").append(entry);
    }
  }
}

// Reads `n1 n4-n6`, with or without the n; nothing means all.
function filterFrom(text) {
  const ranges = [...text.matchAll(/n?(\d+)(?:\s*-\s*n?(\d+))?/gi)].map(([, first, last]) => [Number(first), Number(last ?? first)]);
  return (node) => ranges.length === 0 || ranges.some(([first, last]) => node.number >= first && node.number <= last);
}

function rearrange() {
  layOut(filterFrom(element("filter").value));
  redraw();
}

function toFailure() {
  if (!page.broken) return;
  const length = Math.min(END, 20e6);
  show(page.broken.at - length * 0.8, page.broken.at + length * 0.2);
}

// The part behind `#` may name what is shown: seconds as `30-60.5`, or `failure`.
function showAddress() {
  const [, from, to] = location.hash.match(/^#([\d.]+)-([\d.]+)$/) ?? [];
  if (location.hash === "#failure") toFailure();
  else if (from !== undefined) show(Number(from) * 1e6, Number(to) * 1e6);
  else show(0, END);
}

function local(event) {
  const box = canvas.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}

function listenToMouse() {
  let drag = null;
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    drag = { x: event.clientX, y: event.clientY, from: view.from, to: view.to, scroll: scroller.scrollTop, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drag) {
      if (!isKept) showCard(...local(event), event.clientX, event.clientY);
      return;
    }
    const [right, down] = [event.clientX - drag.x, event.clientY - drag.y];
    if (!drag.moved && Math.hypot(right, down) < 4) return;
    drag.moved = true;
    canvas.classList.add("moving");
    hideCard();
    const shift = (right / plotWidth()) * (drag.to - drag.from);
    show(drag.from - shift, drag.to - shift);
    scroller.scrollTop = drag.scroll - down;
  });
  canvas.addEventListener("pointerup", (event) => {
    const wasClick = drag && !drag.moved;
    drag = null;
    canvas.classList.remove("moving");
    if (!wasClick) return;
    const wasKept = isKept;
    hideCard();
    if (wasKept) return;
    showCard(...local(event), event.clientX, event.clientY);
    isKept = !card.hidden;
    card.classList.toggle("kept", isKept);
  });
  canvas.addEventListener("pointerleave", () => { if (!isKept) hideCard(); });
  canvas.addEventListener("dblclick", (event) => {
    hideCard();
    zoom(0.4, timeAt(local(event)[0]));
  });
  scroller.addEventListener("wheel", (event) => {
    const isSideways = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
    event.preventDefault();
    if (!isKept) hideCard();
    if (isSideways) {
      const shift = span(event.deltaX || event.deltaY);
      show(view.from + shift, view.to + shift);
    } else if (event.altKey || local(event)[0] < LABELS) {
      scroller.scrollTop += event.deltaY;
    } else zoom(Math.exp(Math.max(Math.min(event.deltaY, 300), -300) * 0.0022), timeAt(local(event)[0]));
  }, { passive: false });
}

function listenToKeys() {
  const middle = () => (view.from + view.to) / 2;
  const step = () => (view.to - view.from) * 0.15;
  const keys = {
    "ArrowLeft": () => show(view.from - step(), view.to - step()),
    "ArrowRight": () => show(view.from + step(), view.to + step()),
    "+": () => zoom(0.6, middle()),
    "=": () => zoom(0.6, middle()),
    "-": () => zoom(1 / 0.6, middle()),
    "0": () => show(0, END),
    "f": toFailure,
    "Escape": hideCard,
  };
  document.addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || !keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  });
}

function listenToTools() {
  element("fit").onclick = () => show(0, END);
  element("closer").onclick = () => zoom(0.5, (view.from + view.to) / 2);
  element("farther").onclick = () => zoom(2, (view.from + view.to) / 2);
  element("failure").onclick = toFailure;
  element("filter").oninput = rearrange;
  for (const what of Object.keys(shown)) {
    element(`show-${what}`).onchange = (event) => {
      shown[what] = event.target.checked;
      redraw();
    };
  }
  element("copy").onclick = () => navigator.clipboard?.writeText(page.again);
  element("more").addEventListener("toggle", refit, true);
}

function refit() {
  resize();
  redraw();
}

fillHeader();
fillLegend();
layOut(() => true);
resize();
listenToMouse();
listenToKeys();
listenToTools();
window.addEventListener("resize", refit);
window.addEventListener("hashchange", showAddress);
scroller.addEventListener("scroll", redraw);
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
showAddress();
draw();
// Says that the whole script ran; a test looks for it.
document.body.dataset.lanes = String(lanes.length);
