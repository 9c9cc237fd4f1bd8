// Throughput, latency and messages in flight over time: three charts with one axis of time, drawn by Plotly.
"use strict";
class Charts {
  // act: what to do with a stretch of time, the whole of it, and a moment.
  constructor(place, { bins, edges, struck }, act) {
    this.edges = edges; // when each step of time begins, and the last one ends
    this.struck = struck;
    const rate = "%{y:.4~s}/s", time = "%{y:.3~s}s";
    const line = (name, told, column, factor = 1) => {
      const values = column.map(value => value == null ? null : value * factor);
      const last = values.findLastIndex(value => value != null);
      values[last + 1] = values[last]; // it holds until its step ends
      return { name, told, column: values };
    };
    this.charts = [
      { title: "Throughput", what: "messages a second", lines: [line("put", rate, bins.put), line("received", rate, bins.got)], colours: ["put", "get"] },
      { title: "Latency", what: "from the begin of the put to the end of the get", log: true,
        lines: ["50 %", "95 %", "99 %", "99.9 %"].map((name, i) => line(name, time, bins.latency[i], 1e-3)), colours: ["q0", "q1", "q2", "q3"] },
      { title: "In flight", what: "messages put, or being put, and not received; the most in each step",
        lines: [line("in flight", "%{y:,}", bins.flight)], colours: ["flight"] },
    ];
    this.graph = element("div", { class: "graph" });
    this.captions = this.charts.map(({ title, what }) => element("figcaption", {}, title, " ", element("span", {}, what)));
    place.append(element("figure", { class: "graphs" }, ...this.captions, this.graph));
    this.act = act;
  }

  // Draw it all, as wide as there is room.
  draw(range) {
    const width = this.graph.clientWidth, left = gutter(width);
    const caption = width < 600 ? 86 : 42, tall = 112, each = caption + tall, all = each * this.charts.length;
    const line = { color: colour("quiet"), gridcolor: colour("line"), linecolor: colour("line"), zerolinecolor: colour("line"), fixedrange: true };
    const layout = {
      width, height: all + 30, margin: { l: left, r: RIGHT, t: 0, b: 30 }, showlegend: true,
      paper_bgcolor: "transparent", plot_bgcolor: "transparent",
      font: { family: getComputedStyle(this.graph).fontFamily, size: 12, color: colour("quiet") },
      hovermode: "x unified", hoversubplots: "axis", hoverdistance: -1, spikedistance: -1,
      hoverlabel: { bgcolor: colour("card"), bordercolor: colour("line"), font: { color: colour("ink") } },
      // A finger scrolls the page, and the buttons zoom.
      dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
      xaxis: { ...line, fixedrange: false, anchor: `y${this.charts.length}`, ticksuffix: "s", showspikes: true, spikemode: "across",
        spikesnap: "cursor", spikethickness: 1, spikedash: "dash", spikecolor: colour("quiet"), zeroline: false },
    };
    const traces = [];
    this.charts.forEach(({ lines, colours, log }, i) => {
      const top = i * each + caption, nth = i ? i + 1 : "";
      this.captions[i].style.top = `${i * each + 12}px`;
      layout[`yaxis${nth}`] = { ...line, domain: [1 - (top + tall) / all, 1 - top / all], type: log ? "log" : "linear",
        ...(log ? {} : { tickformat: "~s", nticks: 5 }) };
      layout[`legend${nth}`] = { orientation: "h", x: 1, xanchor: "right", y: 1 - (top - 2) / all, yanchor: "bottom",
        bgcolor: "transparent", itemwidth: 30 };
      lines.forEach(({ name, told, column }, at) => traces.push({
        name, x: this.edges.map(value => value / 1e3), y: column, yaxis: `y${nth}`, legend: `legend${nth}`,
        mode: "lines", connectgaps: true, hovertemplate: told,
        line: { shape: "hv", width: 1.75, color: colour(colours[at]) },
        ...(lines.length === 1 ? { fill: "tozeroy", fillcolor: `${colour(colours[at])}33` } : {}),
      }));
    });
    const lines = this.charts.map((_, i) => layout[`yaxis${i ? i + 1 : ""}`].domain);
    const path = this.struck.flatMap(at => lines.map(([low, high]) => `M${at / 1e3},${low}L${at / 1e3},${high}`)).join("");
    if (path)
      layout.shapes = [{ type: "path", path, xref: "x", yref: "paper", layer: "below", opacity: this.struck.length > 20 ? 0.3 : 0.7,
        line: { color: colour("open"), width: 1, dash: "4px,3px" } }];
    for (const [key, value] of Object.entries(this.seen(range, width))) {
      const [axis, name] = key.split(".");
      layout[axis][name] = value;
    }
    const first = !this.graph.on;
    Plotly.react(this.graph, traces, layout, { displayModeBar: false, doubleClick: false, showTips: false });
    if (!first) return;
    this.graph.on("plotly_relayout", change => {
      const [from, to] = [change["xaxis.range[0]"], change["xaxis.range[1]"]]; // from the mouse: our own have no index
      if (from != null) this.act.zoom(from * 1e3, to * 1e3);
    });
    this.graph.on("plotly_doubleclick", () => this.act.whole());
    this.graph.on("plotly_hover", ({ xvals }) => this.act.hover(xvals[0] * 1e3));
    this.graph.on("plotly_unhover", () => this.act.hover(null));
  }

  show(range) { Plotly.relayout(this.graph, this.seen(range, this.graph.clientWidth)); }

  // What is on the axes when a stretch of time is shown: on the upright ones, what there is in it.
  seen([from, to], width) {
    const at = ticks([from, to], width);
    const change = {
      "xaxis.range": [from / 1e3, to / 1e3], "xaxis.tickvals": at.map(([value]) => value / 1e3), "xaxis.ticktext": at.map(([, text]) => text),
      "xaxis.hoverformat": `.${Math.min(9, 4 + Math.floor(Math.log10(to / (to - from))))}~s`,
    };
    this.charts.forEach(({ lines, log }, i) => {
      let low = Infinity, high = 0;
      for (const { column } of lines)
        column.forEach((value, step) => {
          if (value == null || this.edges[step] > to || this.edges[step + 1] < from) return;
          low = Math.min(low, value);
          high = Math.max(high, value);
        });
      const axis = `yaxis${i ? i + 1 : ""}`;
      if (log) {
        [low, high] = high > 0 ? [low / 1.5, high * 1.5] : [1e-5, 1e-2];
        const at = rounds(low, high);
        change[`${axis}.range`] = [Math.log10(low), Math.log10(high)];
        change[`${axis}.tickvals`] = at;
        change[`${axis}.ticktext`] = at.map(value => milliseconds(value * 1e3));
      } else change[`${axis}.range`] = [0, Math.max(4, high * 1.1)];
    });
    return change;
  }

  // Tell what there is at a moment, or nothing.
  point(at) {
    if (at == null) Plotly.Fx.unhover(this.graph);
    else Plotly.Fx.hover(this.graph, { xval: at / 1e3 }, "xy");
  }

  close() { Plotly.purge(this.graph); }
}
