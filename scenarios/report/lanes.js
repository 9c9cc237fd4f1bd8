// The timeline: a lane for each peer, with its puts and gets, and what befell it.
"use strict";
const AXIS = 30, TOP = 8; // pixels below and above the lanes
const LEAST_DRAG = 5;

class Lanes {
  // act: what to do with a stretch of time, the whole of it, and a moment.
  constructor(place, trial, act) {
    this.trial = trial;
    this.act = act;
    this.finding = null;
    this.canvas = element("canvas");
    this.cursor = element("div", { class: "cursor", hidden: "" });
    this.select = element("div", { class: "select", hidden: "" });
    this.tip = element("div", { class: "tip", hidden: "" });
    this.over = element("div", { class: "over" }, this.cursor, this.select, this.tip);
    this.place = element("div", { class: "lanes" }, this.canvas, this.over);
    place.append(element("figure", {},
      element("figcaption", {}, "Peers ", element("span", {}, "what each does, and what befalls it")), this.place));
    this.listen();
  }

  // Draw it all, as wide as there is room.
  draw(range) {
    this.width = this.place.clientWidth;
    this.left = gutter(this.width);
    this.wide = Math.max(1, this.width - this.left - RIGHT);
    this.tall = this.width < 600 ? 22 : 26;
    const high = Math.max(2, this.trial.peers.length) * this.tall;
    this.ratio = devicePixelRatio;
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round((TOP + high + AXIS) * this.ratio);
    this.canvas.style.height = `${TOP + high + AXIS}px`;
    Object.assign(this.over.style, { left: `${this.left}px`, top: `${TOP}px`, width: `${this.wide}px`, height: `${high}px` });
    this.high = high;
    this.show(range);
  }

  show(range) {
    this.range = range;
    const ctx = this.canvas.getContext("2d");
    ctx.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    ctx.clearRect(0, 0, this.width, TOP + this.high + AXIS);
    ctx.font = "12px system-ui, sans-serif";
    ctx.textBaseline = "middle";
    this.frame(ctx);
    ctx.translate(this.left, TOP);
    ctx.beginPath();
    ctx.rect(0, 0, this.wide, this.high);
    ctx.save();
    ctx.clip();
    this.busy(ctx);
    this.ops(ctx);
    this.strikes(ctx);
    this.marks(ctx);
    ctx.restore();
  }

  x(time) { return (time - this.range[0]) / (this.range[1] - this.range[0]) * this.wide; }
  time(x) { return this.range[0] + x / this.wide * (this.range[1] - this.range[0]); }

  // Names, stripes, the finding that is shown, and the axis.
  frame(ctx) {
    ctx.textAlign = "right";
    this.trial.peers.forEach(({ name }, row) => {
      ctx.fillStyle = colour("stripe");
      if (row % 2 === 0) ctx.fillRect(this.left, TOP + row * this.tall, this.wide, this.tall);
      ctx.fillStyle = colour("quiet");
      let short = name;
      for (let most = name.length - 1; most && ctx.measureText(short).width > this.left - 10; most--) short = `${name.slice(0, most)}…`;
      ctx.fillText(short, this.left - 8, TOP + (row + 0.5) * this.tall);
    });
    if (this.finding) {
      const [from, to] = this.finding.map(time => Math.max(0, Math.min(this.wide, this.x(time))));
      ctx.fillStyle = `${colour("invalid")}1f`;
      ctx.fillRect(this.left + from, TOP, to - from, this.high);
    }
    ctx.textAlign = "center";
    for (const [time, text] of ticks(this.range, this.width)) {
      const x = Math.round(this.left + this.x(time));
      ctx.fillStyle = colour("line");
      ctx.fillRect(x, TOP, 1, this.high + 4);
      ctx.fillStyle = colour("quiet");
      const half = ctx.measureText(text).width / 2;
      ctx.fillText(text, Math.min(x, this.width - half), TOP + this.high + 16);
    }
  }

  // When each peer lived, and, where not all is drawn, how much it did.
  busy(ctx) {
    const { peers, step, whole, busiest } = this.trial;
    const [from, to] = this.range, ink = colour("busy");
    peers.forEach(({ started, ended, busy }, row) => {
      const y = (row + 0.5) * this.tall, begin = this.x(started);
      ctx.fillStyle = `rgba(${ink},.35)`;
      ctx.fillRect(begin, y - 0.5, Math.max(1, this.x(ended) - begin), 1);
      if (whole) return;
      for (let i = Math.max(0, Math.floor(from / step)); i < busy.length && i * step <= to; i++) {
        if (!busy[i]) continue;
        ctx.fillStyle = `rgba(${ink},${0.12 + 0.4 * busy[i] / busiest})`;
        ctx.fillRect(this.x(i * step), y - this.tall * 0.2, Math.max(1, this.x((i + 1) * step) - this.x(i * step) + 0.5), this.tall * 0.4);
      }
    });
  }

  ops(ctx) {
    const [from, to] = this.range;
    const fills = [colour("put"), colour("get")], bad = colour("open"), card = colour("card"), ink = colour("ink");
    const hatch = this.hatch(ctx, bad);
    ctx.font = "11px system-ui, sans-serif";
    ctx.textAlign = "left";
    for (const op of this.trial.ops) {
      if (op.ended < from || op.began > to) continue;
      const left = Math.max(this.x(op.began), -4), right = Math.min(this.x(op.ended), this.wide + 4);
      const wide = Math.max(1.5, right - left), y = (op.row + 0.2) * this.tall, high = this.tall * 0.6;
      ctx.globalAlpha = 0.9;
      ctx.fillStyle = op.end === OPEN ? hatch : fills[op.kind];
      ctx.fillRect(left, y, wide, high);
      ctx.globalAlpha = 1;
      if (op.end !== OK || wide > 6) {
        ctx.strokeStyle = op.end === OK ? card : bad;
        ctx.lineWidth = op.end === OK ? 0.5 : 1;
        ctx.strokeRect(left, y, wide, high);
      }
      const label = `${op.kind === PUT ? "put" : "get"}${op.number == null ? "" : ` ${op.number}`}`;
      if (wide > 12 && wide > ctx.measureText(label).width + 8) {
        ctx.fillStyle = op.end === OPEN ? ink : card;
        ctx.fillText(label, Math.max(left, 0) + 4, y + high / 2 + 0.5);
      }
    }
  }

  // A line over all lanes for every fault that struck.
  strikes(ctx) {
    const { struck, marks } = this.trial;
    ctx.save();
    ctx.strokeStyle = colour("open");
    ctx.globalAlpha = marks.length > 20 ? 0.3 : 0.7;
    ctx.lineWidth = 1;
    ctx.setLineDash([4, 3]);
    ctx.beginPath();
    for (const at of struck) {
      ctx.moveTo(this.x(at), 0);
      ctx.lineTo(this.x(at), this.high);
    }
    ctx.stroke();
    ctx.restore();
  }

  marks(ctx) {
    const [from, to] = this.range, size = Math.min(6, this.tall / 3);
    ctx.strokeStyle = colour("card");
    ctx.lineWidth = 1.5;
    for (const mark of [...this.trial.marks].sort((a, b) => (a.what === "strike") - (b.what === "strike"))) {
      if (mark.at < from || mark.at > to) continue;
      const x = this.x(mark.at), y = (mark.row + 0.5) * this.tall;
      ctx.fillStyle = colour(mark.what === "strike" ? "open" : "unknown");
      ctx.beginPath();
      if (mark.what === "strike") { // a wedge, its point where it struck
        ctx.moveTo(x, y + size); ctx.lineTo(x - size, y - size); ctx.lineTo(x + size, y - size);
      } else {
        ctx.moveTo(x, y - size); ctx.lineTo(x + size, y); ctx.lineTo(x, y + size); ctx.lineTo(x - size, y);
      }
      ctx.closePath();
      ctx.stroke();
      ctx.fill();
    }
  }

  hatch(ctx, ink) {
    const tile = element("canvas", { width: 6, height: 6 });
    const drawn = tile.getContext("2d");
    drawn.strokeStyle = ink;
    drawn.lineWidth = 1.5;
    drawn.beginPath();
    for (const shift of [-6, 0, 6]) {
      drawn.moveTo(shift - 1, 7);
      drawn.lineTo(shift + 7, -1);
    }
    drawn.stroke();
    return ctx.createPattern(tile, "repeat");
  }

  // Hover tells what is there, and a drag zooms.
  listen() {
    let from = null;
    const x = event => Math.max(0, Math.min(this.wide, event.clientX - this.over.getBoundingClientRect().left));
    const dragged = event => from != null && Math.abs(x(event) - from) > LEAST_DRAG;
    this.over.addEventListener("pointerdown", event => {
      if (event.pointerType !== "mouse") this.hover(event); // a finger scrolls the page, and the buttons zoom
      else if (event.button === 0) {
        from = x(event);
        this.over.setPointerCapture(event.pointerId);
        event.preventDefault();
      }
    });
    this.over.addEventListener("pointermove", event => {
      this.hover(event);
      this.select.hidden = !dragged(event);
      if (!this.select.hidden)
        Object.assign(this.select.style, { left: `${Math.min(from, x(event))}px`, width: `${Math.abs(x(event) - from)}px` });
    });
    this.over.addEventListener("pointerup", event => {
      const [one, other] = [from, x(event)], zooms = dragged(event);
      from = null;
      this.select.hidden = true;
      if (zooms) this.act.zoom(this.time(Math.min(one, other)), this.time(Math.max(one, other)));
    });
    this.over.addEventListener("pointercancel", () => { from = null; this.select.hidden = true; });
    this.over.addEventListener("pointerleave", () => { this.tell(""); this.act.hover(null); });
    this.over.addEventListener("dblclick", () => this.act.whole());
  }

  hover(event) {
    const box = this.over.getBoundingClientRect(), left = event.clientX - box.left, top = event.clientY - box.top;
    const time = this.time(left);
    this.tell(this.trial.at(Math.floor(top / this.tall), time, this.time(left + 6) - time), left, top);
    this.act.hover(time);
  }

  // A line at a moment, or none.
  point(time) {
    const x = time == null ? -1 : this.x(time);
    this.cursor.hidden = x < 0 || x > this.wide;
    this.cursor.style.left = `${x}px`;
  }

  // Say something at a place, or nothing.
  tell(text, left, top) {
    this.tip.textContent = text;
    this.tip.hidden = !text;
    if (!text) return;
    this.tip.style.left = `${Math.max(0, Math.min(left + 12, this.wide - this.tip.offsetWidth - 4))}px`;
    this.tip.style.top = `${top + 16}px`;
  }

  tellMark(mark, text) { this.tell(text, this.x(mark.at), (mark.row + 0.5) * this.tall); }
}
