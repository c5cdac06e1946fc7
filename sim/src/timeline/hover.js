// What the pointer is at, in words.

const card = document.getElementById("card");
const MOST_ITEMS = 7;
let isKept = false;

function hideCard() {
  isKept = false;
  card.hidden = true;
  card.classList.remove("kept");
}

function showCard(x, y, pageX, pageY) {
  const lane = y < AXIS ? null : laneAt(y);
  if (!lane || x < LABELS - 4) {
    if (!isKept) hideCard();
    return;
  }
  const time = Math.min(Math.max(timeAt(x), 0), END);
  const reach = span(5);
  card.replaceChildren();
  say("head", `${lane.name} at ${seconds(Math.round(time))} (${clock(time, Math.max(reach, 1000))})`);
  if (page.broken && Math.abs(page.broken.at - time) <= reach) {
    say("bad", `${page.broken.invariant} broken at ${seconds(page.broken.at)}: ${page.broken.text}`);
  }
  if (lane.kind === "node") describeNode(lane, time, reach);
  if (lane.kind === "store") describeStore(time, reach);
  describeFaults(lane, time, reach);
  describeRemarks(lane, time, reach);
  place(pageX, pageY);
}

function say(kind, text, dot) {
  const line = document.createElement("p");
  line.className = kind;
  line.textContent = text;
  if (dot) line.style.setProperty("--dot", color[dot]);
  card.append(line);
}

function list(items, describe) {
  for (const item of items.slice(0, MOST_ITEMS)) describe(item);
  if (items.length > MOST_ITEMS) say("soft", `and ${items.length - MOST_ITEMS} more here: zoom in`);
}

function near(items, time, reach) {
  return between(items, time - reach, time + reach)
    .sort((one, other) => Math.abs(one.at - time) - Math.abs(other.at - time));
}

function describeNode(lane, time, reach) {
  const life = stateAt(lane.life, time);
  say("item", LIVES[life][1], LIVES[life][0]);
  const held = lane.tenures.filter((tenure) => tenure.from <= time && time < tenure.until);
  for (const tenure of held) say("item", `holds ${tenure.subnet} in the store since ${seconds(tenure.from)}`, "running");
  if (held.length === 0) say("item", "holds no lease in the store");
  const carried = stateAt(lane.carried, time);
  const isHeld = held.some((tenure) => tenure.subnet === carried);
  if (carried !== null && !isHeld) say("item", `carries ${carried}, which it does not hold`, "bad");
  if (carried === null && held.length > 0) say("item", "carries no packets yet", "starting");
  if (shown.messages) describeMessages(lane, time, reach);
  if (shown.probes) describeProbes(lane, time, reach);
}

function describeMessages(lane, time, reach) {
  const open = between(lane.requestList, time - longestRequest - reach, time + reach)
    .filter((request) => request.at - reach <= time && time <= (request.until ?? END) + reach)
    .sort((one, other) => Math.abs(one.at - time) - Math.abs(other.at - time));
  list(open, (request) => {
    const end = request.until === null ? "no answer until the end" : `${request.answer} (${seconds(request.until)})`;
    say("item", `${seconds(request.at)} ${request.question} → ${end}`, request.outcome === "answered" ? "message" : "failed");
  });
  const [from, to] = sliceAround(time);
  const count = (series) => countIn(lane[series], from, to - 1);
  const parts = [["requests", "requests"], ["watches", "watch messages"], ["datagrams", "datagrams sent"]];
  const texts = parts.map(([series, what]) => [count(series), what]).filter(([number]) => number > 0);
  if (texts.length > 0) say("soft", `in ${sliceText()} around: ${texts.map(([number, what]) => `${number} ${what}`).join(", ")}`);
}

function describeProbes(lane, time, reach) {
  const [from, to] = sliceAround(time);
  const counts = SERIES.map((series) => [series, countIn(lane[series], from, to - 1)]).filter(([, count]) => count > 0);
  if (counts.length > 0) say("soft", `probes sent in ${sliceText()} around: ${counts.map(([series, count]) => `${count} ${series}`).join(", ")}`);
  const close = near(lane.probeList, time, reach);
  const bad = close.filter((journey) => journey.fate !== "delivered");
  list(bad.length > 0 ? bad : close.slice(0, 3), (journey) => {
    const [kind, text] = fateOf(journey);
    const end = journey.arrived === null ? "" : ` (${seconds(journey.arrived)})`;
    say("item", `${seconds(journey.at)} probe ${journey.id} to n${journey.to}: ${text}${end}`, kind);
  });
}

function sliceAround(time) {
  const place = Math.floor(time / run.slice);
  return [place * run.slice, (place + 1) * run.slice];
}

function sliceText() {
  return `the ${+(run.slice / 1e6).toFixed(3)} s`;
}

function describeStore(time, reach) {
  const state = stateAt(run.store, time);
  say("item", { up: "up", full: "up, out of space", down: "down" }[state], { up: "running", full: "starting", down: "down" }[state]);
  const held = nodes.reduce((sum, node) => sum + node.tenures.filter((tenure) => tenure.from <= time && time < tenure.until).length, 0);
  say("item", `${held} leases`);
  list(near(writes, time, reach), (write) => {
    const changed = nodes.flatMap((node) => node.tenures.flatMap((tenure) => [
      ...(tenure.from === write.at ? [`${node.name} takes ${tenure.subnet}`] : []),
      ...(tenure.until === write.at && tenure.until !== END ? [`${node.name} no longer holds ${tenure.subnet}`] : []),
    ]));
    const by = write.node === null ? "no node's request" : `n${write.node}`;
    say("item", `${seconds(write.at)} revision ${write.revision}, by ${by}${changed.length > 0 ? `: ${changed.join(", ")}` : ""}`, "store");
  });
}

function describeFaults(lane, time, reach) {
  const here = bands.filter((band) => band.from - reach <= time && time <= band.until + reach)
    .filter((band) => lane.kind === "faults" || concerns(band, lane));
  list(here, (band) => {
    const end = band.lasts ? "to the end" : `to ${seconds(band.until)}`;
    const times = band.from === band.until ? `at ${seconds(band.from)}` : `from ${seconds(band.from)} ${end}`;
    say("item", `${PARTS[band.part]}: ${band.text}, ${times}`, band.part);
  });
}

function describeRemarks(lane, time, reach) {
  list(near(lane.remarkList, time, reach), (entry) => say("item", `${seconds(entry.at)} ${entry.text}`, "ink"));
  list(near(lane.detailList, time, reach), (entry) => say("soft", `${seconds(entry.at)} ${entry.text}`));
}

function place(pageX, pageY) {
  card.hidden = false;
  const { offsetWidth: width, offsetHeight: height } = card;
  const left = pageX + 16 + width > window.innerWidth ? pageX - width - 12 : pageX + 16;
  const top = Math.min(pageY + 14, window.innerHeight - height - 8);
  card.style.left = `${Math.max(left, 4)}px`;
  card.style.top = `${Math.max(top, 4)}px`;
}
