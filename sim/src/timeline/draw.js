// The picture: lanes, what lasts in them, what happens in them, and what goes from one to another.

const MOST_MARKS = 260; // of one kind in one lane; more are drawn as a density
const MOST_PROBE_ARROWS = 150;
const MOST_REQUEST_ARROWS = 60;
let color = {};

function readColors() {
  const style = getComputedStyle(document.documentElement);
  color = new Proxy({}, { get: (known, name) => (known[name] ??= style.getPropertyValue(`--${name}`).trim()) });
}

function draw() {
  readColors();
  pen.clearRect(0, 0, view.width, view.height);
  pen.font = "11px system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
  pen.textBaseline = "middle";
  const scroll = scroller.scrollTop;
  const seen = lanes.filter((lane) => lane.top + lane.height > scroll && lane.top < scroll + view.height);
  const ticks = axisTicks();
  pen.save();
  pen.translate(0, -scroll);
  for (const lane of seen) fill(color.lane, LABELS, lane.top, view.width - LABELS - RIGHT, lane.height);
  clipped(() => {
    for (const { time } of ticks) fill(color.line, xOf(time), scroll, 1, view.height);
    for (const lane of seen) drawLane(lane);
    if (shown.faults) for (const lane of seen) drawWash(lane);
    drawArrows(seen);
    drawFailure(scroll);
  }, scroll);
  for (const lane of seen) drawLabel(lane);
  pen.restore();
  drawAxis(ticks);
}

function fill(paint, x, y, width, height) {
  pen.fillStyle = paint;
  pen.fillRect(x, y, width, height);
}

function clipped(work, top) {
  pen.save();
  pen.beginPath();
  pen.rect(LABELS, top, plotWidth(), view.height);
  pen.clip();
  work();
  pen.restore();
}

// Fills from one time to another, at least so wide that it can be seen.
function stretch(paint, from, to, y, height, least = 1) {
  const x = Math.max(xOf(from), LABELS - 4);
  const width = Math.max(Math.min(xOf(to), view.width) - x, least);
  if (x < view.width && x + width > LABELS) fill(paint, x, y, width, height);
  return [x, width];
}

function words(text, x, y, room, paint) {
  if (room < 18) return;
  let shownText = text;
  const width = pen.measureText(text).width;
  if (width > room) {
    const letters = Math.floor((text.length * room) / width) - 1;
    if (letters < 3) return;
    shownText = `${text.slice(0, letters)}…`;
  }
  pen.fillStyle = paint;
  pen.fillText(shownText, x, y);
}

function alpha(paint, share, work) {
  const before = pen.globalAlpha;
  pen.globalAlpha = share;
  work(paint);
  pen.globalAlpha = before;
}

function concerns(band, lane) {
  if (lane.kind === "store") return band.part === "store";
  if (lane.kind !== "node") return false;
  return band.nodes.includes(lane.number) || (band.nodes.length === 0 && band.part !== "store");
}

// Shades what a fault concerns; where faults are many, their edges would hide everything else.
function drawWash(lane) {
  const here = bands.filter((band) => band.until >= view.from && band.from <= view.to && concerns(band, lane));
  const edge = Math.min(0.7, 25 / here.length);
  for (const band of here) {
    const paint = color[band.part];
    alpha(paint, Number(color.wash), () => stretch(paint, band.from, band.until, lane.top, lane.height));
    if (edge < 0.15) continue;
    alpha(paint, edge, () => stretch(paint, band.from, band.from, lane.top, lane.height));
    if (!band.lasts) alpha(paint, edge * 0.6, () => stretch(paint, band.until, band.until, lane.top, lane.height));
  }
}

function drawLane(lane) {
  if (lane.kind === "faults") drawFaults(lane);
  else if (lane.kind === "store") drawStore(lane);
  else drawNode(lane);
}

function drawFaults(lane) {
  for (const band of bands) {
    if (band.until < view.from || band.from > view.to) continue;
    const y = lane.top + 3 + band.row * FAULT_ROW;
    const paint = color[band.part];
    const isInstant = band.from === band.until;
    const [x, width] = alphaStretch(paint, isInstant ? 1 : 0.35, band.from, band.until, y, FAULT_ROW - 3, 3);
    stretch(paint, band.from, band.from, y, FAULT_ROW - 3, 3);
    const left = Math.max(x, LABELS) + 6;
    const room = isInstant ? span2pixels(shortest) : x + width - left - 3;
    words(band.text, left, y + FAULT_ROW / 2 - 1, room, color.ink);
  }
  drawRemarks(lane, lane.top + lane.height - 8);
}

function span2pixels(time) {
  return (time / (view.to - view.from)) * plotWidth();
}

function alphaStretch(paint, share, from, to, y, height, least) {
  let place;
  alpha(paint, share, () => { place = stretch(paint, from, to, y, height, least); });
  return place;
}

function drawStore(lane) {
  const paints = { up: color.running, full: color.starting, down: color.down };
  for (const [from, to, state] of stretches(run.store, view.from, view.to)) {
    const [x, width] = stretch(paints[state], from, to, lane.top + 5, 9);
    if (state !== "up") words(state, Math.max(x, LABELS) + 4, lane.top + 22, width - 6, color.soft);
  }
  if (!shown.messages) return;
  const list = between(writes, view.from, view.to);
  if (list.length <= MOST_MARKS * 3) {
    for (const write of list) stretch(color.store, write.at, write.at, lane.top + 30, 16, 1.5);
  } else density(list, lane.top + 30, 16, color.store);
}

// Draws how many of a list fall on each bit of the axis.
function density(list, y, height, paint) {
  const columns = new Map();
  for (const item of list) {
    const x = Math.floor(xOf(item.at) / 2) * 2;
    columns.set(x, (columns.get(x) ?? 0) + 1);
  }
  const most = Math.max(...columns.values());
  for (const [x, count] of columns) {
    const size = Math.max(height * Math.sqrt(count / most), 2);
    fill(paint, x, y + height - size, 2, size);
  }
}

function leaseHue(subnet) {
  let hash = 7;
  for (const letter of subnet) hash = (hash * 31 + letter.charCodeAt(0)) % 9973;
  return (hash * 47) % 360;
}

function drawNode(lane) {
  drawLease(lane);
  for (const [from, to, life] of stretches(lane.life, view.from, view.to)) {
    stretch(color[LIVES[life][0]], from, to, lane.top + 22, 5);
  }
  if (shown.messages) drawMessages(lane);
  if (shown.probes) drawProbes(lane);
  drawRemarks(lane, lane.top + 24.5);
}

function drawLease(lane) {
  const y = lane.top + 3;
  for (const tenure of lane.tenures) {
    if (tenure.until < view.from || tenure.from > view.to) continue;
    const hue = leaseHue(tenure.subnet);
    const paint = (light) => `hsl(${hue} ${color["lease-chroma"]} ${color[`lease-${light}`]})`;
    const [x, width] = stretch(paint("light"), tenure.from, tenure.until, y, 17, 2);
    stretch(paint("edge"), tenure.from, tenure.from, y, 17, 2);
    const left = Math.max(x, LABELS) + 5;
    words(tenure.subnet, left, y + 9, x + width - left - 2, paint("ink"));
  }
  for (const [from, to] of lane.uncarried) {
    if (to < view.from || from > view.to) continue;
    alpha(color.paper, 0.7, (paint) => stretch(paint, from, to, y + 10, 7));
  }
  for (const [from, to, subnet] of lane.unheld) {
    if (to < view.from || from > view.to) continue;
    const [x, width] = hatched(color.bad, from, to, y, 17);
    const left = Math.max(x, LABELS) + 5;
    words(`carries ${subnet} without a lease`, left, y + 9, x + width - left - 2, color.ink);
  }
}

function hatched(paint, from, to, y, height) {
  const left = Math.max(xOf(from), LABELS - 2);
  const width = Math.max(Math.min(xOf(to), view.width) - left, 2);
  pen.save();
  pen.beginPath();
  pen.rect(left, y, width, height);
  pen.clip();
  alpha(paint, 0.12, () => fill(paint, left, y, width, height));
  pen.strokeStyle = paint;
  pen.globalAlpha = 0.55;
  pen.beginPath();
  for (let x = left - height - (left % 7); x < left + width; x += 7) {
    pen.moveTo(x, y + height);
    pen.lineTo(x + height, y);
  }
  pen.stroke();
  pen.restore();
  pen.strokeStyle = paint;
  pen.strokeRect(left + 0.5, y + 0.5, Math.max(width - 1, 1), height - 1);
  return [left, width];
}

function drawMessages(lane) {
  const y = lane.top + 30;
  columns(lane, ["datagrams"], (x, width, [count]) => {
    const size = Math.min(1 + Math.log2(1 + count) * 1.6, 13);
    fill(color.datagram, x, y + 13 - size, width, size);
  });
  const list = between(lane.requestList, view.from - longestRequest, view.to);
  if (list.length <= MOST_MARKS) {
    for (const request of list) {
      const paint = color[request.outcome === "answered" ? "message" : "failed"];
      alpha(paint, 0.3, () => stretch(paint, request.at, request.until ?? END, y + 3, 7));
      stretch(paint, request.at, request.at, y, 13, 1.5);
    }
  } else {
    density(list, y, 13, color.message);
    const failed = list.filter((request) => request.outcome !== "answered" && request.outcome !== "open");
    for (const request of failed) stretch(color.failed, request.at, request.at, y, 13, 1.5);
  }
  columns(lane, ["watches"], (x, width, [count]) => fill(color.watch, x, y + 13 - Math.min(2 + count, 6), Math.min(width, 3), Math.min(2 + count, 6)));
}

function drawProbes(lane) {
  const [y, height] = [lane.top + 46, 13];
  const list = between(lane.probeList, view.from, view.to);
  const isClose = list.length <= MOST_MARKS && span(6) < run.slice;
  if (isClose && !isThinned()) return drawEachProbe(list, y, height);
  pen.globalAlpha = isClose ? 0.35 : 1;
  columns(lane, SERIES, (x, width, counts) => {
    const total = counts.reduce((sum, count) => sum + count, 0);
    const least = counts.map((count, place) => (count === 0 ? 0 : Math.max((count / total) * height, place === 0 ? 1 : 2.5)));
    const scale = height / least.reduce((sum, size) => sum + size, 0);
    let bottom = y + height;
    least.forEach((size, place) => {
      bottom -= size * scale;
      if (size > 0) fill(color[SERIES[place]], x, bottom, width, size * scale);
    });
  });
  pen.globalAlpha = 1;
  if (isClose) drawEachProbe(list, y, height);
}

function drawEachProbe(list, y, height) {
  for (const journey of list) stretch(color[fateOf(journey)[0]], journey.at, journey.at, y, height, 3);
}

function isThinned() {
  return run.delivered.stride > 1 || run.undelivered.stride > 1;
}

// Goes through the time slices that are seen, several at once where they are narrower than two pixels.
function columns(lane, series, visit) {
  const together = Math.max(Math.ceil(span(2) / run.slice), 1);
  const first = Math.floor(view.from / run.slice / together) * together;
  const last = Math.ceil(view.to / run.slice);
  const width = Math.max(span2pixels(together * run.slice), 1);
  for (let place = first; place < last; place += together) {
    const counts = series.map((name) => {
      let sum = 0;
      const list = lane[name].counts;
      for (let index = place; index < Math.min(place + together, list.length); index += 1) sum += list[index];
      return sum;
    });
    if (counts.some((count) => count > 0)) visit(xOf(place * run.slice), width, counts);
  }
}

function drawRemarks(lane, y) {
  const list = between(lane.remarkList, view.from, view.to);
  if (list.length > MOST_MARKS) return density(list, y - 5, 10, color.ink);
  for (const entry of list) {
    const x = xOf(entry.at);
    pen.fillStyle = color.ink;
    pen.beginPath();
    pen.moveTo(x, y - 4.5);
    pen.lineTo(x + 3.5, y);
    pen.lineTo(x, y + 4.5);
    pen.lineTo(x - 3.5, y);
    pen.fill();
  }
}

// Probes from lane to lane and requests to the store, once few enough are seen to tell them apart.
function drawArrows(seen) {
  const laneOf = new Map(lanes.filter((lane) => lane.kind === "node").map((lane) => [lane.number, lane]));
  const isSeen = (number) => seen.some((lane) => lane.number === number);
  if (shown.probes) {
    const list = between(journeys, view.from, view.to).filter(({ from, to }) => laneOf.has(from) && laneOf.has(to) && (isSeen(from) || isSeen(to)));
    if (list.length <= MOST_PROBE_ARROWS) for (const journey of list) drawJourney(journey, laneOf);
  }
  if (!shown.messages) return;
  const asked = between(requests, view.from - longestRequest, view.to).filter(({ node }) => laneOf.has(node));
  const storeLane = lanes.find((lane) => lane.kind === "store");
  if (asked.length > MOST_REQUEST_ARROWS) return;
  for (const request of asked) {
    const paint = color[request.outcome === "answered" ? "message" : "failed"];
    const y = laneOf.get(request.node).top + 30;
    line(paint, xOf(request.at), y, xOf(request.at), storeLane.top + 47, [2, 3]);
    if (request.outcome === "answered") line(paint, xOf(request.until), storeLane.top + 47, xOf(request.until), y, [1, 4]);
  }
}

function drawJourney(journey, laneOf) {
  const [kind] = fateOf(journey);
  const begin = laneOf.get(journey.from).top + 52;
  const end = laneOf.get(journey.to).top + 52;
  if (journey.arrived !== null) return line(color[kind], xOf(journey.at), begin, xOf(journey.arrived), end, []);
  const x = xOf(journey.at);
  const part = begin + (end - begin) * 0.4;
  line(color[kind], x, begin, x, part, [3, 2]);
  pen.fillStyle = color[kind];
  pen.fillText("✕", x - 4, part);
}

function line(paint, x1, y1, x2, y2, dash) {
  pen.strokeStyle = paint;
  pen.globalAlpha = 0.75;
  pen.setLineDash(dash);
  pen.beginPath();
  pen.moveTo(x1, y1);
  pen.lineTo(x2, y2);
  pen.stroke();
  pen.setLineDash([]);
  pen.globalAlpha = 1;
}

function drawFailure(scroll) {
  if (!page.broken) return;
  const x = xOf(page.broken.at);
  fill(color.bad, x - 1, scroll, 2, view.height);
  const text = `${page.broken.invariant} broken`;
  const width = pen.measureText(text).width + 12;
  const left = Math.min(Math.max(x - width / 2, LABELS), view.width - RIGHT - width);
  fill(color.bad, left, scroll + AXIS, width, 16);
  pen.fillStyle = "#fff";
  pen.fillText(text, left + 6, scroll + AXIS + 8);
}

function drawLabel(lane) {
  fill(color.paper, 0, lane.top, LABELS, lane.height);
  const isInvolved = page.broken && lane.kind === "node" && page.broken.nodes.includes(lane.number);
  if (isInvolved) fill(color.bad, LABELS - 4, lane.top, 3, lane.height);
  pen.font = "600 12px system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
  words(lane.name, 12, lane.top + 11, LABELS - 20, isInvolved ? color.bad : color.ink);
  pen.font = "10px system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
  const notes = lane.kind === "node" ? [[24, lane.address], [37, "messages"], [52, "probes sent"]] : [];
  if (lane.kind === "store") notes.push([38, "writes"]);
  if (lane.kind === "faults") notes.push([lane.height - 8, "events"]);
  for (const [y, text] of notes) words(text, 12, lane.top + y, LABELS - 18, color.soft);
  pen.font = "11px system-ui, 'Segoe UI', Roboto, 'Noto Sans', sans-serif";
}

function axisTicks() {
  const steps = [];
  for (let step = 10; step < 60e6; step *= 10) steps.push(step, step * 2, step * 5);
  steps.length = steps.findIndex((step) => step > 30e6) < 0 ? steps.length : steps.findIndex((step) => step > 30e6);
  steps.push(...[0.5, 1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60e6));
  steps.push(...[1, 2, 3, 6, 12, 24, 48, 120].map((hours) => hours * 3600e6));
  const least = span(86);
  const step = steps.find((candidate) => candidate >= least) ?? steps[steps.length - 1];
  const ticks = [];
  for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
    ticks.push({ time, text: clock(time, step) });
  }
  return ticks;
}

function drawAxis(ticks) {
  fill(color.panel, 0, 0, view.width, AXIS - 4);
  fill(color.line, 0, AXIS - 4, view.width, 1);
  for (const { time, text } of ticks) {
    fill(color.soft, xOf(time), AXIS - 8, 1, 5);
    const left = Math.min(xOf(time) + 3, view.width - pen.measureText(text).width - 2);
    pen.fillStyle = color.soft;
    pen.fillText(text, left, 11);
  }
  pen.fillStyle = color.soft;
  pen.fillText("time", 12, 11);
}
