// What the lanes and the charts have in common: elements, colours, numbers in words, and where they begin and end.
"use strict";
const NARROWEST_MS = 0.001;
const RIGHT = 12; // pixels between the drawn and the edge; on the left it is the names that need room
const gutter = width => width < 600 ? 90 : 132;

const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

// Milliseconds in the unit that suits *most*, with the digits that tell values apart which are a *step* from each other.
const milliseconds = (value, step = Math.abs(value), most = Math.abs(value)) => {
  const [factor, unit] = most >= 1000 ? [1e-3, "s"] : most >= 1 ? [1, "ms"] : [1e3, "µs"];
  const scaled = value * factor;
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(Math.max(step * factor, 1e-6)))));
  return `${scaled.toLocaleString("en", { maximumFractionDigits: digits })} ${unit}`;
};

// Round times from one to another, at least so many pixels from each other, with what to write at them.
const ticks = ([from, to], width) => {
  const least = (to - from) * (width < 600 ? 70 : 90) / Math.max(1, width - gutter(width) - RIGHT);
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * [1, 2, 5, 10].find(digit => digit * power >= least * 0.999);
  const found = [];
  for (let i = Math.ceil(from / step); i * step <= to; i++) found.push([i * step, milliseconds(i * step, step * 10, to)]);
  return found;
};

// Round numbers for a logarithmic axis: 1, 2 and 5 of each power of ten, or 1 alone where there are many.
const rounds = (low, high) => {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const digit of high / low > 300 ? [1] : [1, 2, 5]) found.push(digit * 10 ** power);
  return found.filter(value => value >= low && value <= high);
};
