"use strict";
// What the run was: the record that is part of the page, arranged for looking things up by lane and time.

const page = JSON.parse(document.getElementById("run").textContent);
const run = page.run;
const END = Math.max(run.end, 1);

const FATES = {
  "delivered": ["delivered", "delivered"],
  "lost-by-chance": ["lost", "lost by chance"],
  "lost-on-cut-link": ["lost", "lost on a cut link"],
  "lost-to-limits": ["lost", "lost for want of room: a full queue, or a path too narrow"],
  "damaged": ["lost", "damaged on its way"],
  "disowned": ["excused", "dropped: it came from an address that is not its sender's"],
  "nobody-listened": ["unheard", "not heard: the daemon was down, or its queue full"],
  "excused": ["excused", "dropped by a node that could not know better"],
};
const SERIES = ["delivered", "excused", "unheard", "lost", "open"];
const LIVES = {
  down: ["down", "daemon down"],
  paused: ["paused", "node stands still"],
  configuring: ["starting", "waits for the network config"],
  acquiring: ["starting", "takes a subnet"],
  preparing: ["starting", "sets up the kernel"],
  running: ["running", "ready: carries traffic"],
  stopped: ["down", "stopped"],
};
const PARTS = { underlay: "underlay", path: "way to the store", store: "store", node: "node" };

function fateOf(journey) {
  return FATES[journey.fate] ?? ["open", "on its way when the run ended"];
}

// The first place in a sorted list whose time is not before `time`.
function firstFrom(list, time, timeOf) {
  let low = 0;
  let high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeOf(list[middle]) < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

function between(list, from, to, timeOf = (item) => item.at) {
  return list.slice(firstFrom(list, from, timeOf), firstFrom(list, to, timeOf));
}

// The state that holds at a time, from a list of [since, state].
function stateAt(changes, time) {
  const place = firstFrom(changes, time + 1, ([since]) => since) - 1;
  return place < 0 ? null : changes[place][1];
}

// The stretches [from, to, state] of a list of changes that touch a span of time.
function stretches(changes, from, to) {
  const found = [];
  const first = Math.max(firstFrom(changes, from + 1, ([since]) => since) - 1, 0);
  for (let place = first; place < changes.length && changes[place][0] < to; place += 1) {
    const [since, state] = changes[place];
    const until = place + 1 < changes.length ? changes[place + 1][0] : END;
    found.push([since, Math.max(until, since), state]);
  }
  return found;
}

const byTime = (one, other) => one.at - other.at;

const requests = run.requests.items
  .map(([node, at, until, outcome, question, answer]) => ({ node, at, until, outcome, question, answer }))
  .sort(byTime);
const journeys = [...run.delivered.items, ...run.undelivered.items]
  .map(([id, at, from, to, fate, arrived]) => ({ id, at, from, to, fate, arrived }))
  .sort(byTime);
const remark = ([at, node, text]) => ({ at, node, text });
const remarks = run.remarks.items.map(remark);
const details = run.details.items.map(remark);
const writes = run.writes.items.map(([at, revision, node]) => ({ at, revision, node }));
const bands = run.bands.map((band) => ({ ...band, until: band.until ?? END, lasts: band.until === null }));
const longestRequest = requests.reduce((most, request) => Math.max(most, (request.until ?? END) - request.at), 0);

function grouped(list, key) {
  const groups = new Map();
  for (const item of list) {
    const name = key(item) ?? 0;
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(item);
  }
  return groups;
}

const requestsOf = grouped(requests, (request) => request.node);
const remarksOf = grouped(remarks, (entry) => entry.node);
const detailsOf = grouped(details, (entry) => entry.node);
const sentBy = grouped(journeys, (journey) => journey.from);
const tenuresOf = grouped(
  run.tenures.map((tenure) => ({ ...tenure, until: tenure.until ?? END })),
  (tenure) => tenure.node,
);

const nodes = run.lanes.map((lane, index) => {
  const number = index + 1;
  return {
    ...lane,
    kind: "node",
    number,
    tenures: tenuresOf.get(number) ?? [],
    requestList: requestsOf.get(number) ?? [],
    remarkList: remarksOf.get(number) ?? [],
    detailList: detailsOf.get(number) ?? [],
    probeList: sentBy.get(number) ?? [],
  };
});
const store = { kind: "store", name: "store", remarkList: [], detailList: [] };
const cluster = {
  kind: "faults",
  name: "faults",
  remarkList: remarksOf.get(0) ?? [],
  detailList: detailsOf.get(0) ?? [],
};

// Each fault gets the first row that is free at its beginning; rows are few, so that late ones may share the last.
const MOST_ROWS = 8;
const shortest = END / 150;
const rowEnds = [];
for (const band of [...bands].sort((one, other) => one.from - other.from)) {
  let row = rowEnds.findIndex((end) => end <= band.from);
  if (row < 0) row = Math.min(rowEnds.length, MOST_ROWS - 1);
  band.row = row;
  rowEnds[row] = Math.max(rowEnds[row] ?? 0, band.until, band.from + shortest);
}
const faultRows = Math.max(rowEnds.length, 1);

// What a node carried and did not hold, and what it held and did not carry, as [from, to, subnet].
for (const node of nodes) {
  const carried = stretches(node.carried, 0, END).filter(([, , subnet]) => subnet !== null);
  const held = node.tenures.map((tenure) => [tenure.from, tenure.until, tenure.subnet]);
  node.unheld = carried.flatMap((stretch) => without(stretch, held));
  node.uncarried = held.flatMap((stretch) => without(stretch, carried));
}

// A stretch less those of the same subnet.
function without([from, to, subnet], others) {
  let left = [[from, to, subnet]];
  for (const [begin, end, other] of others) {
    if (other !== subnet) continue;
    left = left.flatMap(([a, b]) => [[a, Math.min(b, begin), subnet], [Math.max(a, end), b, subnet]].filter(([x, y]) => y > x));
  }
  return left;
}

// How often something happened in a lane from one time to another, as far as slices tell.
function countIn(slices, from, to) {
  const first = Math.max(Math.floor(from / run.slice), 0);
  const last = Math.min(Math.max(Math.ceil(to / run.slice), first + 1), slices.counts.length);
  let sum = 0;
  for (let place = first; place < last; place += 1) sum += slices.counts[place];
  return sum;
}

function seconds(time) {
  return `${(time / 1e6).toFixed(time % 1000 === 0 ? 3 : 6)} s`;
}

// A time for people: 12.5s, 3m20s, 2h05m, 1d03h.
function clock(time, step = 1) {
  const total = time / 1e6;
  if (total < 60) return `${+total.toFixed(step < 1e6 ? Math.min(6, Math.ceil(-Math.log10(step / 1e6))) : 0)}s`;
  const two = (number) => String(number).padStart(2, "0");
  const whole = Math.floor(total + 1e-9);
  const [days, hours] = [Math.floor(whole / 86400), Math.floor(whole / 3600) % 24];
  const [minutes, rest] = [Math.floor(whole / 60) % 60, whole % 60];
  if (days > 0) return `${days}d${two(hours)}h${step < 3600e6 ? `${two(minutes)}m` : ""}`;
  if (hours > 0) return `${hours}h${two(minutes)}m${step < 60e6 ? `${two(rest)}s` : ""}`;
  const fraction = step < 1e6 ? (total % 1).toFixed(Math.min(6, Math.ceil(-Math.log10(step / 1e6)))).slice(1) : "";
  return step >= 60e6 ? `${minutes}m` : `${minutes}m${two(rest)}${fraction}s`;
}
