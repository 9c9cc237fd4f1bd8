// A trial's data as it is drawn: columns to rows, nanoseconds to milliseconds, lanes in an order that a person expects.
"use strict";
const PUT = 0, OK = 0, FAILED = 1, OPEN = 2;

class Trial {
  constructor(data) {
    const { lanes, marks, ops, bins } = data;
    this.span = Math.max(data.span / 1e6, NARROWEST_MS);
    this.whole = data.whole;
    this.producers = data.producers;
    this.findings = data.findings.map(window => window?.map(value => value / 1e6));
    const rank = name => ["producer", "consumer", "heal"].findIndex(start => name.startsWith(start)) + 1;
    const order = lanes.map((_, at) => at).sort((a, b) =>
      rank(lanes[a][0]) - rank(lanes[b][0]) || lanes[a][0].localeCompare(lanes[b][0], "en", { numeric: true }));
    const row = [];
    order.forEach((lane, at) => { row[lane] = at; });
    this.peers = order.map(lane => ({
      name: lanes[lane][0], started: lanes[lane][1] / 1e6, ended: (lanes[lane][2] ?? data.span) / 1e6, busy: bins.busy[lane],
    }));
    const [began = [], ended = [], lane = [], kind = [], end = [], producer = [], count = [], first = [], last = []] = ops;
    this.ops = began.map((at, i) => ({
      began: at / 1e6, ended: ended[i] / 1e6, row: row[lane[i]], kind: kind[i], end: end[i],
      producer: producer[i], number: count[i], first: first[i], last: last[i],
    }));
    const [when = [], whose = [], what = [], said = [], index = []] = marks;
    this.marks = when.map((at, i) => ({
      at: at / 1e6, row: row[whose[i]], what: what[i], said: said[i], index: index[i], who: lanes[whose[i]][0],
    })).sort((a, b) => a.at - b.at || a.index - b.index);
    this.struck = this.marks.filter(mark => mark.what === "strike").map(mark => mark.at);
    this.bins = bins;
    this.step = bins.width / 1e6;
    this.edges = [...bins.put.map((_, i) => i * this.step), this.span];
    this.busiest = Math.max(1, ...bins.busy.map(counts => counts.reduce((most, each) => Math.max(most, each), 0)));
  }

  // Where something goes on: peers that are stuck do nothing for most of a trial.
  begin() {
    const times = [...this.ops.map(op => op.end === OPEN ? op.began : op.ended), ...this.struck];
    const last = times.reduce((latest, each) => Math.max(latest, each), 0);
    return [0, last && last < this.span / 3 ? last * 1.25 : this.span];
  }

  // What there is of a peer at a time, or so near to it, in words.
  at(row, time, near) {
    const marks = this.marks.filter(mark => mark.row === row && Math.abs(mark.at - time) <= near);
    if (marks.length) return marks.slice(0, 3).map(mark => `${milliseconds(mark.at)}: ${mark.said}`).join("\n");
    let best = null, closest = near / 2;
    for (const op of this.ops) {
      if (op.row !== row) continue;
      const away = time < op.began ? op.began - time : time > op.ended ? time - op.ended : 0;
      if (away <= closest) { best = op; closest = away; }
    }
    if (best) return this.words(best);
    const count = this.whole ? 0 : this.peers[row]?.busy[Math.floor(time / this.step)];
    return count ? `${this.peers[row].name}: ${count.toLocaleString("en")} puts and gets in ${milliseconds(this.step)}` : "";
  }

  words(op) {
    const what = op.kind === PUT ? "put" : "get";
    const message = op.number == null ? "" : ` of message ${op.number}${op.kind === PUT ? "" : ` of ${this.producers[op.producer] ?? "an unknown producer"}`}`;
    const end = op.end === OPEN ? "never returned" : `${op.end === FAILED ? "failed" : "returned"} after ${milliseconds(op.ended - op.began)}`;
    const events = op.last == null ? `event ${op.first}` : `events ${op.first}, ${op.last}`;
    return `${this.peers[op.row].name}: ${what}${message} ${end}; began at ${milliseconds(op.began)} (${events})`;
  }
}
