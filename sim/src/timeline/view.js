// Which part of the run is seen, and where on the screen it is.

const scroller = document.getElementById("scroller");
const spacer = document.getElementById("spacer");
const canvas = document.getElementById("chart");
const pen = canvas.getContext("2d");

const LABELS = 118;
const RIGHT = 14;
const AXIS = 26;
const GAP = 3;
const FAULT_ROW = 15;
const CLOSEST = 200; // µs

const shown = { faults: true, messages: true, probes: true };
const view = { from: 0, to: END, width: 0, height: 0 };
let lanes = [];

function layOut(isShown) {
  lanes = [];
  let top = AXIS;
  const add = (lane, height) => {
    lanes.push({ ...lane, top, height });
    top += height + GAP;
  };
  add(cluster, faultRows * FAULT_ROW + 20);
  add(store, 50);
  for (const node of nodes) if (isShown(node)) add(node, 62);
  view.content = top + 8;
  spacer.style.height = `${Math.max(view.content - view.height, 0)}px`;
}

function resize() {
  const scale = window.devicePixelRatio || 1;
  view.width = scroller.clientWidth;
  view.height = scroller.clientHeight;
  canvas.style.width = `${view.width}px`;
  canvas.style.height = `${view.height}px`;
  canvas.width = Math.round(view.width * scale);
  canvas.height = Math.round(view.height * scale);
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  spacer.style.height = `${Math.max(view.content - view.height, 0)}px`;
}

function plotWidth() {
  return Math.max(view.width - LABELS - RIGHT, 10);
}

function xOf(time) {
  return LABELS + ((time - view.from) / (view.to - view.from)) * plotWidth();
}

function timeAt(x) {
  return view.from + ((x - LABELS) / plotWidth()) * (view.to - view.from);
}

// The time that so many pixels are.
function span(pixels) {
  return (pixels / plotWidth()) * (view.to - view.from);
}

function show(from, to) {
  const length = Math.min(Math.max(to - from, CLOSEST), END);
  const begin = Math.min(Math.max(from, 0), END - length);
  view.from = begin;
  view.to = begin + length;
  redraw();
}

function zoom(factor, around) {
  const length = (view.to - view.from) * factor;
  const share = (around - view.from) / (view.to - view.from);
  show(around - length * share, around + length * (1 - share));
}

function laneAt(y) {
  const place = y + scroller.scrollTop;
  return lanes.find((lane) => place >= lane.top && place < lane.top + lane.height + GAP) ?? null;
}

let isDue = false;
function redraw() {
  if (isDue) return;
  isDue = true;
  requestAnimationFrame(() => {
    isDue = false;
    draw();
  });
}
