// Opens one trial at a time, and draws it: its lanes and its charts, which share one stretch of time. The data of a trial
// is read when it is opened, and let go of with the next one.
"use strict";
(() => {
  const articles = [...document.querySelectorAll("article")];
  const rows = [...document.querySelectorAll(".trials tbody tr")];
  let view = null; // of the trial that is open

  class View {
    constructor(article) {
      this.article = article;
      this.place = article.querySelector(".charts");
      this.trial = new Trial(JSON.parse(article.querySelector("script").textContent));
      this.mark = -1;
      this.range = this.trial.begin();
      this.furnish();
      this.act = {
        zoom: (from, to) => this.show(from, to),
        whole: () => this.show(0, this.trial.span),
      };
      // Where the mouse is in the one is marked in the other.
      this.lanes = new Lanes(this.stage, this.trial, { ...this.act, hover: time => { this.lanes.point(time); this.charts?.point(time); } });
      this.draw();
      this.watch = new ResizeObserver(() => { if (this.stage.clientWidth !== this.width) this.draw(); });
      this.watch.observe(this.place);
    }

    furnish() {
      const button = (text, label, act) => {
        const made = element("button", { type: "button", "aria-label": label, title: label }, text);
        made.addEventListener("click", act);
        return made;
      };
      this.shown = element("span", { class: "range" });
      this.said = element("div", { class: "said", "aria-live": "polite" });
      this.tools = element("div", { class: "tools", role: "group", "aria-label": "What the charts show" },
        button("◀", "earlier", () => this.pan(-1)), button("▶", "later", () => this.pan(1)),
        button("+", "zoom in", () => this.zoom(0.5)), button("−", "zoom out", () => this.zoom(2)),
        button("whole trial", "show the whole trial", () => this.show(0, this.trial.span)));
      if (this.trial.marks.length)
        this.tools.append(button("◂ event", "previous fault or incident", () => this.step(-1)),
          button("event ▸", "next fault or incident", () => this.step(1)));
      this.tools.append(this.shown);
      const swatch = (name, text) => element("span", {}, element("i", { style: `background:${name}` }), text);
      this.legend = element("p", { class: "legend" }, swatch("var(--put)", "put"), swatch("var(--get)", "get"),
        swatch("repeating-linear-gradient(45deg,var(--open) 0 2px,transparent 2px 5px)", "never returned"),
        swatch("linear-gradient(90deg,transparent 5px,var(--open) 5px 7px,transparent 7px)", "fault, or incident"));
      if (!this.trial.whole)
        this.legend.append(swatch("rgba(var(--busy),.35)", "summed up, the darker the more; one by one are the longest, and those near faults and findings"));
      this.stage = element("div", {
        class: "stage", tabindex: "0", role: "group",
        "aria-label": "Charts of this trial. Arrow keys move, plus and minus zoom, 0 shows all, N and P step through faults and incidents.",
      });
      this.stage.addEventListener("keydown", event => this.key(event));
      this.place.replaceChildren(this.tools, this.legend, this.stage, this.said, element("p", { class: "keys" }));
      this.place.querySelector(".keys").innerHTML =
        "Drag to zoom, double-click for all. With the charts focused: <kbd>←</kbd> <kbd>→</kbd> move, <kbd>+</kbd> <kbd>−</kbd> zoom, <kbd>0</kbd> all, <kbd>N</kbd> <kbd>P</kbd> next and previous fault or incident.";
    }

    draw() {
      this.width = this.stage.clientWidth;
      this.lanes.draw(this.range);
      if (window.Plotly) {
        this.charts ??= new Charts(this.stage, this.trial, { ...this.act, hover: time => this.lanes.point(time) });
        this.charts.draw(this.range);
      } else if (document.readyState !== "loading" && !this.absent) {
        this.absent = element("p", { class: "absent" }, "Throughput, latency and messages in flight are drawn here where plotly is installed: ",
          element("code", {}, "pip install 'monkeywrench[report]'"), ", and make the report again.");
        this.stage.append(this.absent);
      }
      this.say();
    }

    say() {
      const [min, max] = this.range;
      this.shown.textContent = `${milliseconds(min, max - min, max)} – ${milliseconds(max, max - min)} of ${milliseconds(this.trial.span)}`;
    }

    show(min, max) {
      const width = Math.min(this.trial.span, Math.max(NARROWEST_MS, max - min));
      min = Math.max(0, Math.min(min, this.trial.span - width));
      this.range = [min, min + width];
      this.lanes.show(this.range);
      this.charts?.show(this.range);
      this.say();
    }

    pan(way) { const width = this.range[1] - this.range[0]; this.show(this.range[0] + way * width / 4, this.range[1] + way * width / 4); }

    zoom(factor) {
      const [min, max] = this.range, middle = (min + max) / 2, half = (max - min) * factor / 2;
      this.show(middle - half, middle + half);
    }

    // To the next fault or incident, and tell it.
    step(way) {
      const { marks, span } = this.trial;
      if (!marks.length) return;
      this.mark = (this.mark + way + marks.length + (this.mark < 0 && way < 0 ? 1 : 0)) % marks.length;
      const mark = marks[this.mark];
      const room = Math.min(this.range[1] - this.range[0], Math.max(span / 20, 0.2)) / 2;
      this.show(mark.at - room, mark.at + room);
      this.said.textContent = `${milliseconds(mark.at)}, ${mark.who}: ${mark.said}`;
      this.lanes.tellMark(mark, this.said.textContent);
    }

    key(event) {
      if (event.ctrlKey || event.altKey || event.metaKey) return;
      const act = {
        ArrowLeft: () => this.pan(-1), ArrowRight: () => this.pan(1), "+": () => this.zoom(0.5), "=": () => this.zoom(0.5),
        "-": () => this.zoom(2), "0": () => this.show(0, this.trial.span), Home: () => this.show(0, this.trial.span),
        n: () => this.step(1), p: () => this.step(-1), N: () => this.step(1), P: () => this.step(-1),
        Escape: () => { this.lanes.tell(""); },
      }[event.key];
      if (!act) return;
      event.preventDefault();
      act();
    }

    showFinding(at) {
      const window = this.trial.findings[at];
      if (!window) return;
      this.lanes.finding = window;
      const room = (window[1] - window[0]) / 2;
      this.show(window[0] - room, window[1] + room);
      this.stage.focus({ preventScroll: true });
      this.place.scrollIntoView({ block: "start" });
    }

    close() {
      this.watch.disconnect();
      this.charts?.close();
      this.place.replaceChildren();
    }
  }

  function open(article, focus) {
    if (view?.article !== article) {
      view?.close();
      view = null;
      for (const each of articles) each.hidden = each !== article;
      rows.forEach((row, i) => articles[i] === article ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current"));
      if (article.querySelector(".charts")) view = new View(article);
    }
    if (focus) {
      const title = article.querySelector("h2");
      title.focus({ preventScroll: true });
      article.scrollIntoView({ block: "start" });
    }
  }

  const chosen = () => document.getElementById(location.hash.slice(1));
  addEventListener("hashchange", () => { if (articles.includes(chosen())) open(chosen(), true); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => view?.draw());

  document.addEventListener("click", async event => {
    const link = event.target.closest(".trials a");
    if (link && link.hash === location.hash) open(chosen(), true); // no hashchange comes of it
    const copy = event.target.closest(".copy");
    if (copy) {
      const code = copy.parentElement.querySelector("code");
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch { // no permission, or no clipboard: the old way
        getSelection().selectAllChildren(code);
        document.execCommand("copy");
      }
      copy.textContent = "copied";
      setTimeout(() => { copy.textContent = "copy"; }, 2000);
    }
    const show = event.target.closest(".show");
    if (show) view?.showFinding(+show.dataset.finding);
    const filter = event.target.closest(".filter button");
    if (filter) {
      for (const each of document.querySelectorAll(".filter button")) each.setAttribute("aria-pressed", each === filter);
      for (const row of rows) row.hidden = Boolean(filter.dataset.show) && !row.classList.contains(filter.dataset.show);
    }
  });

  const worst = ["invalid", "failed", "unknown", "valid", "na"]
    .map(status => rows.findIndex(row => row.classList.contains(status))).find(at => at >= 0);
  if (articles.length) open(articles.includes(chosen()) ? chosen() : articles[worst ?? 0], false);
  // Plotly stands at the end of the page: the lanes are there before it is read.
  addEventListener("DOMContentLoaded", () => {
    view?.draw();
    document.documentElement.dataset.ready = "true";
  });
})();
